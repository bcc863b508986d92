"""The configuration of every stage: the keys of a project file, with their units, ranges and consequences."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from data_contracts.config import Config, StageConfig
from data_contracts.generation import Seeds
from data_contracts.records import LoraType
from data_contracts.training import TrainSettings


class FilmSource(Config):
    """A film, or the part of it to use."""

    path: Path = Field(description="a video file, or a folder of them")
    from_frame: int = Field(default=0, ge=0, description="first film frame used")
    to_frame: int | None = Field(default=None, ge=1, description="film frame after the last one used; null: to the end")


class ExtractFramesConfig(StageConfig):
    """Which frames of a film are looked at."""

    cut_threshold: float = Field(default=27.0, gt=0, description="content change that is a cut; 15-20 fast, 35-40 slow")
    every_s: float = Field(default=1 / 3, gt=0, description="seconds between sampled frames of a shot")
    min_per_shot: int = Field(default=3, ge=1, description="a short shot still gives this many frames")
    max_per_shot: int = Field(default=90, ge=1, description="a long shot is sampled more sparsely beyond this many")
    max_height: int = Field(default=720, ge=64, description="pixels; taller films are scaled down")
    min_sharpness: float = Field(default=10.0, ge=0, description="variance of the Laplacian at 512 pixels of width")
    min_brightness: float = Field(default=16.0, ge=0, le=255, description="mean luma; darker frames are refused")
    max_brightness: float = Field(default=245.0, ge=0, le=255, description="mean luma; brighter frames are refused")
    max_duplicate_distance: int = Field(
        default=0, ge=-1, le=64, description="pHash bits within which a frame of the shot is a duplicate; -1 keeps all"
    )
    drop_text: bool = Field(default=True, description="refuse title cards and credits")


class SegmentLayersConfig(StageConfig):
    """How characters are cut out."""

    backend: str = Field(default="selfie", description="a backend of models/segment")
    detector: str | None = Field(
        default=None,
        description="a detector of models/segment/detect, for sam2; null: automatic masks, most of them no characters",
    )
    words: tuple[str, ...] = Field(
        default=("a person", "an animal"), min_length=1, description="what the detector looks for"
    )
    min_area: float = Field(default=0.004, ge=0, le=1, description="share of the frame; smaller layers are refused")
    min_side: int = Field(default=24, ge=1, description="pixels; thinner layers are refused")
    min_track_frames: int = Field(default=2, ge=1, description="tracks seen in fewer sampled frames are refused")


class InpaintPlatesConfig(StageConfig):
    """How the background behind the characters is restored."""

    backend: str = Field(default="patchmatch", description="a backend of models/inpaint, for what no frame shows")
    per_shot: int = Field(default=4, ge=1, description="plates a shot, spread over it")
    views: int = Field(default=25, ge=0, description="frames of other shots asked for what this one hides; 0: none")
    max_invented_share: float = Field(
        default=0.1, ge=0, le=1, description="a plate is refused when the network made up more of the picture than this"
    )
    max_residue_share: float = Field(
        default=0.025,
        ge=0,
        le=1,
        description="a plate is refused when this share of its hole's area still looks like a character; 1 keeps all",
    )


class ClusterPlacesConfig(StageConfig):
    """How plates are grouped into places, and what these are called."""

    embedder: str = Field(default="efficientnet-lite0+colour", description="a backend of models/embed")
    min_cluster_size: int = Field(default=4, ge=2, description="plates; HDBSCAN")
    min_samples: int = Field(default=2, ge=1, description="HDBSCAN; larger calls more plates noise")
    merge_similarity: float = Field(default=0.75, ge=-1, le=1, description="mean cosine at which two groups are one")
    min_similarity: float = Field(default=0.75, ge=-1, le=1, description="cosine to a reference that names a cluster")
    min_purity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of a cluster's shots' pictures that support it; below, it gets no name and is not learnt",
    )
    references: dict[str, tuple[Path, ...]] = Field(
        default_factory=dict, description="pictures of a place, by its name"
    )


class IdentifyCharactersConfig(StageConfig):
    """How layers are grouped into characters, and what these are called."""

    embedder: str = Field(default="efficientnet-lite0+colour", description="a backend of models/embed")
    per_track: int = Field(default=8, ge=1, description="crops embedded for each track, spread over it")
    min_cluster_size: int = Field(default=4, ge=2, description="crops; HDBSCAN")
    min_samples: int = Field(default=2, ge=1, description="HDBSCAN; larger calls more crops noise")
    merge_similarity: float = Field(default=0.75, ge=-1, le=1, description="mean cosine at which two groups are one")
    min_similarity: float = Field(default=0.75, ge=-1, le=1, description="cosine to a reference that names a cluster")
    min_purity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of a cluster's tracks' pictures that support it; below, it gets no name and is not learnt",
    )
    references: dict[str, tuple[Path, ...]] = Field(
        default_factory=dict, description="pictures of a character, by its name"
    )


class EstimatePosesConfig(StageConfig):
    """How skeletons are found."""

    backend: str = Field(default="blazepose", description="a backend of models/pose")


class ClusterPosesConfig(StageConfig):
    """How skeletons are grouped into recurring postures."""

    min_cluster_size: int = Field(default=5, ge=2, description="poses; HDBSCAN on normalised skeletons")
    min_samples: int = Field(default=2, ge=1, description="HDBSCAN; larger calls more poses noise")
    may_be_empty: bool = Field(default=True, description="whether an empty result is success")


class LabelExpressionsConfig(StageConfig):
    """How faces are read."""

    detector: str = Field(default="blazeface", description="a face detector of models/face")
    backend: str = Field(default="facemesh", description="an expression labeler of models/face")


class CaptionConfig(StageConfig):
    """What one LoRA's captions say, and of which pictures."""

    backend: str = Field(default="template", description="a backend of models/caption")
    batch: int = Field(default=8, ge=1, le=256, description="pictures captioned at once; memory grows with it")
    server: str | None = Field(
        default=None,
        description="for openai-server: its address, such as http://localhost:8000; its key comes from OPENAI_API_KEY",
        json_schema_extra={"digest": False},  # the same model at another address says the same
    )
    model: str | None = Field(default=None, description="for openai-server: the name of a model that it serves")
    type: LoraType
    subject: str = Field(min_length=1, description="a character's or place's name, an action or an expression")
    trigger: str = Field(min_length=1, description="the words that shall call the subject up; first in every caption")
    prefix: str = Field(default="", description="words after the trigger, the same in all captions")
    described_as: dict[str, str] = Field(
        default_factory=dict, description="words for a character or place in other LoRAs' captions, by its name"
    )
    regularisation: bool = Field(
        default=False, description="whether others than the subject are captioned too; dataset.regularisation sets it"
    )
    deny: tuple[str, ...] = Field(
        default=(), description="words that no caption may hold, besides those that its type is denied"
    )
    max_tokens: int = Field(
        default=77, ge=8, le=225, description="tokens with both ends, 77 or, for SDXL, 225; longer texts are cut"
    )

    @field_validator("server")
    @classmethod
    def _plain_address(cls, server: str | None) -> str | None:
        """Refuse what is no address of HTTP, and a name or key in it: configurations are kept with the results."""
        if server is not None and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", server):
            message = "give http:// or https:// and a host, without name, key or query; a key goes into OPENAI_API_KEY"
            raise ValueError(message)
        return server


class AssembleDatasetConfig(StageConfig):
    """Which pictures one LoRA learns from."""

    type: LoraType
    target: int = Field(default=300, ge=1, description="pictures; the sharpest that differ most are taken")
    regularisation: int = Field(
        default=0, ge=0, description="pictures of others than the subject, without trigger, that keep them as they are"
    )
    resolution: int = Field(default=512, ge=64, multiple_of=8, description="pixels of the square crops")
    held_out_share: float = Field(default=0.15, ge=0, lt=1, description="share of the shots kept back for evaluation")
    min_sharpness: float = Field(default=0.0, ge=0, description="variance of the Laplacian inside the layer")
    max_upscale: float = Field(default=4.0, ge=1, description="crops that would be enlarged more are refused")
    max_duplicate_distance: int = Field(
        default=2,
        ge=-1,
        le=64,
        description="pHash bits within which crops are the same picture, in a shot or across shots; -1 keeps all",
    )
    embedder: str | None = Field(
        default=None, description="a backend of models/embed, for choosing what looks different; null: facets alone"
    )
    around: Literal["kept", "grey", "white"] = Field(
        default="kept", description="what surrounds the subject; kept suits masked loss, plain teaches a plain ground"
    )
    repeats: int = Field(default=10, ge=1, description="times that a picture is seen in an epoch")


class TrainLoraConfig(StageConfig):
    """How one LoRA is trained."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    type: LoraType
    subject: str
    trigger: str
    trainer: Literal["native", "kohya"] = Field(
        default="native", description="a trainer of models/trainers; kohya after `reel2lora doctor --setup kohya`"
    )
    settings: TrainSettings
    by_size: bool = Field(
        default=False, description="steps and rates follow from the number of pictures, not from the settings"
    )
    max_seconds: float = Field(default=86400, gt=0, description="the trainer is stopped, its state saved, after this")


class EvaluateLoraConfig(StageConfig):
    """The pictures that show what one LoRA does."""

    prompts: tuple[str, ...] = Field(min_length=1, description="`{trigger}` stands for the LoRA's trigger")
    seeds: Seeds = Field(default=(1, 2, 3), description="one picture each; a number n stands for 1 to n")
    weight: float = Field(default=1.0, ge=0, le=2)
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")


class ComposeLorasConfig(StageConfig):
    """The composition test: all LoRAs stacked, each alone, all but one, none."""

    weights: dict[LoraType, float] = Field(
        default={"character": 1.0, "background": 0.8, "pose": 0.7, "expression": 0.6},
        description="stacking weight by type",
    )
    prefix: str = Field(default="", description="words in front of the triggers")
    suffix: str = Field(default="", description="words behind the triggers, such as framing and view")
    negative_prompt: str = ""
    seeds: Seeds = Field(default=(1, 2, 3, 4), description="one picture each; a number n stands for 1 to n")
    steps: int = Field(default=25, ge=1)
    guidance: float = Field(default=7.0, ge=0)
    size: int = Field(default=512, ge=64, multiple_of=8, description="pixels")
    batch: int = Field(default=4, ge=1, le=256, description="pictures at once; memory grows with it")
    judge: str | None = Field(default=None, description="a judge of models/metrics/judges; null: nothing is judged")

    @field_validator("weights")
    @classmethod
    def _in_range(cls, weights: dict[LoraType, float]) -> dict[LoraType, float]:
        for kind, weight in weights.items():
            if not 0 <= weight <= 2:  # noqa: PLR2004
                message = f"the weight of {kind} is {weight}; stacking weights lie in 0..2"
                raise ValueError(message)
        return weights
