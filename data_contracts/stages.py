"""The settings of the stages that look at films: keys of a project file, with their units, ranges and consequences."""

from pathlib import Path

from pydantic import Field

from data_contracts.config import Config, StageConfig


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
    max_unsure_share: float = Field(
        default=0.3, ge=0, le=1, description="a plate is refused when frames disagree on more of the picture than this"
    )
    max_residue_share: float = Field(
        default=0.025,
        ge=0,
        le=1,
        description="a plate is refused when this share of its hole's area still looks like a character; 1 keeps all",
    )


class NamedClustersConfig(StageConfig):
    """How pictures are grouped, and what the groups are called."""

    embedder: str = Field(default="efficientnet-lite0+colour", description="a backend of models/embed")
    min_cluster_size: int = Field(default=4, ge=2, description="pictures; HDBSCAN")
    min_samples: int = Field(default=2, ge=1, description="HDBSCAN; larger calls more pictures noise")
    merge_similarity: float = Field(default=0.75, ge=-1, le=1, description="mean cosine at which two groups are one")
    min_similarity: float = Field(default=0.75, ge=-1, le=1, description="cosine to a reference that names a cluster")
    min_purity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the pictures of a cluster's tracks, or shots, that support it; "
        "below, it gets no name and is not learnt",
    )
    references: dict[str, tuple[Path, ...]] = Field(default_factory=dict, description="pictures, by the name they give")


class ClusterPlacesConfig(NamedClustersConfig):
    """How plates are grouped into places, and what these are called."""


class IdentifyCharactersConfig(NamedClustersConfig):
    """How crops of layers are grouped into characters, and what these are called."""

    per_track: int = Field(default=8, ge=1, description="crops embedded for each track, spread over it")


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
