"""What mmpose needs: a Python environment of its own, which a variable names, and OpenMMLab's checkpoint."""

import os
from dataclasses import dataclass
from pathlib import Path

from models.web_file import WebFile
from models.weights import MissingWeights

PYTHON_VARIABLE = "REEL2LORA_MMPOSE_PYTHON"
"""Names the interpreter of mmpose's environment."""
RECIPE = (
    "python3.11 -m venv mmpose-env",
    'mmpose-env/bin/pip install --upgrade pip wheel "setuptools<81" cython',
    "mmpose-env/bin/pip install torch==2.13.0",
    "mmpose-env/bin/pip install --no-deps torchvision==0.28.0 mmpose==1.3.2",
    "mmpose-env/bin/pip install --no-deps mmcv-lite==2.1.0 mmdet==3.3.0 mmengine==0.10.7",
    'mmpose-env/bin/pip install numpy==1.26.4 scipy pillow matplotlib shapely "opencv-python-headless<4.12"',
    "mmpose-env/bin/pip install addict yapf termcolor rich pyyaml json-tricks munkres six terminaltables tqdm",
    "mmpose-env/bin/pip install xtcocotools==1.14.3 pycocotools",
    f'export {PYTHON_VARIABLE}="$PWD/mmpose-env/bin/python"',
)
"""The commands that make the environment; mmcv-lite because the full mmcv has no builds for this torch."""


@dataclass(frozen=True)
class MmposePython:
    """The interpreter of an environment that has mmpose."""

    name: str = "mmpose's own environment"
    licence: str = "Apache-2.0"
    megabytes: float = 1500.0
    command: str = " && ".join(RECIPE)

    def path(self) -> Path:
        """Return the interpreter.

        Raises:
            MissingWeights: the variable is not set, or names no executable file.
        """
        named = os.environ.get(PYTHON_VARIABLE)
        if not named:
            message = f"{PYTHON_VARIABLE} is not set: it names the Python of an environment that has mmpose; "
            message += f"make one: `{self.command}`"
            raise MissingWeights(message)
        path = Path(named)
        if not path.is_file() or not os.access(path, os.X_OK):
            message = f"{PYTHON_VARIABLE} is {named}, which is no program: name the Python of mmpose's environment, "
            message += f"or make one: `{self.command}`"
            raise MissingWeights(message)
        return path


@dataclass(frozen=True)
class OpenMmlabFile(WebFile):
    """A checkpoint of OpenMMLab, which states the first eight digits of its SHA-256 in the file's name.

    So few digits tell a broken download from a whole one, no more; it is opened with `weights_only=True`, which runs
    no code of the file.
    """

    def _is_it(self, digest: str) -> bool:
        return digest.startswith(self.sha256)
