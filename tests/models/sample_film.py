"""Frames, silhouettes and truth of the sample film, as the perception tests read them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FILM = Path(__file__).resolve().parents[2] / "samples" / "harbour"
REFERENCES = FILM.parent / "references"
HELD = 4  # film frames to one truth frame
EVERY = 8  # film frames between two samples: 3 a second
FPS = 24.0


@dataclass(frozen=True)
class Row:
    """One character in one sampled frame."""

    time_s: float
    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    track: str
    truth: dict[str, Any]

    @property
    def keypoints(self) -> NDArray[np.float32]:
        return np.array(self.truth["keypoints"], dtype=np.float32)


@cache
def truth() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FILM / "truth.jsonl").read_text().splitlines()]


@cache
def frames(shot: int) -> dict[int, NDArray[np.uint8]]:
    """Return the sampled pictures of a shot by truth frame."""
    wanted = [row["frame"] for row in truth() if row["shot"] == shot and row["frame"] * HELD % EVERY == 0]
    found: dict[int, NDArray[np.uint8]] = {}
    with av.open(str(FILM / "harbour.mp4")) as film:
        stream = film.streams.video[0]
        film.seek(int(wanted[0] * HELD / FPS / stream.time_base), stream=stream)
        for picture in film.decode(stream):
            number = round(float(picture.pts * stream.time_base) * FPS)
            if number % HELD == 0 and number // HELD in wanted:
                found[number // HELD] = picture.to_ndarray(format="rgb24")
            if number >= wanted[-1] * HELD:
                break
    assert sorted(found) == wanted
    return found


@cache
def rows(shot: int) -> tuple[Row, ...]:
    """Return the characters of a shot with ragged silhouettes, as a segmenter draws them."""
    found = []
    for number, image in frames(shot).items():
        mask = cv2.imread(str(FILM / "masks" / f"{number:06d}.png"), cv2.IMREAD_GRAYSCALE)
        for character in truth()[number]["characters"]:
            alpha = ragged(mask == 20 * character["index"], seed=number)
            ys, xs = np.nonzero(alpha > 127)
            box = (float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1))
            track = f"{shot}-{character['id']}"
            found.append(Row(number * HELD / FPS, image, alpha, box, track, character))
    return tuple(found)


def ragged(inside: NDArray[np.bool_], seed: int) -> NDArray[np.uint8]:
    """Return a soft silhouette whose edge wanders by about 1.5 px."""
    coarse = np.random.default_rng(seed).normal(size=(36, 64)).astype(np.float32)
    wander = cv2.resize(coarse, inside.shape[::-1], interpolation=cv2.INTER_CUBIC)
    solid = inside.astype(np.uint8)
    distance = cv2.distanceTransform(solid, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5)
    return (np.clip((distance + 1.5 * wander) / 3 + 0.5, 0, 1) * 255).astype(np.uint8)


def plates(shot: int) -> list[NDArray[np.uint8]]:
    """Return the pictures of a shot without anybody."""
    numbers = [row["frame"] for row in truth() if row["shot"] == shot]
    paths = [FILM / "plates" / f"{number:06d}.png" for number in numbers]
    empty = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths if path.exists()]
    return empty or [frames(shot)[number] for number in sorted(frames(shot))]
