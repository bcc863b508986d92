"""The loss of every step, out of the TensorBoard files that sd-scripts write: their progress bar shows a mean alone.

A file is a row of records: length (8 bytes, little-endian), its checksum (4), an `Event` message, its checksum (4).
Of the messages a few fields are read: https://github.com/tensorflow/tensorflow, `event.proto`, `summary.proto`.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

LOSS, RATE = "loss/current", "lr/unet"  # the rate is logged after the loss
_HEADER, _FOOTER = 12, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STEP, _SUMMARY = 2, 5  # fields of Event
_VALUE = 1  # of Summary
_TAG, _NUMBER = 1, 2  # of Summary.Value


class LossReader:
    """Reads what is new in a folder's event files each time it is asked.

    batches: forward passes an optimizer step; each is logged, with the number of steps that are finished.
    """

    def __init__(self, folder: Path, batches: int) -> None:
        self.folder = folder
        self.batches = batches
        self._read: dict[Path, int] = {}
        self._losses: list[float] = []

    def new_steps(self) -> Iterator[tuple[int, float, float]]:
        """Yield step, mean loss and learning rate of each optimizer step that was not yielded before."""
        for path in sorted(self.folder.rglob("events.out.tfevents.*")):
            for step, tag, number in self._new_values(path):
                if tag == LOSS:
                    self._losses.append(number)
                elif tag == RATE and len(self._losses) == self.batches:
                    yield step, sum(self._losses) / self.batches, number
                    self._losses = []

    def _new_values(self, path: Path) -> Iterator[tuple[int, str, float]]:
        data = path.read_bytes()
        start = self._read.get(path, 0)
        while start + _HEADER <= len(data):
            length = int.from_bytes(data[start : start + 8], "little")
            end = start + _HEADER + length
            if end + _FOOTER > len(data):
                return  # still being written
            yield from values_of(data[start + _HEADER : end])
            start = self._read[path] = end + _FOOTER


def values_of(event: bytes) -> Iterator[tuple[int, str, float]]:
    """Yield step, tag and number of each scalar in an `Event` message."""
    fields = list(_fields(event))
    step = next((int.from_bytes(value, "little") for number, value in fields if number == _STEP), 0)
    for number, summary in fields:
        if number != _SUMMARY:
            continue
        for inner, value in _fields(summary):
            parts = dict(_fields(value)) if inner == _VALUE else {}
            if len(parts.get(_NUMBER, b"")) == struct.calcsize("<f"):
                yield step, parts[_TAG].decode(), struct.unpack("<f", parts[_NUMBER])[0]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a protocol buffer as number and bytes; whole numbers little-endian."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _varint(message, place)
            yield key >> 3, number.to_bytes(10, "little")  # 64 bits, or ten groups of 7
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
        if kind == _BYTES:
            length, place = _varint(message, place)
        if length is None:
            message_ = f"an event file has a field of kind {kind}, which TensorBoard does not write: it is broken"
            raise ValueError(message_)
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return a whole number of 7 bits a byte, lowest first, and the place behind it."""
    number = shift = 0
    while True:
        byte = message[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return number, place
