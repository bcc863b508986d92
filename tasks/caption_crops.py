"""Which crops of frames and plates show one LoRA's subject, and what the stages before know of each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import CaptionConfig
from data_contracts.records import (
    Expression,
    Facets,
    Frame,
    Identity,
    Layer,
    Place,
    Plate,
    PlatePart,
    Pose,
    Rejected,
    Role,
)
from models.caption.template import Facts
from models.framing import SHAPES, SQUARE, Box, as_floats, body_crop, face_crop, wide_crops
from models.pictures import Picture, read_rgb

PARTS: dict[int, tuple[PlatePart, ...]] = {1: ("middle",), 3: ("left", "middle", "right")}
MIN_FACE_PX = 24.0  # a smaller face gives a head crop that is mostly invented by scaling
UNSURE = "unsure_expression"


@dataclass(frozen=True)
class Cast:
    """What the stages before found out about a shot's layers, and where it plays."""

    identities: Dataset[Identity]
    poses: Dataset[Pose]
    expressions: Dataset[Expression]
    place: str


@dataclass(frozen=True)
class Known:
    """What the stages before found out about one layer."""

    layer: Layer
    frame: Frame
    name: str
    place: str
    pose: Pose
    expression: Expression


@dataclass(frozen=True)
class Crop:
    """A part of a frame or plate that shows the subject, and what is known of it."""

    source: Layer | Plate
    id: str
    box: Box
    facets: Facets
    facts: Facts
    role: Role = "subject"
    face: Box | None = None  # where it alone is to be learnt


def plate_crops(
    plates: Dataset[Layer] | Dataset[Plate], places: Dataset[Place], config: CaptionConfig
) -> Iterator[Crop | Rejected]:
    """Yield the left, middle and right of each plate of the wanted place."""
    named = {place.plate_id: place.name for place in places}
    for plate in plates:
        if not isinstance(plate, Plate):
            message = f"{plate.id} is a layer: {config.type} captions are made from plates"
            raise TypeError(message)
        place = named.get(plate.id, "")
        is_other = place != config.subject
        if is_other and not (place and config.regularisation):
            yield Rejected(id=f"{plate.id}:caption", reason="another_place")
            continue
        with Image.open(plates.path(plate.image)) as picture:
            crops = wide_crops(picture.size, SHAPES if config.buckets else SQUARE)
        for number, (box, part) in enumerate(zip(crops, PARTS[len(crops)], strict=True)):
            facets = Facets(size="wide", view=part, place=place)
            facts = Facts(place=config.described_as.get(place, "")) if is_other else Facts()
            role: Role = "regularisation" if is_other else "subject"
            yield Crop(plate, f"{plate.id}:c{number}", box, facets, facts, role)


def cast_crops(
    layers: Dataset[Layer] | Dataset[Plate], frames: Dataset[Frame], cast: Cast, config: CaptionConfig
) -> Iterator[Crop | Rejected]:
    """Yield the crops of each layer that shows the subject, or stands in it."""
    named = {identity.layer_id: identity.name for identity in cast.identities}
    posed = {pose.layer_id: pose for pose in cast.poses}
    faces = {expression.layer_id: expression for expression in cast.expressions}
    for layer in layers:
        if not isinstance(layer, Layer):
            message = f"{layer.id} is a plate: {config.type} captions are made from layers"
            raise TypeError(message)
        frame = frames.by_id[layer.frame_id]
        yield from layer_crops(
            Known(layer, frame, named[layer.id], cast.place, posed[layer.id], faces[layer.id]), config
        )


def layer_crops(known: Known, config: CaptionConfig) -> Iterator[Crop | Rejected]:
    """Yield the crops of one layer: of its body, and of its face where it is large enough."""
    layer, face = known.layer, known.expression.face_box
    size = (known.frame.width, known.frame.height)
    fault = another_subject(known, config)
    role = role_of(fault, config)
    if fault and role != "regularisation":
        value = known.expression.confidence if fault == UNSURE else None
        yield Rejected(id=f"{layer.id}:caption", reason=fault, value=value)
        return
    near = face if face is not None and is_large_enough(face) else None
    if config.type == "expression" and near is None:
        yield Rejected(id=f"{layer.id}:caption", reason="face_too_small")
    if config.type != "expression":
        shapes = SHAPES if config.buckets else SQUARE
        yield crop_of(known, "body", body_crop(as_floats(layer.box), size, shapes, config.body_margin), role, config)
    if config.type != "pose" and near is not None:
        yield crop_of(known, "face", face_crop(near, size, config.face_share), role, config)


def role_of(fault: str, config: CaptionConfig) -> Role:
    """Return what a layer is to the LoRA, where it is anything; `fault` is why it does not show the subject."""
    if config.type == "background":
        return "inhabited"
    return "regularisation" if config.regularisation and fault.startswith("another") else "subject"


def is_large_enough(face: Box) -> bool:
    """Whether a face gives a crop of its own."""
    return min(face[2] - face[0], face[3] - face[1]) >= MIN_FACE_PX


def another_subject(known: Known, config: CaptionConfig) -> str:
    """Return why a layer does not show the LoRA's subject; empty where it does."""
    if config.type == "character" and known.name != config.subject:
        return "another_character" if known.name else "unknown_character"
    if config.type == "background" and known.place != config.subject:
        return "another_place" if known.place else "unknown_place"
    if config.type == "pose" and known.pose.action != config.subject:
        return "unknown_action" if known.pose.action == "unknown" else "another_action"
    if config.type == "expression" and known.expression.label != config.subject:
        return "unknown_expression" if known.expression.label == "unknown" else "another_expression"
    if config.type == "expression" and known.expression.confidence < config.min_confidence:
        return UNSURE
    return ""


def crop_of(known: Known, part: str, box: Box, role: Role, config: CaptionConfig) -> Crop:
    """Return a layer's crop with what is known of it, in the project's words; no action is seen in a close-up."""
    size = "close-up" if part == "face" else known.pose.size
    facets = Facets(
        size=size,
        view=known.pose.view,
        who=known.name,
        action="" if size == "close-up" else known.pose.action,
        expression=known.expression.label,
        place=known.place,
    )
    facts = Facts(
        who=config.described_as.get(known.name, ""),
        action=facets.action,
        expression=facets.expression,
        place=config.described_as.get(known.place, ""),
        size=size,
        view=facets.view,
    )
    face = known.expression.face_box if config.type == "expression" else None
    return Crop(known.layer, f"{known.layer.id}:{part}", box, facets, facts, role, face)


def picture_of(crop: Crop, sources: Dataset[Layer] | Dataset[Plate], frames: Dataset[Frame]) -> Picture:
    """Return the pixels of a crop, `(H, W, 3)` RGB uint8: of its plate, or of its layer's frame."""
    source = crop.source
    if isinstance(source, Plate):
        picture = read_rgb(sources.path(source.image))
    else:
        picture = read_rgb(frames.path(frames.by_id[source.frame_id].image))
    x0, y0, x1, y1 = (round(edge) for edge in crop.box)
    return picture[y0:y1, x0:x1]


def place_of_shot(places: Dataset[Place]) -> str:
    """Return the place that most of a shot's plates show; empty where none is known."""
    names = Counter(place.name for place in places if place.name)
    return names.most_common(1)[0][0] if names else ""
