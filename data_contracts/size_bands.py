"""How long and how fast to train, and how often to show a picture, by how many pictures there are.

Bands of practitioners' guides for LoRAs of SD 1.5 and SDXL from animated films: a small set needs more passes at a
higher rate, a large one overfits with them.
"""

from dataclasses import dataclass
from math import ceil

from data_contracts.training import TrainSettings


@dataclass(frozen=True)
class SizeBand:
    """What suits data sets of fewer than `below` pictures.

    learning_rate: peak rate of the U-Net's adapter; the text encoder's keeps its ratio to it.
    epochs: passes over the set, repeats counted within a pass.
    """

    below: float
    learning_rate: float
    epochs: int


SIZE_BANDS = (
    SizeBand(100, 1.5e-4, 20),
    SizeBand(300, 1e-4, 15),
    SizeBand(600, 8e-5, 12),
    SizeBand(float("inf"), 5e-5, 10),
)


def sized(settings: TrainSettings, pictures: int, slots: int) -> TrainSettings:
    """Return settings with the steps and rates that suit a data set.

    Args:
        settings: all else, and the ratio of the text encoder's rate to the U-Net's.
        pictures: to learn from, which choose the band.
        slots: pictures shown in one pass, repeats counted.
    """
    band = next(band for band in SIZE_BANDS if pictures < band.below)
    steps = ceil(slots * band.epochs / (settings.batch * settings.accumulate))
    ratio = settings.text_encoder_learning_rate / settings.learning_rate
    changed = {
        "steps": steps,
        "learning_rate": band.learning_rate,
        "text_encoder_learning_rate": band.learning_rate * ratio,
        "warmup_steps": min(settings.warmup_steps, steps // 10),
    }
    return TrainSettings.model_validate(settings.model_dump() | changed)


def even_repeats(slots: int, pictures: int) -> list[int]:
    """Return how often a pass shows each of `pictures`, so that it shows them `slots` times in all; each at least once.

    With the slots of the subject's pictures both weigh alike in the loss, as prior preservation wants it (Ruiz et al.,
    DreamBooth, 2023, 3.3) and kohya's sd-scripts do it.
    """
    if not pictures:
        return []
    each, more = divmod(max(slots, pictures), pictures)
    return [each + (number < more) for number in range(pictures)]
