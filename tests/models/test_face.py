import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.face import EXPRESSION_LABELERS, EXPRESSIONS, FACE_DETECTORS, NO_FACE, ExpressionGuess, Face
from models.face.facemesh import MouthShape, expression_scores
from models.face.head import silhouette_box
from models.face.smoothing import TimedGuess, smooth_track
from tests.models.sample_film import rows

SHOTS = (1, 2, 4, 8)


def guesses(name: str) -> list[tuple[str, str]]:
    """Return (truth, smoothed label) for all rows of the shots."""
    detector, labeler = FACE_DETECTORS.load("blazeface"), EXPRESSION_LABELERS.load(name)
    tracks: dict[str, list[TimedGuess]] = {}
    truths: dict[str, list[str]] = {}
    for shot in SHOTS:
        for row in rows(shot):
            face = detector.find(row.image, row.alpha)
            guess = labeler.label(row.image, row.alpha, face) if face else NO_FACE
            tracks.setdefault(row.track, []).append(TimedGuess(row.time_s, face.box if face else None, guess))
            truths.setdefault(row.track, []).append(row.truth["expression"])
    return [
        (truth, guess.label)
        for name in tracks
        for truth, guess in zip(truths[name], smooth_track(tracks[name]), strict=True)
    ]


@pytest.mark.parametrize("name", ["facemesh", "fer"])
def test_smiles_are_found_and_nothing_else_is_one(name):
    pairs = guesses(name)
    called = [truth for truth, label in pairs if label == "happy"]
    smiling = [label for truth, label in pairs if truth == "happy"]
    assert called.count("happy") / len(called) >= 0.95
    assert smiling.count("happy") / len(smiling) >= 0.6  # a third of them is in profile


def test_surprise_is_read_off_the_mouth():
    surprised = [label for truth, label in guesses("facemesh") if truth == "surprised"]
    assert surprised.count("surprised") >= 13


def test_a_detected_face_holds_the_true_eyes_and_nose():
    detector = FACE_DETECTORS.load("blazeface")
    for row in rows(4) + rows(8):
        face = detector.find(row.image, row.alpha)
        assert face is not None
        x0, y0, x1, y1 = face.box
        for x, y, _ in row.keypoints[:3]:
            assert x0 - 3 <= x <= x1 + 3
            assert y0 - 3 <= y <= y1 + 3


def test_nobody_has_no_face():
    image, alpha = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint8)
    assert silhouette_box(alpha) is None
    assert FACE_DETECTORS.load("blazeface").find(image, alpha) is None
    face = Face((0, 0, 64, 64), 1.0, np.full((6, 2), 32, np.float32))
    for name in ("facemesh", "facemesh-turned"):
        assert EXPRESSION_LABELERS.load(name).label(image, alpha, face).label == "unknown"


def test_a_weak_or_tiny_or_missing_face_is_unknown():
    sure = ExpressionGuess("happy", 0.9, {"happy": 0.9, "sad": 0.1})
    torn = ExpressionGuess("happy", 0.55, {"happy": 0.55, "sad": 0.45})
    large, tiny = (0.0, 0.0, 50.0, 50.0), (0.0, 0.0, 9.0, 9.0)
    track = [
        TimedGuess(0, large, sure),
        TimedGuess(9, large, torn),
        TimedGuess(18, tiny, sure),
        TimedGuess(27, None, sure),
    ]
    assert [guess.label for guess in smooth_track(track)] == ["happy", "unknown", "unknown", "unknown"]


def test_guesses_that_know_different_expressions_are_weighed_together():
    torn = ExpressionGuess("unknown", 0.6, {"happy": 0.4, "unknown": 0.6})
    sure = ExpressionGuess("happy", 0.9, {"neutral": 0.1, "happy": 0.9})
    large = (0.0, 0.0, 50.0, 50.0)
    (one, other) = smooth_track([TimedGuess(0, large, torn), TimedGuess(0.3, large, sure)])
    assert one.label == other.label == "happy"
    assert one.scores == pytest.approx({"happy": 0.65, "unknown": 0.3, "neutral": 0.05})


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="facemesh, facemesh-turned, hsemotion, fer"):
        EXPRESSION_LABELERS.load("vit")
    with pytest.raises(ValueError, match="blazeface"):
        FACE_DETECTORS.load("haar")


@given(st.floats(0, 2), st.floats(-0.5, 0.5), st.floats(-0.2, 1))
def test_mouth_scores_are_shares(width, lift, opening):
    scores = expression_scores(MouthShape(width, lift, opening))
    assert set(scores) <= set(EXPRESSIONS)
    assert sum(scores.values()) == pytest.approx(1.0, abs=1e-3)
    assert min(scores.values()) >= 0
