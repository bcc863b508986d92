"""DINOv2 and CLIP as they are loaded from the hub's folders, with tiny random networks of the same classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
)

from models.embed.clip import CLIPVision
from models.embed.dinov2 import INPUT, DINOv2
from models.embed.transformer import BATCH, Input, to_input
from models.normalise import ColourScale
from models.weights import MissingWeights

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
VISION = {**SMALL, "intermediate_size": 48, "projection_dim": 24}
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(3)
    networks = {
        "dinov2": Dinov2Model(Dinov2Config(**SMALL)),
        "clip": CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24)),
        "clip-vision": CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION)),
    }
    for name, network in networks.items():
        network.save_pretrained(folder / name)
    return {name: folder / name for name in networks}


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = [(40, 70), (224, 224), (300, 90), (11, 11)]
    return [random.integers(0, 255, (*size, 3)).astype(np.uint8) for size in sizes]


@pytest.mark.parametrize(("kind", "name", "width"), [(DINOv2, "dinov2", 32), (CLIPVision, "clip", 24)])
def test_rows_are_unit_vectors_and_a_batch_changes_nothing(kind, name, width, folders, pictures):
    embedder = kind(folders[name])
    many = (pictures * (BATCH // 3))[: BATCH + 5]
    vectors = embedder.embed(many)
    assert vectors.shape == (BATCH + 5, width)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert embedder.embed(many).tobytes() == vectors.tobytes()
    alone = np.concatenate([embedder.embed([picture]) for picture in pictures])
    assert np.allclose(alone, vectors[: len(pictures)], atol=1e-5)
    assert embedder.embed([]).shape == (0, width)


def test_dinov2_answers_its_class_token(folders, pictures):
    network = Dinov2Model.from_pretrained(folders["dinov2"]).eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([to_input(picture, INPUT) for picture in pictures]))
        token = network(pixel_values=pixels).last_hidden_state[:, 0].numpy()
    expected = token / np.linalg.norm(token, axis=1, keepdims=True)
    assert np.allclose(DINOv2(folders["dinov2"]).embed(pictures), expected, atol=1e-5)


def test_clip_is_the_picture_half_of_the_whole_model(folders, pictures):
    whole = CLIPModel.from_pretrained(folders["clip"]).eval()
    embedder = CLIPVision(folders["clip"])
    with torch.inference_mode():
        inputs = np.stack([to_input(picture, embedder._input) for picture in pictures])
        features = whole.get_image_features(pixel_values=torch.from_numpy(inputs)).pooler_output.numpy()
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert np.allclose(embedder.embed(pictures), expected, atol=1e-5)
    assert not any("text" in name for name, _ in embedder._network.named_parameters())
    assert CLIPVision(folders["clip-vision"]).embed(pictures).shape == (4, 24)


def test_another_networks_weights_are_refused_and_not_made_up(folders):
    with pytest.raises(MissingWeights, match=r"in clip-vision lacks \d+ tensors of Dinov2Model, such as embeddings\."):
        DINOv2(folders["clip-vision"])
    with pytest.raises(MissingWeights, match=r"in dinov2 lacks \d+ tensors of CLIPVisionModelWithProjection"):
        CLIPVision(folders["dinov2"])


def test_the_whole_character_is_seen():
    wanted = Input(56, ColourScale(mean=(0.5, 0.25, 0.75), deviation=(0.5, 0.5, 0.25)))
    standing = np.zeros((100, 50, 3), np.uint8)
    standing[:5], standing[-5:] = 255, 255  # head and feet, which a centre crop would lose
    pixels = to_input(standing, wanted)
    assert pixels.shape == (3, 56, 56)
    assert pixels.dtype == np.float32
    assert np.allclose(pixels[:, [0, -1], 20:36].mean(axis=(1, 2)), [1.0, 1.5, 1.0], atol=0.05)
    assert np.allclose(pixels[:, :, :12], 0.0, atol=0.02)
    assert np.allclose(pixels[:, 28, 28], [-1.0, -0.5, -3.0], atol=0.01)
