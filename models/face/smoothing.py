"""One steady expression along a track: single frames blink, blur and turn away; a feeling lasts."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.face import Box, Expression, ExpressionGuess


@dataclass(frozen=True)
class TimedGuess:
    """A guess of a track: seconds into the film, the face's box in pixels (None: no face), and what it shows."""

    time_s: float
    face_box: Box | None
    guess: ExpressionGuess


@dataclass(frozen=True)
class SmoothingRules:
    """When neighbours are heard, and when the answer is "unknown"."""

    half_window_s: float = 0.7
    min_face_px: float = 20.0
    """Shorter side of the smallest face that is believed."""
    min_confidence: float = 0.5
    """Mean score of the winner over the window."""
    min_margin: float = 0.2
    """Its lead over the runner-up."""


def smooth_track(guesses: Sequence[TimedGuess], rules: SmoothingRules | None = None) -> list[ExpressionGuess]:
    """Return one guess for each of a track's, from the mean scores of all believed faces around it.

    A picture without a believed face of its own stays "unknown": its neighbours cannot see what it hides.
    """
    rules = rules or SmoothingRules()
    believed = [timed for timed in guesses if is_believed(timed, rules)]
    return [
        decide([other.guess for other in believed if abs(other.time_s - timed.time_s) <= rules.half_window_s], rules)
        if is_believed(timed, rules)
        else unknown(timed.guess)
        for timed in guesses
    ]


def is_believed(timed: TimedGuess, rules: SmoothingRules) -> bool:
    """Whether there is a face, large enough, that the labeler could read."""
    if timed.face_box is None or not timed.guess.scores:
        return False
    x0, y0, x1, y1 = timed.face_box
    return min(x1 - x0, y1 - y0) >= rules.min_face_px


def decide(guesses: Sequence[ExpressionGuess], rules: SmoothingRules) -> ExpressionGuess:
    """Return the winner of the mean scores, or "unknown" where it is weak or hardly leads."""
    names = list(dict.fromkeys(name for guess in guesses for name in guess.scores))
    mean: dict[Expression, float] = {
        name: sum(guess.scores.get(name, 0.0) for guess in guesses) / len(guesses) for name in names
    }
    ranked = sorted(mean.values(), reverse=True)
    label = max(mean, key=lambda name: mean[name])
    lead = ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0)
    if mean[label] < rules.min_confidence or lead < rules.min_margin:
        return ExpressionGuess("unknown", 1.0 - mean[label], mean)
    return ExpressionGuess(label, mean[label], mean)


def unknown(guess: ExpressionGuess) -> ExpressionGuess:
    """Return `guess` with its label withdrawn."""
    return ExpressionGuess("unknown", 0.0, guess.scores)
