"""Digests of what goes into a stage: rows, files, folders and configurations, by their content only."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from data_contracts.config import StageConfig
from data_contracts.dataset import Dataset, canonical_json

# These decide whether a result is accepted, not what it is: finished parts stay valid when they change.
ACCEPTANCE = frozenset(StageConfig.model_fields)


def content_of(value: object) -> object:
    """Return `value` with every dataset, file and folder replaced by the SHA-256 of its content.

    Raises:
        TypeError: `value` holds something that has no content digest.
    """
    if isinstance(value, Dataset):
        return value.content_digest
    if isinstance(value, Path):
        return path_digest(value)
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: content_of(getattr(value, name)) for name in fields if is_content(name, fields[name])}
    if isinstance(value, Mapping):
        return {str(key): content_of(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [content_of(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    message = f"{type(value).__name__} has no content digest: give stages datasets, paths, models or plain values"
    raise TypeError(message)


def is_content(name: str, field: FieldInfo) -> bool:
    """Whether a field decides what a result is: not how it is accepted, nor where it is computed."""
    extra = field.json_schema_extra
    return name not in ACCEPTANCE and not (isinstance(extra, dict) and extra.get("digest") is False)


def digest_of(value: object) -> str:
    """Return the SHA-256 of `value`, files and folders by content."""
    return hashlib.sha256(canonical_json(content_of(value))).hexdigest()


def path_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's file names and bytes; names above it do not count."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest_of([[file.relative_to(path).as_posix(), path_digest(file)] for file in files])
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
