"""What the composition test comes to: who disturbs whom, who does the same, and which weights are best.

`compose_loras` writes it as `composition.json` beside its rows; a measure that could not be taken is not there.
"""

from typing import Literal

from pydantic import Field

from data_contracts.config import Config

FILE = "composition.json"
BASE, ALL, GIVEN = "base", "all", "given"
"""Names of sets of weights: none, the stack, and the stack at the configured weights where others are recommended."""
FEWEST_SEEDS = 6
"""Below six seeds even the same sign in all of them happens by chance, more often than one time in twenty."""
Where = Literal["alone", "pair", "stack"]


def only(lora: str) -> str:
    """Return the name of the set of one LoRA alone, at full strength."""
    return f"only {lora}"


def pair(lora: str, added: str) -> str:
    """Return the name of the set of two LoRAs, both at full strength."""
    return f"{lora} + {added}"


def without(lora: str) -> str:
    """Return the name of the set of all LoRAs but one."""
    return f"without {lora}"


class Change(Config):
    """How much more, on the average over seeds, something scores than something else, from the same seeds."""

    mean: float = Field(ge=-2, le=2, description="of scores, -1..1; of differences of two scores, -2..2")
    low: float | None = Field(description="of the 95 % interval by bootstrap over seeds; None where all seeds agree")
    high: float | None
    seeds: int = Field(ge=1)

    @property
    def is_lower(self) -> bool:
        """Whether the whole interval lies below 0, of seeds enough."""
        return self.seeds >= FEWEST_SEEDS and (self.mean if self.high is None else self.high) < 0

    @property
    def is_higher(self) -> bool:
        """Whether the whole interval lies above 0, of seeds enough."""
        return self.seeds >= FEWEST_SEEDS and (self.mean if self.low is None else self.low) > 0


class Effect(Config):
    """What adding a LoRA changes in how likely the pictures show the subject of one, its own or another's."""

    of: str = Field(description="LoRA whose subject is looked for")
    by: str = Field(description="LoRA that is added")
    where: Where = Field(
        description="alone: to the base model; pair: to `of` alone, both at full strength; stack: to all others"
    )
    change: Change


class Redundancy(Config):
    """Two LoRAs that do the same: they write into the same directions, and leaving either out changes nothing."""

    loras: tuple[str, str]
    shared: float = Field(
        ge=0, le=1, description="the lesser of the shares of their changes that the other could write"
    )


class WeightChoice(Config):
    """The recommended weight of a LoRA, and between which values it lies in 95 of 100 draws of the search's seeds."""

    lora: str
    given: float
    weight: float
    low: float
    high: float


class SearchSummary(Config):
    """What a search of weights found, and how it does on seeds that the search has not seen."""

    trials: int = Field(ge=1)
    seeds: int = Field(ge=1)
    score: float = Field(
        ge=0, le=1, description="of the recommended weights, on the search's seeds: flattered by choice"
    )
    certainty: float = Field(ge=0, le=1, description="share of draws of the seeds in which these weights are best")
    weights: tuple[WeightChoice, ...]
    gain: Change | None = Field(description="on the test's seeds, to the given weights; None: these are the best")


class Composition(Config):
    """All numbers of a composition test but the pictures' own."""

    loras: tuple[str, ...]
    judged: tuple[str, ...] = Field(description="LoRAs whose subject the judge knows")
    seeds: int = Field(ge=1)
    effects: tuple[Effect, ...] = ()
    redundant: tuple[Redundancy, ...] = ()
    search: SearchSummary | None = None
    not_searched: str = Field(default="", description="why no weights were searched for; empty where they were")
    verdicts: tuple[str, ...] = Field(default=(), description="the same in sentences")
