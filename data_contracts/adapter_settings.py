"""What a training learns: a LoRA, vectors that are read in the place of its trigger's words, or both."""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from data_contracts.config import Config

EMBEDDING_SUFFIX = "_emb"
"""What an embedding is called, behind the name of the LoRA that it was learnt with."""


class AdapterSettings(Config):
    """The size and kind of what is learnt. The defaults suit a character LoRA on Stable Diffusion 1.5."""

    rank: int = Field(
        default=64,
        ge=0,
        le=1024,
        description="inner dimension of the adapter; the file grows with it; 0: no LoRA, an embedding alone",
    )
    alpha: float = Field(
        default=32.0,
        gt=0,
        le=1024,
        description="the adapter's output is scaled by alpha / rank: 0.125 mild, 1.0 strong",
    )
    conv_rank: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="inner dimension at 3x3 convolutions; above 0 the residual blocks learn as well, 0 attention alone",
    )
    conv_alpha: float = Field(default=1.0, gt=0, le=1024, description="as alpha, with conv_rank")
    dora: bool = Field(
        default=False,
        description="the lengths of the weights' rows are learnt apart from their directions (DoRA), for more time and "
        "memory; not for FLUX, nor by sd-scripts; ComfyUI reads it, AUTOMATIC1111 and diffusers do not",
    )
    embedding_vectors: int = Field(
        default=0,
        ge=0,
        le=32,
        description="vectors that are learnt for the words of the trigger and read in their place (textual inversion), "
        "each a token of the prompt; SD 1.x and SDXL only, not by sd-scripts; 0: the words stay the base model's",
    )
    embedding_init: str = Field(
        default="", description="words whose vectors they begin as, such as `a boy`; empty: the trigger's own"
    )
    embedding_learning_rate: float = Field(
        default=5e-4, gt=0, le=1, description="peak rate of these vectors, which keep their lengths"
    )

    @field_validator("embedding_init")
    @classmethod
    def _is_empty_or_words(cls, words: str) -> str:
        if words and not words.strip():
            message = "it is blank: name words such as `a boy`, or leave it empty for the trigger's own"
            raise ValueError(message)
        return words

    @model_validator(mode="after")
    def _something_is_learnt(self) -> "AdapterSettings":
        if self.rank == 0 and not self.embedding_vectors:
            message = "rank is 0 and embedding_vectors too, so nothing is learnt: raise one of them"
            raise ValueError(message)
        if self.rank == 0 and (self.conv_rank or self.dora):
            message = (
                f"rank is 0, so there is no LoRA, but conv_rank is {self.conv_rank} and dora {self.dora}: set 0 and "
                "false, or raise rank"
            )
            raise ValueError(message)
        return self


def embedding_beside(lora: Path) -> Path:
    """Return the file of the embedding that was learnt with a LoRA, by the LoRA's file."""
    return lora.with_name(f"{lora.stem}{EMBEDDING_SUFFIX}{lora.suffix}")
