"""kohya's `dataset.toml`: which folders it names, and what it says of them."""

import math
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault
from models.exports.kohya import DATASET_KEYS, FOLDER_KEYS, SUBSET_KEYS

NAME = "dataset.toml"
_SUBSET = SUBSET_KEYS | FOLDER_KEYS | {"conditioning_data_dir", "metadata_file"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TomlSubset(_Part):
    """One folder."""

    image_dir: str | None = None
    is_reg: bool = False
    alpha_mask: bool | None = None
    caption_extension: str | None = None
    conditioning_data_dir: str | None = None


class TomlDataset(_Part):
    """Folders that are batched together."""

    subsets: tuple[TomlSubset, ...] = ()
    resolution: int | tuple[int, int] | None = None
    alpha_mask: bool | None = None
    caption_extension: str | None = None

    @property
    def side(self) -> int | None:
        """The side of the square that has the resolution's area."""
        if not isinstance(self.resolution, tuple):
            return self.resolution
        return round(math.sqrt(abs(self.resolution[0] * self.resolution[1])))


class DatasetToml(_Part):
    """The whole file."""

    general: TomlDataset = TomlDataset()
    datasets: tuple[TomlDataset, ...] = ()


def read_toml(path: Path) -> tuple[DatasetToml | None, list[Fault]]:
    """Return the file's contents, None where it cannot be read, and what kohya would stop at."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        parsed = DatasetToml.model_validate(tree)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        return None, [fault(NAME, "toml_wrong", f"it is not TOML ({error})")]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        return None, [fault(NAME, "toml_wrong", f"{key} = {first.get('input')!r}: {first['msg']}")]
    return parsed, [fault(NAME, "toml_key", f"unknown key {key!r}") for key in _unknown_keys(tree)]


def _unknown_keys(tree: dict[str, Any]) -> list[str]:
    """Return the keys of a valid file that kohya does not know, with the table that they are in."""
    everywhere = DATASET_KEYS | _SUBSET
    found = sorted(set(tree) - {"general", "datasets"})
    found += [f"general.{key}" for key in sorted(set(tree.get("general", {})) - everywhere)]
    for number, dataset in enumerate(tree.get("datasets", [])):
        found += [f"datasets.{number}.{key}" for key in sorted(set(dataset) - everywhere - {"subsets"})]
        for place, subset in enumerate(dataset.get("subsets", [])):
            found += [f"datasets.{number}.subsets.{place}.{key}" for key in sorted(set(subset) - _SUBSET)]
    return found
