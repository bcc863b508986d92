"""Other shots: true pixels of the same place from another camera, nothing from another place."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint import INPAINTERS
from models.inpaint.elsewhere import View, fill_from_elsewhere
from models.inpaint.neighbours import NeighbourFill, Neighbours
from models.inpaint.palettes import most_alike, palette
from models.inpaint.provenance import Origin, ShotPlates
from models.inpaint.voting import Candidate, vote
from models.registration.likeness import largest_channel
from models.registration.masks import dilate
from tests.models.sample_film import FILM, frames, truth

SIZE = (150, 220)  # height, width
AT = (110, 75)


def psnr(one, other, where):
    error = (one[where].astype(float) - other[where]) ** 2
    return 10 * np.log10(255**2 / max(error.mean(), 1e-9))


def facade(seed, height=SIZE[0], width=SIZE[1]):
    rng = np.random.default_rng(seed)
    wall = cv2.resize(rng.integers(60, 200, (12, 34, 3)).astype(np.uint8), (width, height))
    for x, y, w, h in rng.integers((0, 0, 8, 8), (width, height, 40, 40), (60, 4)):
        cv2.rectangle(wall, (int(x), int(y)), (int(x + w), int(y + h)), rng.integers(0, 255, 3).tolist(), -1)
    return cv2.GaussianBlur(wall, (0, 0), 0.8)


def disc(radius=26):
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, AT, radius, 1, -1)
    return mask > 0


def occupied(wall):
    """Return the wall behind somebody a little smaller than the hole, which is dilated."""
    return np.where(disc(22)[..., None], np.uint8(250), wall)


def seen_by(wall, zoom, tilt=0.0005):
    """Return what a camera shows that looks at the wall from the side, `zoom` times closer."""
    matrix = np.array([[zoom, 0.06, AT[0] * (1 - zoom)], [-0.04, zoom, AT[1] * (1 - zoom)], [tilt, 0, 1]])
    return cv2.warpPerspective(wall, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def unseen(picture, hole, unknown=None):
    """Return what a shot shows of its hole when all but `unknown` is known."""
    known = hole & ~(hole if unknown is None else unknown)
    return NeighbourFill(picture, hole, known, np.zeros_like(hole))


def nobody():
    return np.zeros(SIZE, bool)


@pytest.mark.parametrize("zoom", [0.6, 1.0, 2.0])
def test_another_camera_at_the_same_wall_shows_what_is_hidden(zoom):
    wall, hole = facade(3), disc()
    picture = occupied(wall)
    view = View(seen_by(wall, zoom), nobody())
    found = fill_from_elsewhere(picture, unseen(picture, hole), [view])
    assert found.known[hole].mean() > 0.95
    assert psnr(found.image, wall, found.known) > 24 + 4 * (zoom >= 1)
    again = fill_from_elsewhere(picture, unseen(picture, hole), [view])
    assert np.array_equal(found.image, again.image)


def test_a_view_of_another_place_is_refused():
    wall, hole = facade(3), disc()
    strangers = [View(facade(seed), nobody()) for seed in (11, 12, 13)]
    found = fill_from_elsewhere(occupied(wall), unseen(occupied(wall), hole), strangers)
    assert not found.known.any()


def test_what_a_view_hides_itself_is_not_taken():
    wall, hole = facade(3), disc()
    picture = occupied(wall)
    someone = nobody()
    someone[:, 110:150] = True
    body = np.zeros_like(someone)
    body[:, 114:146] = True
    view = View(np.where(body[..., None], np.uint8(9), wall), someone)
    found = fill_from_elsewhere(picture, unseen(picture, hole), [view])
    assert found.known[:, :105][hole[:, :105]].mean() > 0.9
    assert not found.known[:, 110:150].any()


@settings(max_examples=6, deadline=None)
@given(radius=st.integers(6, 26), zoom=st.floats(0.7, 1.6), seed=st.integers(0, 99))
def test_only_unknown_pixels_change(radius, zoom, seed):
    wall, hole, unknown = facade(seed), disc(), disc(radius)
    picture = occupied(wall)
    found = fill_from_elsewhere(picture, unseen(picture, hole, unknown), [View(seen_by(wall, zoom), nobody())])
    assert not (found.known & ~unknown).any()
    assert np.array_equal(found.image[~found.known], picture[~found.known])


@pytest.mark.parametrize(("hidden", "deep"), [(26, 16), (36, 18)], ids=["near the visible", "deep in the hole"])
def test_a_shadow_goes_too_in_what_the_shot_knows_of_the_hole(hidden, deep):
    wall, hole, unknown = facade(3), disc(hidden), disc(deep)
    lent = np.where((hole & ~unknown)[..., None], (wall * 0.6).astype(np.uint8), occupied(wall))
    found = fill_from_elsewhere(occupied(wall), unseen(lent, hole, unknown), [View(seen_by(wall, 1.2), nobody())])
    assert found.known[hole].all()
    assert psnr(found.image, wall, hole) > 40


def test_a_hole_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"hole \(9, 9\) needs the size of its picture, \(150, 220\)"):
        fill_from_elsewhere(facade(1), unseen(facade(1), np.ones((9, 9), bool)), [])


def test_nothing_unknown_or_no_view_leaves_the_picture():
    wall = facade(1)
    for unknown, views in ((nobody(), [View(wall, nobody())]), (disc(), [])):
        found = fill_from_elsewhere(wall, unseen(wall, disc(), unknown), views)
        assert np.array_equal(found.image, wall)
        assert not found.known.any()


def hole_of(number):
    return dilate(cv2.imread(str(FILM / "masks" / f"{number:06d}.png"), cv2.IMREAD_GRAYSCALE) > 0)


def views_of(shot):
    numbers = sorted(frames(shot))
    chosen = [numbers[int((part + 0.5) * len(numbers) / 5)] for part in range(5)]
    return [View(frames(shot)[number], hole_of(number)) for number in sorted({*chosen})]


@pytest.mark.parametrize(
    ("shot", "bound", "share"), [(2, 26.0, 0.85), (10, 28.0, 0.85)], ids=["portrait", "jumping on the spot"]
)
def test_other_shots_of_the_film_show_what_its_still_shots_hide(shot, bound, share):
    numbers = sorted(frames(shot))
    pictures, holes = [frames(shot)[number] for number in numbers], [hole_of(number) for number in numbers]
    number = next(one for one in numbers[len(numbers) // 2 :] if (FILM / "plates" / f"{one:06d}.png").exists())
    index = numbers.index(number)
    seen = Neighbours(pictures, holes).fill(index)
    unknown = holes[index] & seen.unknown
    everything = [view for other in range(13) if other != shot for view in views_of(other)]
    likely = most_alike(palette(pictures[index]), [palette(view.image) for view in everything], 15)
    found = fill_from_elsewhere(pictures[index], seen, [everything[one] for one in likely])
    plate = cv2.cvtColor(cv2.imread(str(FILM / "plates" / f"{number:06d}.png")), cv2.COLOR_BGR2RGB)
    guessed = INPAINTERS.load("patchmatch").fill(seen.image, unknown)
    shown = found.known | found.unsure
    assert shown[unknown].mean() >= share
    assert found.known[unknown].mean() >= 0.6
    assert psnr(found.image, plate, found.known) >= 34
    assert psnr(found.image, plate, shown) >= bound
    assert psnr(found.image, plate, shown) >= psnr(guessed, plate, shown) + 8


def test_views_of_one_place_are_preferred():
    place_of = {row["shot"]: row["place"] for row in truth()}
    shots = [shot for shot in place_of if shot != 8]
    pictures = [next(iter(frames(shot).values())) for shot in shots]
    wanted = palette(next(iter(frames(8).values())))
    palettes = [palette(picture) for picture in pictures]
    best = most_alike(wanted, palettes, 3)
    assert [place_of[shots[index]] for index in best] == ["kitchen"] * 3
    assert most_alike(palettes[0], palettes, 1) == [0]
    assert most_alike(palettes[0], [], 3) == []


def test_a_plate_tells_its_shots_pixels_from_those_of_others():
    wall = facade(3)
    mask = disc(18)
    plates = ShotPlates([np.where(mask[..., None], np.uint8(250), wall)], [mask], INPAINTERS.load("patchmatch"))
    plate = plates.make(0, [View(seen_by(wall, 1.2), nobody())])
    hole = dilate(mask)
    assert (plate.provenance[hole] == Origin.OTHER_SHOT).mean() > 0.9
    assert plate.share(Origin.NEIGHBOUR) == 0
    assert psnr(plate.image, wall, plate.provenance == Origin.OTHER_SHOT) > 26


def candidate(view, colour, cost=2.0):
    pixels = np.full((16, 24, 3), colour, np.uint8)
    return Candidate(view, pixels, np.ones((16, 24), bool), np.full((16, 24), cost, np.float32))


def test_views_that_agree_outvote_one_and_are_averaged():
    pixels, credible, sure = vote(
        [candidate(0, 100, cost=9.0), candidate(1, 104, cost=9.0), candidate(2, 200, cost=8.0)]
    )
    assert credible.all()
    assert not sure.any()  # one that is trusted as much says something else
    assert (np.abs(pixels.astype(int) - 102) <= 1).all()


def test_a_view_that_explains_its_surroundings_well_is_not_outvoted():
    pixels, credible, _ = vote([candidate(0, 100, cost=9.0), candidate(1, 104, cost=9.0), candidate(2, 200, cost=2.0)])
    assert credible.all()
    assert (np.abs(pixels.astype(int) - 200) <= 4).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.floats(0, 60)), min_size=1, max_size=5))
def test_a_vote_invents_no_colour(seen):
    pixels, _, _ = vote([candidate(view, colour, cost) for view, (colour, cost) in enumerate(seen)])
    assert pixels.min() >= min(colour for colour, _ in seen)
    assert pixels.max() <= max(colour for colour, _ in seen)


def test_what_no_view_is_trusted_with_stays_unknown():
    hopeless = candidate(0, 100, cost=59.0)
    unseen = Candidate(1, hopeless.pixels, np.zeros((16, 24), bool), np.zeros((16, 24), np.float32))
    _, credible, _ = vote([hopeless, unseen])
    assert not credible.any()


def test_views_that_agree_are_sure_and_one_that_nobody_trusts_does_not_matter():
    agreeing = [candidate(0, 100), candidate(1, 104)]
    assert vote(agreeing)[2].all()
    assert vote([*agreeing, candidate(2, 200, cost=55.0)])[2].all()


@given(seed=st.integers(0, 99), height=st.integers(0, 9), width=st.integers(0, 9))
def test_the_largest_channel_is_what_numpy_reduces_to(seed, height, width):
    values = np.random.default_rng(seed).integers(-255, 256, (height, width, 3)).astype(np.int16)
    assert np.array_equal(largest_channel(values), values.max(axis=-1))
