"""What several views say is hidden, pixel by pixel.

At each pixel candidates of other views vote: what two cameras lay on the same spot in the same colour lies on the
plane assumed (the photo-consistency of plane sweeping: Collins, "A space-sweep approach to true multi-image
matching", 1996). Where one view explains what surrounds the hole well it needs no votes: a table's leg is laid where
it belongs by few of them, and outvoted. The best candidate is averaged with those that agree with it, as each is a
little off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.registration import Hole, Image, Map
from models.registration.likeness import difference, largest_channel, soften
from models.registration.masks import shrink

HALF = 2  # votes are counted on a smaller picture
AGREE = 12.0  # grey levels at which an agreeing vote is down to 1/e
TRUST = 10.0  # grey levels of cost at which trust is down to 1/e
BLEND = 50.0  # grey levels from the chosen candidate at which another counts 1/e in the mean
ENOUGH_VOTES = 2.0
VOTE_WORTH = 12.0  # grey levels of cost that one full vote outweighs
UNSURE = 8.0  # grey levels of the best cost, from which on votes have their full worth
SELF_RELIANCE = 4  # power by which they lose it below
MAX_COST = 26.0
SPECK = 7  # coarse pixels; a guess in the midst of truth is worse than a weak truth
MOST_SPREAD = 14.0  # grey levels by which trusted candidates are apart from the chosen one, where it is sure
MIN_CONFIDENCE = 0.5  # own trust and votes; two views at a cost of 14, or one alone at 7


@dataclass(frozen=True)
class Candidate:
    """One view laid over a picture along one plane, cut to the rectangle (h, w) around the unknown pixels."""

    view: int
    pixels: Image  # (h, w, 3)
    seen: Hole  # (h, w)
    cost: Map  # (h, w), expected distance from the truth in grey levels


def vote(found: Sequence[Candidate]) -> tuple[Image, Hole, Hole]:
    """Return what the candidates of the best cost and votes show, (h, w, 3), where they are credible, and where sure.

    Sure, (h, w), is what hardly any candidate that is trusted contradicts.
    """
    height, width = found[0].seen.shape
    size = (max(1, width // HALF), max(1, height // HALF))
    costs = np.array([cv2.resize(one.cost, size) for one in found])
    seen = np.array([cv2.resize(shrink(one.seen, HALF).astype(np.uint8), size) > 0 for one in found])
    colours = np.array([cv2.resize(soften(one.pixels), size, interpolation=cv2.INTER_AREA) for one in found])
    trust = np.exp(-costs / TRUST) * seen
    votes = _count_votes(colours, trust, [one.view for one in found])
    best = np.where(seen, costs, np.inf).min(axis=0)
    worth = VOTE_WORTH * np.minimum(best / UNSURE, 1.0) ** SELF_RELIANCE
    score = np.where(seen, worth * np.minimum(votes, ENOUGH_VOTES) - costs, -np.inf)
    pick = score.argmax(axis=0)[None]
    cost, confidence = (np.take_along_axis(values, pick, axis=0)[0] for values in (costs, trust + votes))
    believed = ((cost < MAX_COST) & (confidence > MIN_CONFIDENCE)).astype(np.uint8)
    believed = cv2.morphologyEx(believed, cv2.MORPH_CLOSE, np.ones((SPECK, SPECK), np.uint8))
    agreed = (_spread(colours, trust, pick) < MOST_SPREAD).astype(np.uint8)
    credible, sure = (
        cv2.resize(each, (width, height), interpolation=cv2.INTER_NEAREST) > 0 for each in (believed, agreed)
    )
    chosen = cv2.resize(pick[0].astype(np.uint16), (width, height), interpolation=cv2.INTER_NEAREST)
    pixels, shown = _blend(chosen, found)
    return pixels, np.asarray(credible & shown), np.asarray(sure)


def _spread(colours: NDArray[np.uint8], trust: Map, pick: NDArray[np.int64]) -> Map:
    """Return how far, (h, w), candidates' colours (n, h, w, 3) are from the picked one's, by their trust (n, h, w)."""
    picked = np.take_along_axis(colours, pick[..., None], axis=0).astype(np.float32)
    apart = np.square(colours - picked).mean(axis=-1)
    return np.asarray(np.sqrt((trust * apart).sum(axis=0) / np.maximum(trust.sum(axis=0), 1e-6)), np.float32)


def _blend(chosen: NDArray[np.uint16], found: Sequence[Candidate]) -> tuple[Image, Hole]:
    """Return the mean (h, w, 3) of the candidates that agree with the `chosen` one (h, w), and where that one sees."""
    best, shown = np.zeros((*chosen.shape, 3), np.uint8), np.zeros(chosen.shape, bool)
    for index, one in enumerate(found):
        here = chosen == index
        best[here], shown[here] = one.pixels[here], one.seen[here]
    total, share = np.zeros(best.shape, np.float32), np.full(chosen.shape, 1e-6, np.float32)
    for one in found:
        apart = difference(one.pixels, best).astype(np.float32)
        weight = np.exp(-((apart / BLEND) ** 2) - one.cost / TRUST) * one.seen
        total += weight[..., None] * one.pixels
        share += weight
    return np.asarray((total / share[..., None]).round().clip(0, 255), np.uint8), shown


def _count_votes(colours: NDArray[np.uint8], trust: Map, views: Sequence[int]) -> Map:
    """Return how far other views stand behind each candidate's (n, h, w, 3) colour; a view has one vote."""
    votes = np.zeros_like(trust)
    for index, view in enumerate(views):
        apart = largest_channel(np.abs(colours.astype(np.int16) - colours[index]))
        agreement = np.exp(-((apart.astype(np.float32) / AGREE) ** 2)) * trust
        for other in sorted(set(views) - {view}):
            votes[index] += agreement[[position for position, one in enumerate(views) if one == other]].max(axis=0)
        votes[index] = cv2.blur(votes[index], (3, 3))
    return votes
