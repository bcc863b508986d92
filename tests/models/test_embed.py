import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embed import EMBEDDERS, unit_rows
from models.embed.colour import colour_histograms
from models.embed.crop import BACKGROUND, masked_crop
from models.embed.files import embed_files
from models.embed.fusion import Fusion
from models.pictures import keep_picture, read_rgb
from models.weights import MissingWeights
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


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=4))
def test_a_fused_cosine_is_the_weighted_mean_of_the_parts(weights):
    class Fixed:
        def __init__(self, seed: int) -> None:
            self.rows = unit_rows(np.random.default_rng(seed).normal(size=(2, 3 + seed)).astype(np.float32))

        def embed(self, images):
            return self.rows[: len(images)]

    shares = np.array(weights) / sum(weights)
    parts = [Fixed(seed) for seed in range(len(shares))]
    one, other = Fusion(list(zip(parts, shares.tolist(), strict=True))).embed([np.zeros((4, 4, 3), np.uint8)] * 2)
    expected = sum(share * float(part.rows[0] @ part.rows[1]) for part, share in zip(parts, shares, strict=True))
    assert one @ one == pytest.approx(1.0, abs=1e-5)
    assert one @ other == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shares", [(), (0.5, 0.4), (1.5, -0.5)])
def test_shares_that_are_no_mean_are_refused(shares):
    with pytest.raises(ValueError, match=r"each must be above 0, and their sum 1"):
        Fusion([(EMBEDDERS.load("colour"), share) for share in shares])


def test_fused_backends_need_what_their_parts_need(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    needs = {name: [need.name for need in backend.needs] for name, backend in EMBEDDERS.items()}
    assert needs["colour"] == []
    assert needs["dinov2-base+clip"] == needs["dinov2-base"] + needs["clip-vit-large-patch14"]
    assert needs["dinov2-small+colour"] == ["facebook/dinov2-small@ed25f3a3"]
    with pytest.raises(MissingWeights, match=r"`hf download facebook/dinov2-base config.json model.safetensors"):
        EMBEDDERS.load("dinov2-base+clip")


def test_files_are_embedded_in_batches_and_progress_is_told(tmp_path):
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (9, 12, 3)).astype(np.uint8) for _ in range(40)]
    paths = [tmp_path / keep_picture(tmp_path, picture) for picture in pictures]
    told = []
    network = EMBEDDERS.load("colour")
    found = embed_files(network, paths, read_rgb, lambda share, _: told.append(share))
    assert found.tobytes() == network.embed(pictures).tobytes()
    assert told == [0.8, 1.0]
    assert embed_files(network, [], read_rgb, lambda share, _: told.append(share)).shape == (0, 576)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"efficientnet-lite0, efficientnet-lite0\+colour"):
        EMBEDDERS.load("dinov2")
    with pytest.raises(ValueError, match="no character"):
        masked_crop(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="size of the frame"):
        masked_crop(np.zeros((9, 9, 3), np.uint8), np.zeros((9, 8), np.uint8))
