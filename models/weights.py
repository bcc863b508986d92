"""What backends need besides code of ours: weights and packages, where they come from, and how they are fetched.

Nothing is fetched unasked: a backend whose needs are not on this machine refuses with the command that fetches them.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

import platformdirs

from data_contracts.whole_file import whole_file

FOLDER_VARIABLE = "REEL2LORA_WEIGHTS"
"""Names the folder of single weight files; where unset, the user's cache."""
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
            message = f"{self.name} was not fetched ({_first_line(error)}): {self._accepted}`{self.command}`"
            raise MissingWeights(message) from error

    @property
    def _accepted(self) -> str:
        """What has to be done once before the command works."""
        return "accept its licence on its page of the hub, `hf auth login`, then " if self.gated else ""


@dataclass(frozen=True)
class WebFile:
    """One file that is known by its SHA-256; only such a one is ever opened."""

    file: str
    url: str
    sha256: str
    licence: str
    megabytes: float

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.file

    @property
    def command(self) -> str:
        """A command that every system has."""
        return f"curl --location --create-dirs --output {self._shown()} {self.url}"

    def path(self) -> Path:
        """Return the file.

        Raises:
            MissingWeights: it is not there, or is another file.
        """
        path = self._target()
        if not path.is_file():
            message = f"{self._shown()} does not exist: `{self.command}`"
            raise MissingWeights(message)
        if not self._is_it(found := _sha256(path)):
            message = (
                f"{self._shown()} has SHA-256 {found[:12]}…, not {self.sha256[:12]}…: "
                f"it is broken or another file, and is not opened; delete it, then `{self.command}`"
            )
            raise MissingWeights(message)
        return path

    def fetch(self) -> None:
        """Fetch the file beside its place, and put it there once its digest is right.

        Raises:
            MissingWeights: it did not come, or is another file.
        """
        path = self._target()
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            self._fetch_to(beside)
            if not self._is_it(found := _sha256(beside)):
                beside.unlink()
                message = f"{self.url} gave a file of SHA-256 {found[:12]}…, not {self.sha256[:12]}…: it was not kept"
                raise MissingWeights(message)

    def _fetch_to(self, path: Path) -> None:
        import httpx  # noqa: PLC0415

        try:
            with httpx.stream("GET", self.url, follow_redirects=True) as answer, path.open("wb") as out:
                answer.raise_for_status()
                for block in answer.iter_bytes():
                    out.write(block)
        except httpx.HTTPError as error:
            path.unlink(missing_ok=True)
            message = f"{self.file} was not fetched ({_first_line(error)}): `{self.command}`"
            raise MissingWeights(message) from error

    def _is_it(self, digest: str) -> bool:
        """Whether this is the SHA-256 of the pinned file."""
        return digest == self.sha256

    def _target(self) -> Path:
        named = os.environ.get(FOLDER_VARIABLE)
        return (Path(named) if named else platformdirs.user_cache_path("reel2lora")) / self.file

    def _shown(self) -> str:
        """Return the target as a person would type it, without the machine's own folders."""
        if FOLDER_VARIABLE in os.environ:
            return f"${FOLDER_VARIABLE}/{self.file}"
        path, home = self._target(), Path.home()
        return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def fetcher(need: Need) -> Callable[[], None] | None:
    """Return what fetches `need`, None where a package manager has to."""
    return need.fetch if isinstance(need, HubModel | WebFile) else None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _sha256(path: Path) -> str:
    """Return the digest of a file, computed once a process for as long as its size and its time stay the same."""
    seen = path.stat()
    return _sha256_as_seen(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_as_seen(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
