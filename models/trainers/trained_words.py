"""Vectors for the words of a trigger, being learnt."""

from collections.abc import Mapping, Sequence

import torch

from data_contracts.faults import InputFault
from data_contracts.training import TrainSettings
from models.diffusion.clip_text import whole_tokens
from models.diffusion.families import DiffusionModel
from models.diffusion.key_formats import no_embedding
from models.diffusion.textual_inversion import add_words, initial_vectors, speak, word_table


class TrainedWords:
    """What the text encoders of `model` read for a trigger.

    Each vector keeps the length that its initial word's has. Left to themselves learnt vectors grow several times as
    long as words, and drown the prompt; OneTrainer and diffusers' advanced example hold theirs at a word's length, too.
    """

    def __init__(self, model: DiffusionModel, trigger: str, settings: TrainSettings) -> None:
        """Put vectors into the text encoders, float32, at first those of `embedding_init`, or of the trigger's words.

        Raises:
            InputFault: the family's text encoders can be taught no words.
        """
        if fault := no_embedding(model.keys):
            raise InputFault(fault)
        self.model, self.trigger = model, trigger
        words = settings.embedding_init or trigger
        self.vectors = {
            key: torch.nn.Parameter(
                initial_vectors(tokenizer, model.text_encoders[key], words, settings.embedding_vectors)
            )
            for key, tokenizer in model.word_tokenizers.items()
        }
        self.lengths = {key: vectors.detach().norm(dim=1, keepdim=True) for key, vectors in self.vectors.items()}
        add_words(model, trigger, trigger, self.vectors)
        speak([trigger], *model.text_encoders.values())

    def require_called(self, captions: Sequence[str]) -> None:
        """Check that there is a caption by which the vectors can be learnt.

        Raises:
            InputFault: none has the trigger in it, or one is too long with the vectors in it.
        """
        key, tokenizer = next(iter(self.model.word_tokenizers.items()))
        tokens = whole_tokens(tokenizer, captions, word_table(self.model.text_encoders[key]))
        if not any(min(each) < 0 for each in tokens):
            message = (
                f"embedding_vectors is {len(self.vectors[key])}, but the trigger {self.trigger!r} is in no caption, so "
                "nothing would be learnt: put it into the captions, or set embedding_vectors to 0"
            )
            raise InputFault(message)

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """Return the vectors by network and name."""
        return {f"{key}/embedding": vectors.data for key, vectors in self.vectors.items()}

    def keep_lengths(self) -> None:
        """Give each vector its initial length again, after a step."""
        with torch.no_grad():
            for key, vectors in self.vectors.items():
                vectors.mul_(self.lengths[key] / vectors.norm(dim=1, keepdim=True))
