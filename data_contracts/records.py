"""The typed rows that stages hand to one another: one closed type a boundary.

Every `id` is derived from its parent's (`film:frame:track`), so that whatever is learnt can be traced to seconds of
film and back. File fields name a file of the dataset that holds the row: `Dataset.path(row.image)` finds it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FileName = Annotated[str, Field(description="a file of this dataset, named by its content", pattern=r"^[\w.-]+$")]
Share = Annotated[float, Field(ge=0, le=1)]
Keypoint = tuple[float, float, float]
LoraType = Literal["character", "background", "pose", "expression"]
BaseFamily = Literal["sd15", "sdxl", "flux", "qwen_image", "qwen_image_edit"]
"""A family of base models: networks of the same layers, for which the same LoRAs fit."""
View = Literal["front", "three-quarter", "profile", "back", "unknown"]
PlatePart = Literal["left", "middle", "right"]
ShotSize = Literal["close-up", "medium", "full"]
Role = Annotated[
    Literal["subject", "regularisation", "inhabited"],
    Field(
        description="`regularisation`: others of the subject's kind, without trigger, that shall stay as they are; "
        "`inhabited`: the subject, a place, with people in it, who are no part of what is learnt"
    ),
]


class Record(BaseModel):
    """A row of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, description="unique within the dataset, derived from the parent's id")


class Rejected(Record):
    """An item that a stage refused, and why."""

    reason: str = Field(description="one snake_case word a rule, the same for all items that it refuses")
    value: float | None = Field(default=None, description="the number that decided, in the unit of the rule")
    shard: str = Field(default="", description="the shard that the item was in; filled in by the stage engine")


class OfFrame(Record):
    """What every row that comes from one film frame carries."""

    film: str = Field(description="id of the film")
    shot: str = Field(description="`film:sNNNN`, shots counted from 0")
    frame: int = Field(ge=0, description="number of the film frame in presentation order, counted from 0")
    time_s: float = Field(ge=0, description="presentation time in seconds from the film's start")

    def moment(self) -> dict[str, Any]:
        """Return the fields that a row made from this one shares with it."""
        return {"film": self.film, "shot": self.shot, "frame": self.frame, "time_s": self.time_s}


class Frame(OfFrame):
    """A sampled film frame, letterbox removed."""

    image: FileName
    width: int = Field(gt=0, description="pixels")
    height: int = Field(gt=0, description="pixels")
    shot_start: int = Field(ge=0, description="first film frame of the shot")
    shot_end: int = Field(gt=0, description="film frame after the shot's last")
    film_frames: int = Field(gt=0, description="frames of the film that could be decoded")
    sharpness: float = Field(ge=0, description="variance of the Laplacian at 512 pixels of width")
    brightness: float = Field(ge=0, le=255, description="mean luma")
    perceptual_hash: str = Field(pattern=r"^[0-9a-f]{16}$", description="64-bit pHash")


class Layer(OfFrame):
    """One character in one frame: its mask, and its cut-out with soft edges."""

    frame_id: str
    track: str = Field(description="`film:sNNNN:tNN`: the same character through a shot")
    mask: FileName = Field(description="8-bit alpha, the size of the frame; 128 and above is the character")
    cutout: FileName = Field(description="RGBA crop of `box`")
    box: tuple[int, int, int, int] = Field(description="x0, y0, x1, y1 in pixels, right and bottom excluded")
    area: Share = Field(description="share of the frame")
    sharpness: float = Field(ge=0, description="variance of the Laplacian inside the mask")
    score: Share = Field(description="confidence of the segmenter")
    depth: int = Field(
        default=0,
        ge=0,
        description="how many of the frame's other characters cover this one; 0 is in front, or not known",
    )


class Plate(OfFrame):
    """A frame without its characters, and where each of its pixels came from."""

    frame_id: str
    image: FileName
    provenance: FileName = Field(
        description="8-bit classes: 0 own pixel, 1 another frame's of the shot, 2 the network's, 3 another shot's, "
        "4 shown by frames that are too few or disagree"
    )
    hole: FileName = Field(description="8-bit, 255 where characters, dilated, were taken out")
    hole_share: Share = Field(description="share of the picture that was taken out")
    neighbour_share: Share = Field(description="share of the hole filled with true pixels of the shot's other frames")
    other_shot_share: Share = Field(default=0.0, description="share of the hole filled with true pixels of other shots")
    invented_share: Share = Field(description="share of the picture that a network made up")
    unsure_share: Share = Field(
        default=0.0, description="share of the picture that frames show which are too few, or disagree"
    )
    residue_share: Share = Field(
        default=0.0, description="area, as a share of the hole's, that still looks like a character"
    )
    sharpness: float = Field(ge=0, description="variance of the Laplacian outside the hole")


class Place(OfFrame):
    """Which place a plate shows."""

    plate_id: str
    cluster: int = Field(ge=-1, description="-1 is noise")
    name: str = Field(description="the name its references gave it, else `place-N`, else empty for noise")
    similarity: float = Field(description="cosine to the nearest reference of that name, 0 without one")
    probability: Share = Field(description="HDBSCAN's membership strength")


class Identity(OfFrame):
    """Who a layer shows: one vote a track."""

    layer_id: str
    track: str
    cluster: int = Field(ge=-1, description="-1 is noise")
    name: str = Field(description="the name its references gave it, else `character-N`, else empty for noise")
    similarity: float = Field(description="cosine to the nearest reference of that name, 0 without one")
    probability: Share = Field(description="share of the track's layers that voted for this cluster")


class Pose(OfFrame):
    """How a character stands in one frame."""

    layer_id: str
    track: str
    keypoints: tuple[Keypoint, ...] = Field(
        min_length=17, max_length=17, description="17 COCO keypoints as x, y in frame pixels and confidence 0..1"
    )
    view: View
    size: ShotSize
    full_body: bool = Field(description="whether head and feet are both seen")
    action: str = Field(description="the action word, or `unknown`")


class PoseGroup(OfFrame):
    """Which recurring posture a pose belongs to, for those that no action word names."""

    pose_id: str
    layer_id: str
    action: str = Field(description="the action word of the pose")
    cluster: int = Field(ge=-1, description="HDBSCAN cluster of the normalised skeleton; -1 is noise")
    probability: Share = Field(description="HDBSCAN's membership strength")


class Expression(OfFrame):
    """The expression of a character's face in one frame."""

    layer_id: str
    track: str
    label: str = Field(description="neutral, happy, sad, surprised, angry, afraid, disgusted or unknown")
    confidence: Share
    face_box: tuple[float, float, float, float] | None = Field(description="x0, y0, x1, y1 in frame pixels")


UNSAID = frozenset({"", "unknown"})
"""What a facet, an action or an expression is called of which nothing is known."""


class Facets(BaseModel):
    """What a training picture shows, as selection balances it and the coverage report counts it; "" where unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: ShotSize | Literal["wide", ""] = Field(default="", description="how much of the subject; `wide` is a place")
    view: View | PlatePart | Literal[""] = Field(
        default="", description="from where a character is seen; for a place, which part of the plate"
    )
    who: str = Field(default="", description="name of the character")
    action: str = ""
    expression: str = ""
    place: str = Field(default="", description="name of the place")


class Caption(OfFrame):
    """The training text of one crop for one LoRA; the picture itself is cut by `assemble_dataset`."""

    source_id: str = Field(description="id of the layer or plate that the text describes")
    box: tuple[float, float, float, float] = Field(
        description="the crop described, a square or of a bucket's shape: x0, y0, x1, y1 in pixels"
    )
    face: tuple[float, float, float, float] | None = Field(
        default=None,
        description="expressions: the face, alone to be learnt, in the same pixels; None: the whole figure",
    )
    facets: Facets
    role: Role = "subject"
    text: str = Field(min_length=1)
    tokens: int = Field(ge=1, le=225, description="the base model's tokens, both ends included")
    lint: tuple[str, ...] = Field(description="what was mended, in words")


class Example(OfFrame):
    """One training example: a picture, its caption and, for masked loss, its mask."""

    source_id: str
    box: tuple[float, float, float, float] = Field(
        description="the crop seen, a square or of a bucket's shape: x0, y0, x1, y1 in frame pixels"
    )
    facets: Facets
    role: Role = "subject"
    image: FileName
    mask: FileName | None = Field(description="8-bit weight of the loss; None where every pixel counts")
    caption: str = Field(min_length=1)
    tokens: int = Field(ge=1, le=225, description="the base model's tokens, both ends included")
    edited: bool = Field(default=False, description="whether a person has rewritten the caption")
    repeats: int = Field(ge=1)
    split: Literal["train", "held_out"] = Field(description="split by shot: neighbouring frames never straddle it")
    sharpness: float = Field(ge=0)
