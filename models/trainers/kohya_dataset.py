"""A `TrainRequest`'s examples as kohya's sd-scripts read them: cut as the native trainer cuts them.

Pictures have their final size: their reader, which goes by width / height and scales before it cuts, leaves them alone.
Repeats are raised until one epoch lasts for the whole run. `--skip_until_initial_step` counts steps rightly within the
first epoch alone (`train_network.py` sets `global_step` to what is left after whole epochs), so this is what lets a
resumed run end at the step it should.
"""

import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from data_contracts.exports import ExportItem, ExportSettings, checked_item
from data_contracts.training import TrainExample, TrainRequest, TrainSettings
from models.exports import kohya as dataset_format
from models.pictures import keep_picture
from models.trainers.examples import LATENT_STRIDE, cut, sizes_of


def write_dataset(request: TrainRequest, folder: Path) -> None:
    """Write pictures, texts and `dataset.toml` into an empty folder.

    Raises:
        InputFault: a picture, a mask or a caption cannot be used; the message names it.
    """
    settings = request.settings
    with TemporaryDirectory(dir=folder.parent) as place:
        items = [_item(example, Path(place), settings) for example in request.examples]
        dataset_format.write(items, folder, ExportSettings(trigger=request.trigger, resolution=settings.resolution))
    toml = folder / dataset_format.TOML
    tree = tomllib.loads(toml.read_text(encoding="utf-8"))
    passes = -(-settings.steps * settings.accumulate * settings.batch // sum(item.repeats for item in items))
    for dataset in tree["datasets"]:
        dataset["batch_size"] = settings.batch
        for subset in dataset["subsets"]:
            subset["num_repeats"] *= passes
            subset["caption_dropout_rate"] = settings.caption_dropout
            subset["caption_tag_dropout_rate"] = settings.caption_tag_dropout
    toml.write_text(dataset_format.to_toml(tree), encoding="utf-8")


def _item(example: TrainExample, place: Path, settings: TrainSettings) -> ExportItem:
    """Return an example whose picture and mask, at the size that is trained, are kept in a folder."""
    seen = cut(example, sizes_of(settings, LATENT_STRIDE), masked=settings.masked_loss)
    fields = {
        "image": place / keep_picture(place, seen.picture),
        "mask": None if seen.mask is None else place / keep_picture(place, seen.mask),
        "caption": example.caption,
        "repeats": example.repeats,
        "split": "train",
    }
    return checked_item(f"example {example.image}", fields)
