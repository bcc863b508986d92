"""What a trainer is asked for: the settings of one LoRA, its examples, and where its files go."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from data_contracts.adapter_settings import AdapterSettings
from data_contracts.config import Config
from data_contracts.generation import Precision
from data_contracts.validation_settings import ValidationSettings


class TrainSettings(AdapterSettings, ValidationSettings):
    """The knobs of one training run. The defaults suit a character LoRA on Stable Diffusion 1.5."""

    clip_skip: int = Field(
        default=1,
        ge=1,
        le=12,
        description="SD 1.x only: which of the text encoder's layers is read, counted from the last; 2, the last but "
        "one, suits bases of drawn pictures; what draws with the LoRA reads the same",
    )
    learning_rate: float = Field(default=1e-4, gt=0, le=1, description="peak rate of the U-Net's adapter")
    text_encoder_learning_rate: float = Field(
        default=5e-5,
        ge=0,
        le=1,
        description="peak rate of the text encoder's adapter; 0 leaves it untrained, and faster",
    )
    steps: int = Field(default=1500, ge=1, le=1_000_000, description="optimizer steps")
    batch: int = Field(default=1, ge=1, le=256, description="examples a forward pass; memory grows with it")
    accumulate: int = Field(default=1, ge=1, le=256, description="forward passes an optimizer step; time, not memory")
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="native only: GPUs that share an optimizer step's forward passes, of which each takes as many; the "
        "LoRA is the same but for rounding",
        json_schema_extra={"digest": False},
    )
    resolution: int = Field(
        default=512, ge=64, le=2048, multiple_of=8, description="pixels; pictures are scaled to cover it, centre kept"
    )
    buckets: bool = Field(
        default=False,
        description="pictures keep their shape as nearly as a bucket has it: 1:2 to 2:1, about the area of the "
        "resolution's square, one bucket a batch; false: all are cut to squares",
    )
    scheduler: Literal["cosine", "constant"] = Field(default="cosine", description="learning rate after the warm-up")
    cycles: int = Field(
        default=1, ge=1, le=100, description="cosine only: the rate restarts at its peak this many times"
    )
    warmup_steps: int = Field(default=100, ge=0, description="steps in which the rate rises linearly from 0")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW")
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="what a moving average of the adapter's weights keeps of itself at each step, such as 0.99; it is "
        "what is validated, drawn with and written; 0: no average",
    )
    max_gradient_norm: float = Field(default=1.0, ge=0, description="longer gradients are scaled down; 0: never")
    min_snr_gamma: float = Field(
        default=5.0,
        ge=0,
        le=100,
        description="steps with less noise than this signal-to-noise ratio count less; 0: off; not with flow matching",
    )
    noise_offset: float = Field(
        default=0.05, ge=0, le=1, description="share of noise common to a channel: darker darks; 0: off; not with flow"
    )
    timestep_sampling: Literal["logit_normal", "uniform"] = Field(
        default="logit_normal",
        description="FLUX and Qwen-Image only: which shares of noise are seen; logit_normal: the middle more often",
    )
    timestep_shift: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="FLUX and Qwen-Image only: above 1, more noise is seen; null: as much as the base model draws "
        "pictures of this size with; 1: no shift",
    )
    caption_dropout: float = Field(
        default=0.05, ge=0, le=1, description="share of examples shown without caption; keeps guidance working"
    )
    caption_tag_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of each caption's parts, between commas, that are left out; the trigger, "
        "or the first part where there is none, always stays and learns to call the subject in short prompts too",
    )
    blank_preservation: bool = Field(
        default=False,
        description="what is shown without caption stays as the base model draws it, and is not learnt: guidance then "
        "strengthens all that the LoRA adds, where otherwise it adds the most of it without being asked",
    )
    masked_loss: bool = Field(default=False, description="only what the mask shows is learnt; every example needs one")
    masked_prior: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="masked_loss only: how much it counts that all else stays as the base model draws it, for a third "
        "more time; 0: not at all, and parts of the subject appear everywhere",
    )
    optimizer: Literal["adamw", "adamw8bit"] = Field(
        default="adamw", description="adamw8bit: moments of 8 bits, 6 bytes less for each trained value; bitsandbytes"
    )
    precision: Precision = Field(
        default="float32",
        description="of the frozen networks and of the arithmetic, the adapter stays float32; nf4: weights of 4 bits, "
        "a quarter of bfloat16's memory, computed with in bfloat16; needs bitsandbytes",
    )
    gradient_checkpointing: bool = Field(default=False, description="half the memory for a third more time")
    compile: bool = Field(
        default=False,
        description="torch compiles the denoiser first, for minutes, and steps are faster: for long trainings; needs a "
        "C++ compiler, on a GPU Triton",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="decides the adapter's start, order, noise and timesteps")
    checkpoint_every: int = Field(default=250, ge=1, description="steps between resumable checkpoints; two are kept")
    sample_every: int = Field(default=0, ge=0, description="steps between sample pictures; 0: never")
    sample_prompts: tuple[str, ...] = Field(default=(), description="one picture each; `{trigger}` is filled in")
    sample_steps: int = Field(default=20, ge=1, le=1000, description="denoising steps of a sample picture")
    sample_guidance: float = Field(default=7.0, ge=0, le=50, description="classifier-free guidance of sample pictures")
    tensorboard: bool = Field(
        default=False,
        description="losses, rate and pictures as TensorBoard's event files too, in `tensorboard/` of the output",
        json_schema_extra={"digest": False},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainSettings":
        if self.warmup_steps >= self.steps:
            message = (
                f"warmup_steps is {self.warmup_steps}, but there are only {self.steps} steps: lower it below steps"
            )
            raise ValueError(message)
        if self.accumulate % self.processes:
            message = (
                f"processes is {self.processes}, but accumulate is {self.accumulate}, of which each cannot do as many: "
                f"raise accumulate to a multiple of {self.processes}, and lower batch where steps become too large"
            )
            raise ValueError(message)
        if self.blank_preservation and not self.caption_dropout:
            message = (
                "blank_preservation is on, but caption_dropout is 0, so nothing is shown without caption: raise it to "
                "0.25, or set blank_preservation to false"
            )
            raise ValueError(message)
        if self.sample_every and not self.sample_prompts:
            message = f"sample_every is {self.sample_every}, but sample_prompts is empty: give a prompt, or set it to 0"
            raise ValueError(message)
        return self


class TrainExample(Config):
    """A picture to learn from."""

    image: Path
    mask: Path | None = Field(default=None, description="8-bit grey, the size of the picture; white is learnt")
    control: Path | None = Field(
        default=None, description="Qwen-Image-Edit only: what was edited, its caption says how, into the picture"
    )
    caption: str
    repeats: int = Field(default=1, ge=1, description="how often the picture is shown in one pass over all")


class DrawnPrompt(Config):
    """A picture to be drawn at each validation."""

    caption: str
    plain: str = Field(description="what a text scorer reads: the caption with plain words in the trigger's place")
    control: Path | None = Field(default=None, description="Qwen-Image-Edit only: what is edited")


class DrawRequest(Config):
    """What is drawn at each validation, and what it is compared with."""

    prompts: tuple[DrawnPrompt, ...] = Field(min_length=1)
    references: tuple[TrainExample, ...] = Field(
        description="pictures of the subject that are never learnt from; what a mask leaves out does not count"
    )


def trigger_parts(trigger: str) -> int:
    """Return how many of a caption's parts, between commas, are the trigger's: at least 1, as one always stays."""
    return trigger.count(",") + 1


class TrainRequest(Config):
    """All that a trainer needs to know; written to a file, the one argument of its process."""

    name: str = Field(min_length=1, description="title of the LoRA")
    trigger: str = Field(default="", description="word that calls what was learnt")
    base: Path = Field(description="the base model: a diffusers folder, or a .safetensors checkpoint")
    examples: tuple[TrainExample, ...] = Field(min_length=1)
    held_out: tuple[TrainExample, ...] = Field(
        default=(), description="never learnt from; validations are made on them"
    )
    compared: tuple[TrainExample, ...] = Field(
        default=(), description="some of the examples, validated beside those held out: the difference is overfitting"
    )
    drawing: DrawRequest | None = Field(default=None, description="what validations draw besides; null: nothing")
    output: Path = Field(
        description="folder of lora.safetensors, loss.jsonl, samples/, checkpoints/ and, with validations, "
        "validation.jsonl, drawn/ and best.safetensors; embeddings are beside these, lora_emb.safetensors and so on"
    )
    settings: TrainSettings
    metadata: dict[str, str] = Field(default_factory=dict, description="kept in the file under `reel2lora.`")
    threads: int | None = Field(default=None, ge=1, description="null: OMP_NUM_THREADS, else one for each core")

    @model_validator(mode="after")
    def _has_words_to_learn(self) -> "TrainRequest":
        if self.settings.embedding_vectors and not self.trigger.strip():
            message = f"embedding_vectors is {self.settings.embedding_vectors}, but there is no trigger: name one"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _likeness_can_be_measured(self) -> "TrainRequest":
        drawn = self.drawing is not None and self.drawing.references
        if self.settings.choose == "likeness" and self.held_out and not drawn:
            message = (
                "choose is 'likeness', but no held-out picture of the subject is there to compare with: raise "
                "`dataset.held_out_share`, or choose 'best'"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _masks_are_there(self) -> "TrainRequest":
        if not self.settings.masked_loss:
            return self
        for example in (*self.examples, *self.held_out, *self.compared):
            if example.mask is None:
                message = f"masked_loss is on, but {example.image} has no mask: give one, or turn masked_loss off"
                raise ValueError(message)
        return self
