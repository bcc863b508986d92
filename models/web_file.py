"""Weights that are one file of the web, known by its digest."""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import platformdirs

from data_contracts.whole_file import whole_file
from models.weights import MissingWeights, first_line

FOLDER_VARIABLE = "REEL2LORA_WEIGHTS"
"""Names the folder of single weight files; where unset, the user's cache."""


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
            message = f"{self.file} was not fetched ({first_line(error)}): `{self.command}`"
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


def _sha256(path: Path) -> str:
    """Return the digest of a file, computed once a process for as long as its size and its time stay the same."""
    seen = path.stat()
    return _sha256_as_seen(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_as_seen(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
