import cv2
import numpy as np
import pytest

from models.embed import EMBEDDERS
from models.embed.colour import colour_histograms
from models.embed.crop import BACKGROUND, masked_crop
from tests.models.sample_film import REFERENCES, rows


@pytest.fixture(scope="module")
def similarities() -> dict[str, np.ndarray]:
    """Mean similarity of each track's crops to the references, (luca, gia)."""
    embedder = EMBEDDERS.load("efficientnet-lite0+colour")
    cutouts = [cv2.imread(str(REFERENCES / f"{name}.png"), cv2.IMREAD_UNCHANGED) for name in ("luca", "gia")]
    references = embedder.embed([masked_crop(cutout[:, :, 2::-1], cutout[:, :, 3]) for cutout in cutouts])
    found = {}
    for shot in (3, 4, 7):
        for track in {row.track for row in rows(shot)}:
            chosen = [row for row in rows(shot) if row.track == track][::3]
            crops = [masked_crop(row.image, row.alpha) for row in chosen]
            found[track] = (embedder.embed(crops) @ references.T).mean(axis=0)
    return found


def test_references_name_every_track_by_far(similarities):
    for track, (luca, gia) in similarities.items():
        own, other = (luca, gia) if track.endswith("luca") else (gia, luca)
        assert own >= 0.85, track
        assert other <= 0.72, track


def test_rows_are_unit_vectors_of_any_picture_size():
    images = [np.full((30, 70, 3), 90, np.uint8), np.full((300, 200, 3), 200, np.uint8)]
    for name, width in (("efficientnet-lite0", 1280), ("efficientnet-lite0+colour", 1280 + 576)):
        embedder = EMBEDDERS.load(name)
        vectors = embedder.embed(images)
        assert vectors.shape == (2, width)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
        assert embedder.embed([]).shape == (0, width)
        assert embedder.embed(images).tobytes() == vectors.tobytes()


def test_a_masked_crop_forgets_the_background():
    row = rows(4)[0]
    elsewhere = np.where(row.alpha[:, :, None] > 127, row.image, np.uint8(9))
    crop = masked_crop(row.image, row.alpha)
    assert crop.shape[0] == crop.shape[1]
    assert (crop == masked_crop(elsewhere, row.alpha)).all()
    assert (crop[0] == BACKGROUND).all()


def test_colours_ignore_the_grey_around_and_tell_shirts_apart():
    red, blue = np.full((50, 50, 3), BACKGROUND, np.uint8), np.full((50, 50, 3), BACKGROUND, np.uint8)
    red[10:40, 10:40] = (200, 30, 30)
    blue[10:40, 10:40] = (30, 30, 200)
    larger = np.full((50, 50, 3), (200, 30, 30), np.uint8)
    one, same, other = colour_histograms([red, larger, blue])
    assert one @ same > 0.99
    assert one @ other < 0.05


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"efficientnet-lite0, efficientnet-lite0\+colour"):
        EMBEDDERS.load("dinov2")
    with pytest.raises(ValueError, match="no character"):
        masked_crop(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="size of the frame"):
        masked_crop(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8), np.uint8))
