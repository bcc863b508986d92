"""Files that are there whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; the file takes `path`'s place once the block ends without an error.

    Whoever reads `path` meanwhile, or after a crash, finds what was there before, never half a file. What a block that
    fails has written is deleted.
    """
    beside = path.with_name(path.name + ".part")
    try:
        yield beside
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    beside.replace(path)
