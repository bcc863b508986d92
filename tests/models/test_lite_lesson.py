"""What the lite base model learns from: every still in several views, faces counting most."""

import pytest
import torch

from models.diffusion.lite_base import autoencoder
from models.diffusion.lite_base.lesson import (
    FACE_WEIGHT,
    FIGURE_WEIGHT,
    HEAD_WEIGHT,
    NEAR,
    VIEWS,
    WHOLE,
    caption_of,
    figure_weights,
    make_lesson,
    view_of,
)
from models.stills import Still, Stills

SHOTS = {"full": "full body", "medium": "medium shot", "close": "close-up"}


def still_of(shot: str | None) -> Still:
    caption = f"a boy, {SHOTS[shot]}" if shot else "a room"
    return Still(name="000000.jpg", caption=caption, kind="room", empty=shot is None, shot=shot)


FULL, MEDIUM, CLOSE, EMPTY = (still_of(shot) for shot in ("full", "medium", "close", None))


def test_the_scale_makes_latents_spread_by_one():
    torch.manual_seed(0)
    pictures = torch.randint(256, (3, 3, 128, 128), dtype=torch.uint8)
    network = autoencoder.build_autoencoder().eval()
    scale = autoencoder.latent_scale(network, pictures)
    network.register_to_config(scaling_factor=scale)
    nobody = torch.full((3, 3), torch.nan)
    lesson = make_lesson(network, Stills(pictures, [EMPTY] * 3), nobody)
    assert lesson.latents.shape == (3, len(VIEWS), 8, 16, 16)
    assert float(lesson.latents[:, 0].std()) == pytest.approx(1, abs=1e-3)
    assert bool((lesson.weights == 1).all())
    assert lesson.captions == [("a room",) * len(VIEWS)] * 3


def test_errors_count_most_where_somebody_is():
    weights = figure_weights(torch.tensor([[-0.4375, -0.4375, 0.25], [torch.nan] * 3]))
    assert weights.shape == (2, 1, 16, 16)
    boy = weights[0, 0]
    assert (boy[4, 4], boy[6, 4], boy[9, 4], boy[9, 12]) == (FACE_WEIGHT, HEAD_WEIGHT, FIGURE_WEIGHT, 1)
    assert bool((weights[1] == 1).all())


@pytest.mark.parametrize("number", range(len(VIEWS)))
@pytest.mark.parametrize("still", [FULL, MEDIUM])
def test_a_head_is_where_it_is_seen(number: int, still: Still):
    places = torch.rand(8, 2, generator=torch.Generator().manual_seed(number)) - 0.5
    heads = torch.cat([places, torch.full((8, 1), 0.2)], dim=1)
    y, x = torch.meshgrid(*[torch.arange(128)] * 2, indexing="ij")
    centred = (torch.stack([x, y]) + 0.5) / 64 - 1
    away = (centred[None] - places[:, :, None, None]).square().sum(dim=1).sqrt()
    view = view_of(number, [still] * 8, heads)
    seen = view.pictures((away < 0.2).float()[:, None].expand(-1, 3, -1, -1), mode="bicubic")[:, 0].clamp(0, 1)
    moved = view.heads(heads)
    shares = seen / seen.sum(dim=(1, 2), keepdim=True)
    assert torch.allclose((shares[:, None] * centred).sum(dim=(2, 3)), moved[:, :2], atol=0.01)
    assert torch.allclose((seen.sum(dim=(1, 2)) / torch.pi).sqrt() / 64, moved[:, 2], atol=0.008)
    assert (VIEWS[number] != WHOLE) == bool((moved[:, 2] > 0.2).all())
    assert bool((view.side + view.middle.abs().amax(dim=1) < 1.001).all()), "a view ends where its picture does"
    near = VIEWS[number] == NEAR and still is MEDIUM
    assert bool((moved[:, 2] > 0.35).all()) == near


def test_only_large_faces_are_enlarged_and_then_are_close_ups():
    assert [caption_of(still, NEAR) for still in (FULL, MEDIUM, CLOSE, EMPTY)] == [
        "a boy, full body",
        "a boy, close-up",
        "a boy, close-up",
        "a room",
    ]
    assert caption_of(MEDIUM, WHOLE) == "a boy, medium shot"


def test_the_first_views_are_the_picture_and_its_mirror_image():
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    heads = torch.tensor([[0.1, 0.0, 0.3]] * 2)
    plain, mirrored = (view_of(number, [CLOSE] * 2, heads).pictures(pictures) for number in (0, 1))
    assert torch.allclose(plain, pictures, atol=1e-4)
    assert torch.allclose(mirrored, pictures.flip(-1), atol=1e-4)
