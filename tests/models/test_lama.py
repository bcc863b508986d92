"""The `lama` backend around a small TorchScript network of the same call: what must hold for any weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inpaint import BIG_LAMA, INPAINTERS
from models.inpaint.lama import LamaInpainter
from models.web_file import FOLDER_VARIABLE
from models.weights import MissingWeights


class MeanOutside(torch.nn.Module):
    """Fills a hole with the mean colour outside; refuses sides that big-LaMa's halvings would not return."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % 8 == 0 and image.shape[3] % 8 == 0  # noqa: PT018
        outside = 1 - mask
        mean = (image * outside).sum(dim=(2, 3), keepdim=True) / outside.sum(dim=(2, 3), keepdim=True)
        return image * outside + mean * mask


@pytest.fixture(scope="module")
def lama(tmp_path_factory) -> LamaInpainter:
    path = tmp_path_factory.mktemp("lama") / "small.pt"
    torch.jit.script(MeanOutside()).save(str(path))
    return LamaInpainter(path)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_nothing_outside_the_hole_changes_at_any_size(lama, height, width, seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    hole = random.random((height, width)) < 0.3
    hole[0, 0] = False
    filled = lama.fill(image, hole)
    assert filled.shape == image.shape
    assert np.array_equal(filled[~hole], image[~hole])


def test_the_hole_is_filled_from_what_is_around_it(lama):
    image = np.full((77, 123, 3), (200, 120, 40), np.uint8)
    image[20:50, 30:60] = 0
    hole = np.zeros((77, 123), bool)
    hole[20:50, 30:60] = True
    assert np.abs(lama.fill(image, hole).astype(int) - (200, 120, 40)).max() <= 1


def test_holes_that_leave_nothing_to_go_by_are_refused(lama):
    image = np.zeros((8, 8, 3), np.uint8)
    assert np.array_equal(lama.fill(image, np.zeros((8, 8), bool)), image)
    with pytest.raises(ValueError, match="the whole picture"):
        lama.fill(image, np.ones((8, 8), bool))
    with pytest.raises(ValueError, match="must have one size"):
        lama.fill(image, np.zeros((4, 8), bool))


def test_another_file_under_its_name_is_never_opened(tmp_path: Path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingWeights, match=r"big-lama\.pt does not exist: `curl"):
        INPAINTERS.load("lama")
    torch.jit.script(MeanOutside()).save(str(tmp_path / BIG_LAMA.file))
    with pytest.raises(MissingWeights, match="another file, and is not opened"):
        INPAINTERS.load("lama")
