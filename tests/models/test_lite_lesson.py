"""What the lite base model learns from: every still framed alike in several views, faces counting most."""

import pytest
import torch

from models.diffusion.lite_base import autoencoder
from models.diffusion.lite_base.denoiser import unexplained
from models.diffusion.lite_base.lesson import (
    FACE_WEIGHT,
    FIGURE_WEIGHT,
    FRAMES,
    HEAD_WEIGHT,
    VIEWS,
    Group,
    figure_weights,
    groups_of,
    make_lesson,
    view_of,
)
from models.stills import Still, Stills


def still_of(shot: str | None, pose: str | None = "standing", group: int | None = None) -> Still:
    what = {"kind": "room", "empty": shot is None, "shot": shot, "pose": pose if shot else None, "group": group}
    return Still(name="000000.jpg", caption="a boy" if shot else "a room", **what)


EMPTY = still_of(None)


def test_the_scale_makes_latents_spread_by_one():
    torch.manual_seed(0)
    pictures = torch.randint(256, (3, 3, 128, 128), dtype=torch.uint8)
    network = autoencoder.build_autoencoder().eval()
    scale = autoencoder.latent_scale(network, pictures)
    network.register_to_config(scaling_factor=scale)
    nobody = torch.full((3, 3), torch.nan)
    lesson = make_lesson(network, Stills(pictures, [EMPTY] * 3), nobody)
    assert lesson.latents.shape == (3, VIEWS, 8, 16, 16)
    assert float(lesson.latents.std()) == pytest.approx(1, abs=0.1)
    assert bool((lesson.weights == 1).all())
    assert (lesson.captions, lesson.groups, lesson.singles) == (["a room"] * 3, [], [0, 1, 2])


def test_errors_count_most_where_somebody_is():
    weights = figure_weights(torch.tensor([[-0.4375, -0.4375, 0.25], [torch.nan] * 3]))
    assert weights.shape == (2, 1, 16, 16)
    boy = weights[0, 0]
    assert (boy[4, 4], boy[6, 4], boy[9, 4], boy[9, 12]) == (FACE_WEIGHT, HEAD_WEIGHT, FIGURE_WEIGHT, 1)
    assert bool((weights[1] == 1).all())


@pytest.mark.parametrize("number", range(VIEWS))
def test_a_head_is_where_it_is_seen(number: int):
    places = torch.rand(8, 2, generator=torch.Generator().manual_seed(number)) - 0.5
    heads = torch.cat([places, torch.full((8, 1), 0.2)], dim=1)
    y, x = torch.meshgrid(*[torch.arange(128)] * 2, indexing="ij")
    centred = (torch.stack([x, y]) + 0.5) / 64 - 1
    away = (centred[None] - places[:, :, None, None]).square().sum(dim=1).sqrt()
    view = view_of(number, [still_of("medium")] * 8, heads)
    seen = view.pictures((away < 0.2).float()[:, None].expand(-1, 3, -1, -1), mode="bicubic")[:, 0].clamp(0, 1)
    moved = view.heads(heads)
    shares = seen / seen.sum(dim=(1, 2), keepdim=True)
    assert torch.allclose((shares[:, None] * centred).sum(dim=(2, 3)), moved[:, :2], atol=0.01)
    assert torch.allclose((seen.sum(dim=(1, 2)) / torch.pi).sqrt() / 64, moved[:, 2], atol=0.008)
    assert bool((view.side + view.middle.abs().amax(dim=1) < 1.001).all()), "a view ends where its picture does"


@pytest.mark.parametrize("shot", FRAMES)
def test_heads_are_framed_alike_by_shot(shot: str):
    """As far as the pictures reach: small heads are enlarged, which leaves room to move them."""
    heads = torch.tensor([[0.1, -0.3, 0.12], [-0.1, -0.2, 0.15], [0.0, -0.25, 0.14]])
    for number in range(VIEWS):
        moved = view_of(number, [still_of(shot)] * 3, heads).heads(heads)
        height, radius = FRAMES[shot]
        assert bool((moved[:, 2] >= min(radius, 0.12 / 0.55) - 1e-4).all()), "or as large as it may become"
        assert bool((moved[:, 0].abs() < 0.15).all())
        assert bool(((moved[:, 1] - height).abs() < 0.15).all())


def test_who_jumps_is_framed_by_where_he_stood():
    heads = torch.tensor([[0.0, -0.5, 0.12]] * 2)
    standing, jumping = view_of(0, [still_of("full"), still_of("full", "jumping")], heads).heads(heads)
    assert float(jumping[1]) < float(standing[1]) - 0.05


def test_a_group_is_seen_in_one_view_and_known_by_its_rows():
    stills = [still_of("full"), still_of("full", "waving", 3), EMPTY, still_of("full", "sitting", 3)]
    assert groups_of(stills) == [Group([1, 3], by_pose=True)]
    assert groups_of([still_of("close", "waving", 4)] * 2) == [Group([0, 1], by_pose=False)]
    heads = torch.tensor([[0.1, -0.4, 0.16], [0.0, -0.33, 0.19], [torch.nan] * 3, [0.0, -0.3, 0.19]])
    view = view_of(1, stills, heads)
    assert (view.side[1], *view.middle[1]) == (view.side[3], *view.middle[3])
    assert bool(view.mirrored.all())
    assert bool(view.side.isfinite().all())


def test_what_the_members_of_a_group_share_does_not_count():
    units = torch.tensor([0, 0, 0, 1])
    generator = torch.Generator().manual_seed(0)
    clean, shared = torch.randn(4, 8, 16, 16, generator=generator), torch.randn(8, 16, 16, generator=generator)
    assert float(unexplained(shared.expand(4, -1, -1, -1), clean, units)) == 0
    said_nothing = unexplained(shared - clean, clean, units)
    assert said_nothing.tolist() == pytest.approx([1])
    assert unexplained(0.5 * said_nothing * clean, clean, units).tolist() == pytest.approx([0.25])
    assert unexplained(clean, clean, torch.arange(4)).tolist() == [0]
