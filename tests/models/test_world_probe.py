"""The world probe learns, keeps its weights, and says what it knows."""

import numpy as np
import pytest
import torch

from models.metrics.judges import load_judge
from models.metrics.world_probe.examples import UNKNOWN, film_examples, still_labels
from models.metrics.world_probe.judge import WorldProbe, attribute_of, save_probe
from models.metrics.world_probe.network import CLASSES, ProbeNetwork
from models.metrics.world_probe.training import Course, disturb, probe_loss, train_probe
from models.stills import Still
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
        "shot": "close", "view": "front", "style": "cap", "top": "white", "striped": "yes",
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
    logits = network(torch.randn(2, 3, 128, 128))
    both, first = still_labels([BOY, ROOM]), still_labels([BOY])
    loss = probe_loss(logits, both)
    loss.backward()
    assert network.heads["pose"].weight.grad.abs().sum() > 0
    assert probe_loss({name: values[:1] for name, values in logits.items()}, first) > 0
    nothing = torch.full_like(both, UNKNOWN)
    nothing[:, 0] = 0
    network.zero_grad()
    probe_loss(network(torch.randn(2, 3, 128, 128)), nothing).backward()
    assert network.heads["pose"].weight.grad is None


def test_disturbed_pictures_stay_close_to_what_they_show():
    pictures = torch.full((8, 3, 128, 128), 200, dtype=torch.uint8)
    seen = disturb(pictures, torch.Generator().manual_seed(0))
    assert seen.shape == (8, 3, 128, 128)
    assert float((seen - (200 / 127.5 - 1)).abs().mean()) < 0.2


def test_it_learns_and_comes_back_from_its_file(tmp_path):
    dark, light = torch.zeros(8, 3, 128, 128, dtype=torch.uint8), torch.full((8, 3, 128, 128), 220, dtype=torch.uint8)
    labels = torch.cat([still_labels([BOY] * 8), still_labels([ROOM] * 8)])
    network = train_probe(torch.cat([dark, light]), labels, Course(epochs=30, batch=8))
    save_probe(network, tmp_path / "probe.safetensors")
    probe = WorldProbe(tmp_path / "probe.safetensors")
    night, day = np.zeros((256, 256, 3), np.uint8), np.full((128, 128, 3), 220, np.uint8)
    assert probe.likelihood([night, day], "character", "luca")[0] > 0.5
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
        load_judge("gpt")


def test_missing_weights_name_their_remedy(tmp_path):
    with pytest.raises(MissingWeights, match="world_probe train"):
        WorldProbe(tmp_path / "probe.safetensors")
