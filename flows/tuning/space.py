"""What a search of settings tries: values around the preset's, without the combinations that are known to be bad.

Ranges and faults are those of practitioners' searches for LoRAs of animated films. What the preset leaves off (a text
encoder untrained, no noise offset) stays off. The number of steps is not searched: a training's own validations say
where it should end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from data_contracts.training import TrainSettings

RATES = 4.0
"""The learning rate is searched from a quarter of the preset's to four times it."""
LEAST_ALPHA, MOST_ALPHA = 0.25, 1.0
LEAST_TEXT_SHARE = 0.1
MOST_OFFSET = 0.1
MOST_DROPOUT = 0.2
MOST_WARMUP = 0.2
BREAKING_ALPHA = 0.9
BREAKING_STRENGTH = 3.0
_DIGITS = 4
_MOST_RANK = _MOST_ALPHA = 1024  # what a setting may be
_MOST_RATE = 1.0

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """The settings around a preset.

    pictures: how many are learnt from.
    """

    preset: TrainSettings
    pictures: int

    @property
    def values(self) -> dict[str, Any]:
        """The preset as a point of the space."""
        preset = self.preset
        values: dict[str, Any] = {
            "learning_rate": preset.learning_rate,
            "rank": preset.rank,
            "alpha_share": preset.alpha / preset.rank,
            "caption_dropout": preset.caption_dropout,
            "warmup_share": preset.warmup_steps / preset.steps,
        }
        if preset.text_encoder_learning_rate:
            values["text_encoder_share"] = preset.text_encoder_learning_rate / preset.learning_rate
        if preset.noise_offset:
            values["noise_offset"] = preset.noise_offset
        return values

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Where each value is looked for; the preset's own is always inside."""
        preset, rank = self.preset, self.preset.rank
        spans = {
            "alpha_share": (LEAST_ALPHA, MOST_ALPHA),
            "caption_dropout": (0.0, MOST_DROPOUT),
            "warmup_share": (0.0, MOST_WARMUP),
            "text_encoder_share": (LEAST_TEXT_SHARE, 1.0),
            "noise_offset": (0.0, MOST_OFFSET),
        }
        rate = preset.learning_rate
        found: dict[str, BaseDistribution] = {
            "learning_rate": FloatDistribution(rate / RATES, min(_MOST_RATE, rate * RATES), log=True),
            "rank": CategoricalDistribution(sorted({max(1, rank // 2), rank, min(_MOST_RANK, 2 * rank)})),
        }
        for name, value in self.values.items():
            if name in spans:
                low, high = spans[name]
                found[name] = FloatDistribution(min(low, value), max(high, value))
        return found

    def settings(self, values: Values) -> TrainSettings:
        """Return the settings at a point of the space, rounded to what is worth writing down."""
        preset = self.preset
        rate, rank = significant(values["learning_rate"]), values["rank"]
        changed = {
            "learning_rate": rate,
            "rank": rank,
            "alpha": min(_MOST_ALPHA, significant(rank * values["alpha_share"])),
            "caption_dropout": significant(values["caption_dropout"]),
            "warmup_steps": min(round(values["warmup_share"] * preset.steps), preset.steps - 1),
        }
        if "text_encoder_share" in values:
            changed["text_encoder_learning_rate"] = min(_MOST_RATE, significant(rate * values["text_encoder_share"]))
        if "noise_offset" in values:
            changed["noise_offset"] = significant(values["noise_offset"])
        return TrainSettings.model_validate(preset.model_dump() | changed)

    def objection(self, tried: TrainSettings) -> str:
        """Return why settings are not worth a training; empty where they are."""
        preset = self.preset
        share, strength = tried.alpha / tried.rank, tried.learning_rate * tried.alpha / tried.rank
        if share > BREAKING_ALPHA and tried.learning_rate > preset.learning_rate:
            return "alpha nearly the rank at more than the preset's rate: good likeness, a third of the pictures broken"
        if strength > BREAKING_STRENGTH * preset.learning_rate * preset.alpha / preset.rank:
            return f"rate x alpha / rank more than {BREAKING_STRENGTH:g} times the preset's: too far a step"
        if tried.rank > max(self.pictures, preset.rank):
            return f"rank {tried.rank} for {self.pictures} pictures: room to learn them by heart"
        return ""


def significant(value: float) -> float:
    """Return a value of four significant digits."""
    return float(f"{value:.{_DIGITS}g}")


def changes_to(preset: TrainSettings, tried: TrainSettings) -> dict[str, Any]:
    """Return the settings that differ from the preset's, in their order."""
    before, after = preset.model_dump(), tried.model_dump()
    return {name: value for name, value in after.items() if value != before[name]}
