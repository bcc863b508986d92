"""The world probe learns, keeps its weights, and says what it knows."""

import numpy as np
import pytest
import torch

from data_contracts.faults import InputFault
from models.metrics.judges import JUDGES
from models.metrics.world_probe.examples import UNKNOWN, Examples, film_examples, joined, still_examples, still_labels
from models.metrics.world_probe.judge import WorldProbe, attribute_of, save_probe
from models.metrics.world_probe.network import CLASSES, Patch, ProbeNetwork, cut
from models.metrics.world_probe.training import Course, disturb, head_loss, misplace, probe_loss, train_probe
from models.stills import Still, Stills
from models.weights import MissingWeights
from tests.small_project import ROOT

FILM = ROOT / "samples" / "harbour"
BOY = Still(
    name="000000.jpg", caption="a boy", kind="beach", empty=False, pose="running", expression="happy", shot="close",
    view="front", hair="red", style="cap", top="white", stripe="blue", girl=False, who="luca", place=None,
)  # fmt: skip
ROOM = Still(name="000001.jpg", caption="a room", kind="room", empty=True)


def named(labels):
    known = {name: int(value) for name, value in zip(CLASSES, labels, strict=True) if value != UNKNOWN}
    return {name: CLASSES[name][value] for name, value in known.items()}


def test_a_still_is_labelled_with_what_it_shows():
    boy, room = still_labels([BOY, ROOM])
    assert named(boy) == {
        "somebody": "yes", "kind": "beach", "portorosso": "no", "who": "luca", "pose": "running", "expression": "happy",
        "shot": "close", "view": "front", "style": "cap", "striped": "yes",
    }  # fmt: skip
    assert named(room) == {"somebody": "no", "kind": "room", "portorosso": "no"}


def test_the_film_gives_squares_of_single_characters():
    pictures, labels = film_examples(FILM / "harbour.mp4", FILM, held_for=4)
    assert pictures.shape[1:] == (3, 128, 128)
    assert len(pictures) == len(labels) > 250
    seen = [named(row) for row in labels]
    assert {row.get("who") for row in seen} == {None, "luca", "gia"}
    assert all(row["portorosso"] == ("yes" if row["kind"] == "town" else "no") for row in seen)


def test_an_unknown_attribute_teaches_nothing():
    torch.manual_seed(0)
    network = ProbeNetwork().eval()
    logits, _ = network(torch.randn(2, 3, 128, 128))
    both, first = still_labels([BOY, ROOM]), still_labels([BOY])
    loss = probe_loss(logits, both)
    loss.backward()
    assert network.answers["pose"].weight.grad.abs().sum() > 0
    assert probe_loss({name: values[:1] for name, values in logits.items()}, first) > 0
    nothing = torch.full_like(both, UNKNOWN)
    nothing[:, 0] = 0
    network.zero_grad()
    probe_loss(network(torch.randn(2, 3, 128, 128))[0], nothing).backward()
    assert network.answers["pose"].weight.grad is None


def test_disturbed_pictures_stay_close_to_what_they_show():
    pictures, nobody = torch.full((8, 3, 128, 128), 200, dtype=torch.uint8), torch.full((8, 3), torch.nan)
    seen, _, heads = disturb(Examples(pictures, still_labels([ROOM] * 8), nobody), torch.Generator().manual_seed(0))
    assert seen.shape == (8, 3, 128, 128)
    assert float((seen - (200 / 127.5 - 1)).abs().mean()) < 0.2
    assert heads.isnan().all()


def test_a_head_moves_with_its_picture():
    pictures = torch.zeros(64, 3, 128, 128, dtype=torch.uint8)
    pictures[:, :, 26:38, 76:88] = 255
    places = torch.tensor([[82 / 64 - 1, 32 / 64 - 1, 6 / 64]]).repeat(64, 1)
    examples = Examples(pictures, still_labels([BOY] * 64), places)
    seen, labels, heads = disturb(examples, torch.Generator().manual_seed(0))
    light = (seen.mean(dim=1) > 0).float()
    pixels = torch.arange(128) + 0.5
    shares = light / light.sum(dim=(1, 2), keepdim=True)
    x, y = (shares.sum(dim=1) * pixels).sum(dim=1), (shares.sum(dim=2) * pixels).sum(dim=1)
    assert torch.allclose(heads[:, 0], x / 64 - 1, atol=0.04)
    assert torch.allclose(heads[:, 1], y / 64 - 1, atol=0.04)
    assert torch.allclose(heads[:, 2], light.sum(dim=(1, 2)).sqrt() / 128, atol=0.03)
    shot = labels[:, list(CLASSES).index("shot")]
    assert bool((shot[heads[:, 2] > 0.12] == UNKNOWN).all())
    assert 16 < int((shot != UNKNOWN).sum()) < 48


def test_an_unknown_head_costs_nothing_and_is_looked_for_in_the_middle():
    nobody = torch.full((2, 3), torch.nan)
    assert float(head_loss(torch.randn(2, 3), nobody)) == 0
    assert not misplace(nobody, torch.Generator().manual_seed(0)).isnan().any()
    assert float(head_loss(torch.zeros(1, 3), torch.ones(1, 3))) > 0


def test_a_square_is_cut_where_the_head_is():
    pictures = torch.zeros(1, 3, 128, 128)
    pictures[:, :, :64, 64:] = 1
    inside = cut(pictures, torch.tensor([[0.5, -0.5, 0.2]]), Patch(half=1.0, below=0.0))
    assert inside.shape == (1, 3, 64, 64)
    assert float(inside.mean()) == 1
    below = cut(pictures, torch.tensor([[0.5, -0.5, 0.2]]), Patch(half=1.0, below=5.0))
    assert float(below.mean()) == 0


def test_stills_become_examples_with_their_heads(tmp_path):
    pictures = torch.zeros(2, 3, 128, 128, dtype=torch.uint8)
    heads = tmp_path / "heads.jsonl"
    heads.write_text('{"name": "000000.jpg", "head": [64, 32, 16]}\n')
    examples = still_examples(Stills(pictures, [BOY, ROOM]), heads)
    assert examples.heads[0].tolist() == [0, -0.5, 0.25]
    assert examples.heads[1].isnan().all()
    assert len(joined([examples, examples]).labels) == 4
    with pytest.raises(InputFault, match=r"where the head of 000000\.jpg is"):
        still_examples(Stills(pictures, [BOY, ROOM]), _write(tmp_path / "none.jsonl", ""))
    with pytest.raises(InputFault, match="no list of heads"):
        still_examples(Stills(pictures, [BOY, ROOM]), _write(tmp_path / "torn.jsonl", '{"name": "0'))


def _write(path, text):
    path.write_text(text)
    return path


def test_it_learns_and_comes_back_from_its_file(tmp_path):
    dark, light = torch.zeros(8, 3, 128, 128, dtype=torch.uint8), torch.full((8, 3, 128, 128), 220, dtype=torch.uint8)
    labels = torch.cat([still_labels([BOY] * 8), still_labels([ROOM] * 8)])
    heads = torch.cat([torch.tensor([[0.0, -0.3, 0.2]] * 8), torch.full((8, 3), torch.nan)])
    network = train_probe(Examples(torch.cat([dark, light]), labels, heads), Course(epochs=15, batch=8))
    save_probe(network, tmp_path / "probe.safetensors")
    probe = WorldProbe(tmp_path / "probe.safetensors")
    night, day = np.zeros((256, 256, 3), np.uint8), np.full((128, 128, 3), 220, np.uint8)
    (luca, portorosso), _ = probe.likelihoods([night, day], [("character", "luca"), ("background", "portorosso")])
    assert luca > 0.5 > portorosso
    first, second = (max(answer["kind"], key=answer["kind"].get) for answer in probe.answers([night, day]))
    assert (first, second) == ("beach", "room")


@pytest.mark.parametrize(
    ("kind", "subject", "attribute"),
    [
        ("character", "luca", ("who", "luca")),
        ("background", "portorosso", ("portorosso", "yes")),
        ("pose", "running", ("pose", "running")),
        ("expression", "happy", ("expression", "happy")),
        ("character", "bunny", None),
        ("background", "beach", None),
        ("pose", "flying", None),
    ],
)
def test_it_knows_what_it_was_taught(kind, subject, attribute):
    assert attribute_of(kind, subject) == attribute


def test_an_unknown_judge_is_named():
    with pytest.raises(ValueError, match="no judge is called 'gpt'; known are: world-probe"):
        JUDGES.load("gpt")


def test_a_subject_that_it_was_not_taught_has_no_likelihood(tmp_path):
    save_probe(ProbeNetwork(), tmp_path / "probe.safetensors")
    with pytest.raises(KeyError, match="bunny"):
        WorldProbe(tmp_path / "probe.safetensors").likelihoods([], [("pose", "running"), ("character", "bunny")])


def test_missing_weights_name_their_remedy(tmp_path):
    with pytest.raises(MissingWeights, match="world_probe train"):
        WorldProbe(tmp_path / "probe.safetensors")
