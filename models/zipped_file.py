"""A weight file that is published inside a zip: fetched and checked as the zip, read out of it in memory."""

import hashlib
import zipfile
from dataclasses import dataclass

from models.web_file import WebFile
from models.weights import MissingWeights


@dataclass(frozen=True)
class ZippedFile(WebFile):
    """A `WebFile` that is a zip, and the one file in it that is wanted.

    Attributes:
        ending: how the wanted file's name ends; one file in the zip does.
        inner_sha256: SHA-256 of the wanted file itself.
    """

    ending: str
    inner_sha256: str

    def read(self) -> bytes:
        """Return the bytes of the wanted file; nothing is unpacked onto the disk.

        Raises:
            MissingWeights: the zip is not there, is another one, or does not hold the wanted file.
        """
        with zipfile.ZipFile(self.path()) as archive:
            names = [name for name in archive.namelist() if name.endswith(self.ending)]
            if len(names) != 1:
                message = f"{self.name} holds {len(names)} files that end with {self.ending}, not one: "
                raise MissingWeights(message + f"it is another zip; delete it, then `{self.command}`")
            data = archive.read(names[0])
        found = hashlib.sha256(data).hexdigest()
        if found != self.inner_sha256:
            message = f"{names[0]} in {self.name} has SHA-256 {found[:12]}…, not {self.inner_sha256[:12]}…: "
            raise MissingWeights(message + f"it is not opened; delete the zip, then `{self.command}`")
        return data
