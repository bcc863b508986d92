"""Where kohya's sd-scripts lie and run: a git submodule, and a Python environment of their own.

They need older libraries than ours (transformers < 5 and what goes with it), so they never share our environment.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

from models.weights import MissingWeights

COMMIT = "48d368fa557731ad0488c07304dfeba8c07910eb"  # v0.10.1
CHECKOUT_VARIABLE = "REEL2LORA_KOHYA"
"""Names a checkout of sd-scripts; where unset, the submodule."""
ENVIRONMENT_VARIABLE = "REEL2LORA_KOHYA_ENV"
"""Names the folder of its environment; where unset, one under the user's data."""
SUBMODULE = Path(__file__).parents[2] / "vendor" / "sd-scripts"
MARKER = "reel2lora.json"  # in an environment that is complete: what was installed
# sd-scripts' own requirements, less what only other trainings import; no torchvision: `kohya_launch` stands in for it.
REQUIREMENTS = (
    "accelerate==1.6.0",
    "diffusers==0.32.1",
    "einops==0.7.0",
    "ftfy==6.3.1",
    "huggingface-hub==0.34.3",
    "imagesize==1.4.1",
    "numpy==2.4.6",
    "opencv-python-headless==4.10.0.84",
    "pillow==13.0.0",
    "rich==14.1.0",
    "safetensors==0.4.5",
    "sentencepiece==0.2.1",
    "tensorboard==2.21.0",
    "toml==0.10.2",
    "transformers==4.54.1",
    "voluptuous==0.15.2",
)


@dataclass(frozen=True)
class Checkout:
    """sd-scripts' own files."""

    name: str = f"sd-scripts@{COMMIT[:8]}"
    licence: str = "Apache-2.0"
    megabytes: float = 20.0
    command: str = "git submodule update --init vendor/sd-scripts"

    def path(self) -> Path:
        """Return its folder.

        Raises:
            MissingWeights: it is empty, as in a plain clone, or not there.
        """
        named = os.environ.get(CHECKOUT_VARIABLE)
        folder = Path(named) if named else SUBMODULE
        if (folder / "train_network.py").is_file():
            return folder.resolve()
        where = f"${CHECKOUT_VARIABLE} names {folder}, which" if named else "vendor/sd-scripts"
        message = f"{where} holds no train_network.py, so kohya's sd-scripts are not here: `{self.command}`"
        raise MissingWeights(message)


@dataclass(frozen=True)
class Environment:
    """The Python environment that sd-scripts run in."""

    name: str = "environment of sd-scripts"
    licence: str = "several"
    megabytes: float = 1400.0
    command: str = "reel2lora doctor --setup kohya"

    def folder(self) -> Path:
        """Return where it is, or would be."""
        named = os.environ.get(ENVIRONMENT_VARIABLE)
        return Path(named) if named else platformdirs.user_data_path("reel2lora") / "kohya-env"

    def path(self) -> Path:
        """Return its Python.

        Raises:
            MissingWeights: it was not made, not made to its end, or made for other versions.
        """
        marker = self.folder() / MARKER
        if not marker.is_file():
            message = f"kohya's sd-scripts have no Python environment yet: `{self.command}`"
            raise MissingWeights(message)
        if json.loads(marker.read_text(encoding="utf-8")) != _wanted():
            message = f"the environment of sd-scripts has other versions than are pinned: `{self.command}`"
            raise MissingWeights(message)
        return python_of(self.folder())


NEEDS = (Checkout(), Environment())


def python_of(environment: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    windows = sys.platform == "win32"
    return environment / ("Scripts/python.exe" if windows else "bin/python")


def set_up(say: Callable[[str], None]) -> Path:
    """Make the environment, unless it is there; return its Python.

    Raises:
        MissingWeights: the checkout is not there, or a step failed; the message ends with what the step said.
    """
    checkout, environment = NEEDS
    checkout.path()
    try:
        python = environment.path()
    except MissingWeights as missing:
        say(str(missing))
    else:
        say(f"{environment.name} is there already")
        return python
    folder = environment.folder()
    (folder / MARKER).unlink(missing_ok=True)
    say("making a virtual environment")
    _do([sys.executable, "-m", "venv", "--clear", str(folder)])
    python = python_of(folder)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    say(f"installing torch {version('torch')}: the largest part, minutes where it is not in pip's cache")
    _install_torch(install)  # first: all else would take the largest build there is
    say(f"installing {len(REQUIREMENTS)} packages")
    _do([*install, f"torch=={version('torch')}", *REQUIREMENTS])
    say("asking sd-scripts for their options")
    launcher = Path(__file__).with_name("kohya_launch.py")
    _do([str(python), str(launcher), str(checkout.path()), "--check"])
    (folder / MARKER).write_text(json.dumps(_wanted(), indent=1) + "\n", encoding="utf-8")
    return python


def _wanted() -> dict[str, object]:
    return {"torch": version("torch"), "requirements": list(REQUIREMENTS)}


def _install_torch(install: Sequence[str]) -> None:
    """Install the build that we have ourselves, such as 2.13.0+cpu; builds with a label have an index of their own.

    Raises:
        MissingWeights: pip does not find it; the message says how it is told where.
    """
    wanted = version("torch")
    try:
        _do([*install, f"torch=={wanted}"])
    except MissingWeights as fault:
        if "+" not in wanted:
            raise
        message = f"{fault}\nSet PIP_EXTRA_INDEX_URL to the index that your own torch {wanted} came from"
        raise MissingWeights(message) from fault


def _do(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).splitlines()[-12:])
        shown = " ".join([Path(command[0]).name, *command[1:]])
        message = f"`{shown}` ended with code {done.returncode}:\n{said}\nMend that, then: `{Environment().command}`"
        raise MissingWeights(message)
