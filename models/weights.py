"""Where the weights of a backend come from, and what to do when they are not there."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


class MissingWeights(RuntimeError):
    """A backend's weights are not on this machine; the message says how to get them."""


def packaged_file(package: str, relative: str) -> Path:
    """Return the model file that the installed distribution `package` carries at `relative`.

    The `lite` backends read single model files out of packages whose code is never imported.

    Raises:
        MissingWeights: the package is not installed, or this version of it does not carry the file.
    """
    remedy = "run `make install`, which installs requirements-lite.txt without dependencies"
    try:
        path = Path(str(distribution(package).locate_file(relative)))
    except PackageNotFoundError as error:
        message = f"package {package!r}, which carries {relative}, is not installed: {remedy}"
        raise MissingWeights(message) from error
    if not path.is_file():
        message = f"{package!r} is installed but has no {relative}: {remedy}, at the version pinned there"
        raise MissingWeights(message)
    return path
