"""What a comparison of two runs comes to: score by score, figure by figure, and what differs between the runs.

`reel2lora compare --json FILE` writes it.
"""

from typing import Literal

from pydantic import Field

from data_contracts.config import Config

Better = Literal["higher", "lower", "neither"]
Verdict = Literal["better", "worse", "no difference shown", "not judged"]
"""Of the second run; `not judged`: more of it is neither better nor worse."""


class ComparedRun(Config):
    """One of the two runs."""

    name: str
    project: str
    workspace: str = Field(description="name of the workspace's folder")
    started_at: str = Field(description="UTC, ISO 8601")
    state: str


class PairedScore(Config):
    """One measure of pictures of both runs, each pair made for the same prompt from the same seed."""

    of: str = Field(description="what the pictures test, such as `luca alone` or `the stack`")
    variant: str = Field(description="the set of LoRA weights that made them, such as `with` or `without luca`")
    measure: str
    better: Better = Field(description="which direction is good")
    mean_a: float
    mean_b: float
    difference: float = Field(description="mean of the second run's scores less the first run's, pair by pair")
    low: float | None = Field(description="of the difference's 95 % interval by bootstrap; None where all pairs agree")
    high: float | None
    pairs: int = Field(ge=1)
    chance: float | None = Field(
        description="how likely so large a difference is by chance alone, after Holm's correction for all comparisons; "
        "None where more is neither better nor worse"
    )
    verdict: Verdict


class SingleFigure(Config):
    """A figure of which each run has one: without pairs, nothing says how much of a difference is chance."""

    of: str
    figure: str
    better: Better
    a: float
    b: float


class RunDifference(Config):
    """Something in which the runs differ, and in which of their stages it does so."""

    kind: Literal["setting", "input", "software", "result"]
    what: str
    stages: tuple[str, ...] = Field(description="in words, such as `Train LoRA: luca`")
    a: str
    b: str


class Comparison(Config):
    """All of a comparison but its pictures."""

    a: ComparedRun
    b: ComparedRun
    scores: tuple[PairedScore, ...]
    figures: tuple[SingleFigure, ...]
    same: tuple[str, ...] = Field(description="tests whose pictures and scores are the same in both runs")
    differences: tuple[RunDifference, ...]
    notes: tuple[str, ...] = Field(description="what was not paired, and what to bear in mind")

    def count(self, verdict: Verdict) -> int:
        """Return how many scores have this verdict."""
        return sum(score.verdict == verdict for score in self.scores)
