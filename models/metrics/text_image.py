"""Networks with an embedding for pictures and one for texts, in one space.

Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", arXiv 2104.08718, without its
factor of 2.5. CLIP: Radford et al., arXiv 2103.00020. SigLIP 2: Tschannen et al., arXiv 2502.14786.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import CLIPModel, SiglipModel

from models.diffusion.vocabulary import clip_tokenizer
from models.embed import Embeddings, unit_rows
from models.embed.transformer import Input, batches, load_embedder
from models.normalise import CLIP, HALVES, ColourScale
from models.pictures import Picture

Tokens = dict[str, torch.Tensor]


class TextImage:
    """A `TextScorer`: the cosine of a picture's embedding and its text's."""

    def __init__(self, network: Any, scale: ColourScale, tokens: Callable[[Sequence[str]], Tokens]) -> None:  # noqa: ANN401
        """Compare by `network`, a `CLIPModel` or `SiglipModel`, which reads what `tokens` makes of texts."""
        self._network, self._tokens = network, tokens
        self._input = Input(network.config.vision_config.image_size, scale)

    def scores(self, pictures: Sequence[Picture], texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the cosine of each of n pictures, `(H, W, 3) RGB` uint8, to its own text, `(n,)`."""
        if not pictures:
            return np.zeros(0, np.float32)
        return np.asarray((self.embed_pictures(pictures) * self.embed_texts(texts)).sum(axis=1), np.float32)

    def embed_pictures(self, pictures: Sequence[Picture]) -> Embeddings:
        """Return `(n, d)` float32 unit rows of n pictures, n at least 1."""
        return unit_rows(np.concatenate([self._features(batch) for batch in batches(pictures, self._input)]))

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        """Return `(n, d)` float32 unit rows of n texts; each different text is read once."""
        different = list(dict.fromkeys(texts))
        with torch.inference_mode():
            tokens = {name: each.to(self._network.device) for name, each in self._tokens(different).items()}
            rows = self._network.get_text_features(**tokens).pooler_output.float().cpu().numpy()
        return unit_rows(rows)[[different.index(text) for text in texts]]

    def _features(self, batch: Embeddings) -> Embeddings:
        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self._network.device, self._network.dtype)  # (n, 3, side, side)
            features: Embeddings = (
                self._network.get_image_features(pixel_values=pixels).pooler_output.float().cpu().numpy()
            )
        return features


def clip_scorer(folder: Path) -> TextImage:
    """Return CLIP from a folder of `config.json` and `model.safetensors`; its words come with a package."""
    network = load_embedder(CLIPModel, folder)
    tokenizer, most = clip_tokenizer(), network.config.text_config.max_position_embeddings

    def tokens(texts: Sequence[str]) -> Tokens:
        found = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt")
        return {"input_ids": found.input_ids, "attention_mask": found.attention_mask}

    return TextImage(network, CLIP, tokens)


def siglip2_scorer(folder: Path) -> TextImage:
    """Return SigLIP 2 from a folder of `config.json`, `model.safetensors` and `tokenizer.json`.

    It was taught texts in lower case with one end and no beginning, filled up to their full length and not masked.
    """
    network = load_embedder(SiglipModel, folder)
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    length = network.config.text_config.max_position_embeddings
    end, fill = words.token_to_id("<eos>"), words.token_to_id("<pad>")

    def tokens(texts: Sequence[str]) -> Tokens:
        read = [words.encode(text.lower(), add_special_tokens=False).ids[: length - 1] for text in texts]
        return {"input_ids": torch.tensor([[*ids, end, *[fill] * (length - 1 - len(ids))] for ids in read])}

    return TextImage(network, HALVES, tokens)
