"""What backends need besides code of ours: weights and packages, where they come from, and how they are fetched.

Nothing is fetched unasked: a backend whose needs are not on this machine refuses with the command that fetches them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol, runtime_checkable

_LITE = "run `make install`, which installs requirements-lite.txt without dependencies"


class MissingWeights(RuntimeError):
    """A backend's weights, or a package it needs, are not on this machine; the message says how to get them."""


class Need(Protocol):
    """Something a backend cannot work without."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def licence(self) -> str:
        """SPDX identifier of what is fetched."""
        ...

    @property
    def megabytes(self) -> float:
        """How large it is."""
        ...

    @property
    def command(self) -> str:
        """The command that fetches it."""
        ...

    def path(self) -> Path:
        """Return where it is.

        Raises:
            MissingWeights: it is not there, or not what it should be.
        """
        ...


@dataclass(frozen=True)
class PackagedFile:
    """A model file that the installed distribution `package` carries; its code is never imported."""

    package: str
    relative: str
    licence: str
    megabytes: float
    command: str = "make install"

    @property
    def name(self) -> str:
        """The file's own name, and whose it is."""
        return f"{Path(self.relative).name} of {self.package}"

    def path(self) -> Path:
        """Return the file.

        Raises:
            MissingWeights: the package is not installed, or this version of it does not carry the file.
        """
        try:
            path = Path(str(distribution(self.package).locate_file(self.relative)))
        except PackageNotFoundError as error:
            message = f"package {self.package!r}, which carries {self.relative}, is not installed: {_LITE}"
            raise MissingWeights(message) from error
        if not path.is_file():
            message = f"{self.package!r} is installed but has no {self.relative}: {_LITE}, at the version pinned there"
            raise MissingWeights(message)
        return path


@dataclass(frozen=True)
class Package:
    """An optional distribution whose code a backend imports."""

    name: str
    licence: str
    command: str
    megabytes: float = 0.0

    def path(self) -> Path:
        """Return where it is installed.

        Raises:
            MissingWeights: it is not.
        """
        try:
            return Path(str(distribution(self.name).locate_file("")))
        except PackageNotFoundError as error:
            message = f"package {self.name!r} is not installed: `{self.command}`"
            raise MissingWeights(message) from error


TENSORBOARD = Package("tensorboard", "Apache-2.0", "pip install 'reel2lora[tensorboard]'", 54)
BITSANDBYTES = Package("bitsandbytes", "MIT", "pip install bitsandbytes==0.50.2", 43)


@dataclass(frozen=True)
class HubModel:
    """Files of a model on the Hugging Face hub, at one commit."""

    repository: str
    revision: str
    licence: str
    megabytes: float
    files: tuple[str, ...] = ("config.json", "model.safetensors")
    gated: bool = False
    """Whether the hub gives it only to those who accepted its licence."""

    @property
    def name(self) -> str:
        """The repository and its commit, shortened."""
        return f"{self.repository}@{self.revision[:8]}"

    @property
    def command(self) -> str:
        """The hub's own command; what is there already is not fetched again."""
        return f"hf download {self.repository} {' '.join(self.files)} --revision {self.revision}"

    def path(self) -> Path:
        """Return the folder of the files in the hub's cache; nothing is fetched.

        Raises:
            MissingWeights: one of the files is not there.
        """
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415

        folders = set()
        for file in self.files:
            found = try_to_load_from_cache(self.repository, file, revision=self.revision)
            if not isinstance(found, str):
                message = f"{file} of {self.name} is not in the hub's cache: {self._accepted}`{self.command}`"
                raise MissingWeights(message)
            folders.add(Path(found).parents[file.count("/")])
        return folders.pop()

    def fetch(self) -> None:
        """Fetch the files into the hub's cache.

        Raises:
            MissingWeights: the hub does not give them, or is out of reach.
        """
        from huggingface_hub import snapshot_download  # noqa: PLC0415

        try:
            snapshot_download(self.repository, revision=self.revision, allow_patterns=list(self.files))
        except OSError as error:  # of which all of the hub's own errors are kinds
            message = f"{self.name} was not fetched ({first_line(error)}): {self._accepted}`{self.command}`"
            raise MissingWeights(message) from error

    @property
    def _accepted(self) -> str:
        """What has to be done once before the command works."""
        return "accept its licence on its page of the hub, `hf auth login`, then " if self.gated else ""


def fetcher(need: Need) -> Callable[[], None] | None:
    """Return what fetches `need`, None where a package manager has to."""
    return need.fetch if isinstance(need, _Fetched) else None


def first_line(error: Exception) -> str:
    """Return what an error says, without the advice that libraries put below."""
    return str(error).split("\n", 1)[0]


@runtime_checkable
class _Fetched(Protocol):
    def fetch(self) -> None: ...
