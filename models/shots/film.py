"""Decoding a film: frames in presentation order, as far as the file is whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from models.pictures import Picture

DAMAGE_TOLERANCE = 0.98  # some muxers count a few frames more than can be shown


class UnreadableFilm(ValueError):
    """The file holds no video that can be decoded."""


@dataclass(frozen=True)
class FilmFacts:
    """What a film says of itself before it is decoded."""

    width: int
    height: int
    fps: float
    frames: int  # 0 where the container does not say


@dataclass(frozen=True)
class FilmFrame:
    """One decoded frame: its number from 0, its presentation time in seconds, its `(H, W, 3) RGB` uint8 pixels."""

    number: int
    time_s: float
    rgb: Picture


class Film:
    """A film, decoded once from start to end.

    After iterating, `damaged_at_s` is the second up to which it could be used, or None for a whole film.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts = film_facts(path)
        self.damaged_at_s: float | None = None
        self.decoded = 0

    def __iter__(self) -> Iterator[FilmFrame]:
        """Yield the frames; stop at the first damage."""
        self.decoded, last_s = 0, 0.0
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            start = float((stream.start_time or 0) * (stream.time_base or 0))
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        break
                    last_s = (frame.time or 0.0) - start if frame.time is not None else self.decoded / self.facts.fps
                    yield FilmFrame(self.decoded, last_s, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                    self.decoded += 1
            except av.error.FFmpegError:
                self.damaged_at_s = last_s
        if self.decoded < DAMAGE_TOLERANCE * self.facts.frames:
            self.damaged_at_s = last_s


def film_facts(path: Path) -> FilmFacts:
    """Open a film and decode its first frame.

    Raises:
        UnreadableFilm: the file is no video, or its index or first frame is destroyed.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                message = f"{path.name} holds no video stream; give a film such as .mp4, .mkv or .webm"
                raise UnreadableFilm(message)
            stream = container.streams.video[0]
            next(container.decode(stream))
            fps = float(stream.average_rate or stream.guessed_rate or 24)
            return FilmFacts(stream.width, stream.height, fps, stream.frames)
    except (av.error.FFmpegError, StopIteration) as error:
        message = f"{path.name} is not a film that can be decoded ({_reason(error)}); play it in a video player, "
        raise UnreadableFilm(message + "and where that fails too, copy or encode it again") from error


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or "it has no frames"


def glance(path: Path, count: int, from_frame: int = 0, to_frame: int | None = None) -> Iterator[FilmFrame]:
    """Yield up to `count` frames spread over a part of a film, those of its middle first; numbers follow from times."""
    facts = film_facts(path)
    start, end = from_frame / facts.fps, (to_frame or facts.frames or from_frame + 1) / facts.fps
    places = sorted(((n + 0.5) / count for n in range(count)), key=lambda place: abs(place - 0.5))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for place in places:
            moment = start + (end - start) * place
            try:
                container.seek(int(moment * av.time_base))
                for frame in container.decode(stream):
                    if (frame.time or 0.0) >= start - 1e-6:  # a seek lands on the key frame before
                        rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                        yield FilmFrame(round((frame.time or 0.0) * facts.fps), frame.time or 0.0, rgb)
                        break
            except av.error.FFmpegError:
                continue  # beyond the damage of a damaged film


def fit_height(picture: Picture, max_height: int) -> Picture:
    """Return a picture scaled down to at most `max_height` pixels of height."""
    if picture.shape[0] <= max_height:
        return picture
    width = round(picture.shape[1] * max_height / picture.shape[0])
    return np.asarray(cv2.resize(picture, (width, max_height), interpolation=cv2.INTER_AREA), np.uint8)


def letterbox(path: Path, probes: int = 12, black: int = 20) -> tuple[int, int, int, int]:
    """Return the picture's box x0, y0, x1, y1 without the black bars that all of `probes` key frames share.

    A row or column is a bar where its brightest pixels (99th percentile) stay below `black` in every probe.
    """
    rows, columns = np.zeros(0), np.zeros(0)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        length = stream.duration or 0
        for n in range(probes):
            try:
                container.seek(int(length * (n + 0.5) / probes) + (stream.start_time or 0), stream=stream)
                frame = next(container.decode(stream))
            except (av.error.FFmpegError, StopIteration):
                continue  # beyond the damage of a damaged film; the other probes decide
            grey = cv2.cvtColor(frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2GRAY)
            bright_rows, bright_columns = np.percentile(grey, 99, axis=1), np.percentile(grey, 99, axis=0)
            rows = bright_rows if rows.size == 0 else np.maximum(rows, bright_rows)
            columns = bright_columns if columns.size == 0 else np.maximum(columns, bright_columns)
    return (*_span(columns, black)[:1], _span(rows, black)[0], _span(columns, black)[1], _span(rows, black)[1])


def _span(brightness: np.ndarray, black: int) -> tuple[int, int]:
    lit = np.flatnonzero(brightness > black)
    if lit.size < brightness.size // 2:  # a dark film, not a letterbox
        return 0, brightness.size
    return int(lit[0]), int(lit[-1]) + 1
