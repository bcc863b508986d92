"""CLIP and SigLIP 2 as they are loaded from the hub's folders, with tiny random networks of the same classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

from models.diffusion.vocabulary import clip_tokenizer
from models.embed import CLIP
from models.embed.transformer import Input, to_input
from models.metrics.text_scorers import SIGLIP2, TEXT_SCORERS
from models.normalise import CLIP as CLIP_COLOURS
from models.normalise import HALVES
from models.weights import MissingWeights
from tests.models.tiny_networks import hub_folder

LENGTH = 12
WORDS = ["<pad>", "<eos>", "<bos>", "<unk>", "a", "boy", "running", "cat", ","]
VISION = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 56, "patch_size": 14}  # fmt: skip
TEXT = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = ["A boy running", "a cat", "a boy running, a cat", "A boy running"]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*size, 3)).astype(np.uint8) for size in ((40, 70), (128, 128), (90, 60), (56, 56))]


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> tuple[Path, CLIPModel, SiglipModel]:
    """The hub's cache with both models in it, and the models themselves."""
    cache = tmp_path_factory.mktemp("hub")
    torch.manual_seed(4)
    text = {**TEXT, "vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
    clip = CLIPModel(CLIPConfig(vision_config=VISION, text_config=text, projection_dim=24)).eval()
    clip.save_pretrained(hub_folder(cache, CLIP))
    text = {**TEXT, "vocab_size": len(WORDS), "max_position_embeddings": LENGTH, "projection_size": 32}
    siglip = SiglipModel(SiglipConfig(vision_config=VISION, text_config=text)).eval()
    folder = hub_folder(cache, SIGLIP2)
    siglip.save_pretrained(folder)
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))  # noqa: S106
    words.pre_tokenizer = Whitespace()
    words.save(str(folder / "tokenizer.json"))
    return cache, clip, siglip


def load(name: str, cache: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return TEXT_SCORERS.load(name)


def pixels(pictures, scale) -> torch.Tensor:
    return torch.from_numpy(np.stack([to_input(picture, Input(56, scale)) for picture in pictures]))


def test_clips_scores_are_its_logits_without_their_scale(networks, pictures, monkeypatch):
    cache, clip, _ = networks
    tokens = clip_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        answer = clip(**tokens, pixel_values=pixels(pictures, CLIP_COLOURS))
        expected = (answer.logits_per_image / clip.logit_scale.exp()).diagonal().numpy()
    found = load("clip-vit-large-patch14", cache, monkeypatch).scores(pictures, TEXTS)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 1e-3


def test_siglip_reads_lower_case_with_an_end_filled_up(networks, pictures, monkeypatch):
    cache, _, siglip = networks
    ids = [[4, 5, 6, 1], [4, 7, 1], [4, 5, 6, 8, 4, 7, 1], [4, 5, 6, 1]]
    filled = torch.tensor([[*row, *[0] * (LENGTH - len(row))] for row in ids])
    with torch.inference_mode():
        answer = siglip(input_ids=filled, pixel_values=pixels(pictures, HALVES))
        expected = ((answer.logits_per_image - siglip.logit_bias) / siglip.logit_scale.exp()).diagonal().numpy()
    found = load("siglip2-base-patch16-224", cache, monkeypatch).scores(pictures, TEXTS)
    assert np.allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 1e-3


@pytest.mark.parametrize("name", TEXT_SCORERS)
def test_long_texts_are_cut_and_no_pictures_have_no_scores(name, networks, pictures, monkeypatch):
    scorer = load(name, networks[0], monkeypatch)
    long, longer = "a boy running " * 60, "a boy running " * 90
    assert scorer.scores(pictures[:1], [long]) == scorer.scores(pictures[:1], [longer])
    assert scorer.scores([], []).shape == (0,)


@pytest.mark.parametrize("name", TEXT_SCORERS)
def test_what_is_not_here_is_said_with_the_command_that_fetches_it(name, tmp_path, monkeypatch):
    with pytest.raises(MissingWeights, match=r"hf download .* --revision [0-9a-f]{40}"):
        load(name, tmp_path, monkeypatch)
