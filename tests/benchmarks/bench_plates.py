"""Plates of the sample film: true pixels first, against networks that guess all of the hole; PSNR and seconds.

One plate a shot, at the first sampled frame with a true one. Masks are the truth's, so that nothing but the filling
is compared; networks whose weights are not on this machine are named and left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from data_contracts.stages import InpaintPlatesConfig
from models.inpaint import INPAINTERS
from models.inpaint.elsewhere import View
from models.inpaint.palettes import most_alike, palette
from models.inpaint.provenance import Origin, ShotPlates
from models.metrics.psnr import psnr_db, squared_errors
from models.registration import Hole, Image
from models.registration.masks import dilate
from models.weights import MissingWeights
from tasks.other_shots import PER_SHOT, spread_indices
from tests.models.sample_film import FILM, frames, truth
from tests.models.true_masks import true_mask

Filled = tuple[Image, np.ndarray]  # the picture and its provenance


@dataclass(frozen=True)
class Wanted:
    """A frame of a shot whose plate is known."""

    shot: int
    number: int
    truth: Image

    @property
    def hole(self) -> Hole:
        """Where the characters are, dilated."""
        return dilate(true_mask(self.number) > 0)


def wanted_plates() -> list[Wanted]:
    """Return the first frame of each shot that has a true plate and a character."""
    found = []
    for shot in sorted({row["shot"] for row in truth()}):
        for number in frames(shot):
            path = FILM / "plates" / f"{number:06d}.png"
            if path.exists() and true_mask(number).any():
                found.append(Wanted(shot, number, cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)))
                break
    return found


def views() -> list[tuple[int, View]]:
    """Return a few frames of every shot, with its number."""
    found = []
    for shot in sorted({row["shot"] for row in truth()}):
        pictures = list(frames(shot).items())
        chosen = [pictures[index] for index in spread_indices(len(pictures), PER_SHOT)]
        found += [(shot, View(picture, dilate(true_mask(number) > 0))) for number, picture in chosen]
    return found


def ours(everything: list[tuple[int, View]]) -> Callable[[Wanted], Filled]:
    """Return what fills a plate as the stage does."""
    palettes = [palette(view.image) for _, view in everything]

    def fill(wanted: Wanted) -> Filled:
        pictures = frames(wanted.shot)
        shot = ShotPlates(
            list(pictures.values()), [true_mask(one) > 0 for one in pictures], INPAINTERS.load("patchmatch")
        )
        others = [index for index, (number, _) in enumerate(everything) if number != wanted.shot]
        likely = most_alike(
            palette(pictures[wanted.number]), [palettes[one] for one in others], InpaintPlatesConfig().views
        )
        plate = shot.make(list(pictures).index(wanted.number), [everything[others[one]][1] for one in likely])
        return plate.image, plate.provenance

    return fill


def alone(name: str) -> Callable[[Wanted], Filled]:
    """Return what fills a plate by one network alone.

    Raises:
        MissingWeights: its weights are not on this machine.
    """
    network = INPAINTERS.load(name)

    def fill(wanted: Wanted) -> Filled:
        provenance = np.where(wanted.hole, Origin.NETWORK, Origin.OWN).astype(np.uint8)
        return network.fill(frames(wanted.shot)[wanted.number], wanted.hole), provenance

    return fill


def measure(name: str, fill: Callable[[Wanted], Filled]) -> float:
    """Print PSNR inside the true characters, by source, and seconds a plate; return the PSNR of all, dB."""
    errors, pixels, plates = np.zeros(len(Origin)), np.zeros(len(Origin), np.int64), wanted_plates()
    started = time.perf_counter()
    filled = [fill(wanted) for wanted in plates]
    seconds = (time.perf_counter() - started) / len(plates)
    for wanted, (image, provenance) in zip(plates, filled, strict=True):
        inside = true_mask(wanted.number) > 0
        plate_errors, plate_pixels = squared_errors(image, wanted.truth, inside, provenance, len(Origin))
        errors, pixels = errors + plate_errors, pixels + plate_pixels
    score = psnr_db(float(errors.sum()), int(pixels.sum()))
    assert score is not None
    parts = [
        f"{origin.name.lower().replace('_', ' ')} {psnr_db(float(errors[origin]), int(pixels[origin])):.1f} dB of "
        f"{pixels[origin] / pixels.sum():.0%}"
        for origin in Origin
        if pixels[origin]
    ]
    print(f"  {name:18} {score:5.1f} dB  {seconds:6.2f} s a plate   {', '.join(parts)}")
    return score


@pytest.mark.timeout(1800)
def test_true_pixels_against_guessing_alone() -> None:
    plates = wanted_plates()
    print(f"\n{len(plates)} plates of {frames(0)[0].shape[1]}x{frames(0)[0].shape[0]}, PSNR inside the characters")
    best = measure("ours", ours(views()))
    for name in INPAINTERS:
        try:
            network = alone(name)
        except MissingWeights as missing:
            print(f"  {name} alone: left out, {missing}")
            continue
        assert best > measure(f"{name} alone", network) + 5
