"""A data set in the formats of other trainers: one protocol, and the formats by the names that `--to` takes.

| name          | for                                   | masks                        | held-out pictures             |
|---------------|---------------------------------------|------------------------------|-------------------------------|
| `kohya`       | kohya's sd-scripts: `dataset.toml`    | alpha channel                | validation data set           |
| `diffusers`   | diffusers' scripts, `datasets`:       | column `mask`                | split `validation`            |
|               | `metadata.jsonl`                      |                              |                               |
| `ai-toolkit`  | ostris' ai-toolkit: `datasets.yaml`   | `masks/`, same name          | not listed: it has none       |
| `onetrainer`  | OneTrainer: `concepts.json`           | `-masklabel.png` beside      | concept of type VALIDATION    |
| `simpletuner` | SimpleTuner: `multidatabackend.json`  | conditioning data set `mask` | data set of type `eval`       |
| `qwen-edit`   | Qwen-Image-Edit pairs for ai-toolkit  | `masks/`, not listed         | not listed                    |

Every picture is named by its pixels and its mask's, so that a trainer's cache of latents, which goes by the name, can
never be of another picture. No file holds an absolute path: a trainer is started in the export's folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from data_contracts.exports import ExportItem, ExportSettings
from models.backends import Backend, Backends


class Format(Protocol):
    """How one trainer wants its data set. A module that has both functions is a format."""

    def write(self, items: Sequence[ExportItem], folder: Path, settings: ExportSettings) -> None:
        """Write the items into an empty folder, with the trainer's configuration and a README."""
        ...

    def read(self, folder: Path) -> tuple[ExportItem, ...]:
        """Return the items that the trainer would find, and those held out, as its configuration says.

        Raises:
            StageFault: the configuration holds a key that the trainer does not know, or names what is not there.
        """
        ...


def _kohya() -> Format:
    from models.exports import kohya  # noqa: PLC0415

    return kohya


def _diffusers() -> Format:
    from models.exports import diffusers  # noqa: PLC0415

    return diffusers


def _ai_toolkit() -> Format:
    from models.exports import ai_toolkit  # noqa: PLC0415

    return ai_toolkit


def _onetrainer() -> Format:
    from models.exports import onetrainer  # noqa: PLC0415

    return onetrainer


def _simpletuner() -> Format:
    from models.exports import simpletuner  # noqa: PLC0415

    return simpletuner


def _qwen_edit() -> Format:
    from models.exports import qwen_edit  # noqa: PLC0415

    return qwen_edit


FORMATS: Backends[Format] = Backends(
    "export format",
    {
        "kohya": Backend(_kohya),
        "diffusers": Backend(_diffusers),
        "ai-toolkit": Backend(_ai_toolkit),
        "onetrainer": Backend(_onetrainer),
        "simpletuner": Backend(_simpletuner),
        "qwen-edit": Backend(_qwen_edit),
    },
)
