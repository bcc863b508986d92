"""What is loaded is what was saved, by every class of networks that backends load, and never made up."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GroundingDinoForObjectDetection, Owlv2ForObjectDetection, Sam2VideoModel

from models.segment.detect.grounding_dino import GroundingDino
from models.segment.detect.owlv2 import Owlv2
from models.segment.sam2_network import POSITIONS, Sam2Network
from models.transformers_network import load_network
from models.weights import MissingWeights
from tests.models.tiny_networks import save_grounding_dino, save_owlv2, save_sam2

FILE = "model.safetensors"
SAVED = [
    (save_sam2, Sam2VideoModel),
    (save_grounding_dino, GroundingDinoForObjectDetection),
    (save_owlv2, Owlv2ForObjectDetection),
]


def without(folder, gone):
    """Drop the tensors of these names from the file in `folder`."""
    tensors = load_file(folder / FILE)
    kept = {name: tensor for name, tensor in tensors.items() if name not in gone}
    assert len(kept) < len(tensors)
    save_file(kept, folder / FILE, {"format": "pt"})
    return folder


@pytest.mark.parametrize(("save", "kind"), SAVED)
def test_what_was_saved_is_loaded_to_be_asked(save, kind, tmp_path):
    folder = save(tmp_path / "net")
    network = load_network(kind, folder, device="cpu")
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert load_network(kind, folder, dtype=torch.bfloat16, device="cpu").dtype == torch.bfloat16
    again = load_network(kind, folder, device="cpu").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("save", "backend", "lost"),
    [
        (save_sam2, Sam2Network, "memory_temporal_positional_encoding"),
        (
            save_grounding_dino,
            lambda folder: GroundingDino(folder, ["a boy"]),
            "model.level_embed",
        ),
        (save_owlv2, lambda folder: Owlv2(folder, ["a boy"]), "box_head.dense0.weight"),
    ],
)
def test_a_torn_file_is_refused_and_nothing_is_made_up(save, backend, lost, tmp_path):
    folder = without(save(tmp_path / "torn"), {lost})
    with pytest.raises(MissingWeights, match=rf"in torn lacks 1 tensors of \w+, such as {lost}: .* fetch it again"):
        backend(folder)


@pytest.mark.parametrize("lost", POSITIONS)
def test_sam2s_positions_are_enough_under_one_of_their_names(lost, tmp_path):
    folder = save_sam2(tmp_path / "net")
    one, other = (load_file(folder / FILE)[name] for name in POSITIONS)
    kept = one if lost == POSITIONS[1] else other
    network = Sam2Network(without(folder, {lost}), "cpu").model
    tensors = network.state_dict()
    for name in POSITIONS:
        assert torch.equal(tensors[name], kept)


def test_sam2s_positions_are_not_made_up_where_both_are_gone(tmp_path):
    folder = without(save_sam2(tmp_path / "torn"), set(POSITIONS))
    with pytest.raises(MissingWeights, match=r"lacks 2 tensors of Sam2VideoModel, such as prompt_encoder\.shared"):
        Sam2Network(folder, "cpu")


def test_tied_boxes_of_grounding_dino_are_one_in_the_file_and_equal_in_the_network(tmp_path):
    folder = save_grounding_dino(tmp_path / "net")
    heads = {name.split(".layers")[0] for name in load_file(folder / FILE) if "bbox_embed" in name}
    network = load_network(GroundingDinoForObjectDetection, folder, device="cpu")
    alike = [
        head.layers[0].weight.detach().numpy() for head in (*network.bbox_embed, *network.model.decoder.bbox_embed)
    ]
    assert len(heads) < len(alike)
    assert all(np.array_equal(one, other) for one, other in pairwise(alike))
