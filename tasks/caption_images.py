"""Choose the pictures that show one LoRA's subject, frame them, and say what they show."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.records import Caption, Expression, Frame, Identity, Layer, Place, Plate, Pose, Rejected
from data_contracts.stages import CaptionConfig
from models.caption.template import Facts, clauses
from models.caption.tokens import Tokenizer, cut_to_fit, load_tokenizer
from models.framing import Box, as_floats, body_crop, face_crop, wide_crops
from models.sheets import captions_sheet
from tasks.stage import stage

MIN_FACE_PX = 24.0  # a smaller face gives a head crop that is mostly invented by scaling


@dataclass(frozen=True)
class Known:
    """What the earlier stages found out about one layer."""

    layer: Layer
    frame: Frame
    name: str
    place: str
    pose: Pose
    expression: Expression


@stage(Caption, version=1, by="shot", sheet=captions_sheet)
def caption_images(  # noqa: PLR0913, PLR0917  one parameter for each stage whose facts a caption may name
    out: Path,  # noqa: ARG001
    sources: Dataset[Layer] | Dataset[Plate],
    frames: Dataset[Frame],
    places: Dataset[Place],
    identities: Dataset[Identity] | None,
    poses: Dataset[Pose] | None,
    expressions: Dataset[Expression] | None,
    tokenizer: Path,
    config: CaptionConfig,
) -> Iterator[Caption | Rejected]:
    """Yield a caption for each crop that shows the subject; refuse what shows something else.

    Backgrounds are captioned from plates alone; everything else from layers and all that is known of them.
    """
    words = load_tokenizer(tokenizer)
    if identities is None or poses is None or expressions is None:
        yield from caption_plates(sources, places, words, config)
        return
    place = place_of_shot(places)
    named = {identity.layer_id: identity.name for identity in identities}
    posed = {pose.layer_id: pose for pose in poses}
    faces = {expression.layer_id: expression for expression in expressions}
    for layer in sources:
        if not isinstance(layer, Layer):
            message = f"{layer.id} is a plate: {config.type} captions are made from layers"
            raise TypeError(message)
        known = Known(layer, frames.by_id[layer.frame_id], named[layer.id], place, posed[layer.id], faces[layer.id])
        yield from caption_layer(known, words, config)


def caption_plates(
    plates: Dataset[Layer] | Dataset[Plate], places: Dataset[Place], words: Tokenizer, config: CaptionConfig
) -> Iterator[Caption | Rejected]:
    """Yield captions for the left, middle and right of each plate of the wanted place."""
    named = {place.plate_id: place.name for place in places}
    size = plate_size(places, plates)
    for plate in plates:
        if named.get(plate.id) != config.subject:
            yield Rejected(id=f"{plate.id}:caption", reason="another_place")
            continue
        for number, box in enumerate(wide_crops(size[plate.id])):
            yield caption_of(plate, f"{plate.id}:c{number}", box, Facts(), words, config)


def plate_size(places: Dataset[Place], plates: Dataset[Layer] | Dataset[Plate]) -> dict[str, tuple[int, int]]:
    """Return the (width, height) of each plate in pixels."""
    from PIL import Image  # noqa: PLC0415

    wanted = {place.plate_id for place in places}
    sizes = {}
    for plate in plates:
        if isinstance(plate, Plate) and plate.id in wanted:
            with Image.open(plates.path(plate.image)) as picture:
                sizes[plate.id] = picture.size
    return sizes


def caption_layer(known: Known, words: Tokenizer, config: CaptionConfig) -> Iterator[Caption | Rejected]:
    """Yield the captions of one layer: of its body, and of its face where it is large enough."""
    layer, face = known.layer, known.expression.face_box
    size = (known.frame.width, known.frame.height)
    if fault := another_subject(known, config):
        yield Rejected(id=f"{layer.id}:caption", reason=fault)
        return
    near = face if face is not None and min(face[2] - face[0], face[3] - face[1]) >= MIN_FACE_PX else None
    if config.type == "expression" and near is None:
        yield Rejected(id=f"{layer.id}:caption", reason="face_too_small")
    if config.type != "expression":
        facts = facts_of(known, known.pose.size, config)
        yield caption_of(layer, f"{layer.id}:body", body_crop(as_floats(layer.box), size), facts, words, config)
    if config.type != "pose" and near is not None:
        facts = facts_of(known, "close-up", config)
        yield caption_of(layer, f"{layer.id}:face", face_crop(near, size), facts, words, config)


def another_subject(known: Known, config: CaptionConfig) -> str:
    """Return why a layer does not show the LoRA's subject; empty where it does."""
    if config.type == "character" and known.name != config.subject:
        return "another_character" if known.name else "unknown_character"
    if config.type == "pose" and known.pose.action != config.subject:
        return "unknown_action" if known.pose.action == "unknown" else "another_action"
    if config.type == "expression" and known.expression.label != config.subject:
        return "unknown_expression" if known.expression.label == "unknown" else "another_expression"
    return ""


def facts_of(known: Known, size: str, config: CaptionConfig) -> Facts:
    """Return what is known of a crop, in the project's words; no action is seen in a close-up."""
    return Facts(
        who=config.described_as.get(known.name, ""),
        action="" if size == "close-up" else known.pose.action,
        expression=known.expression.label,
        place=config.described_as.get(known.place, ""),
        size=size,
        view=known.pose.view,
    )


def caption_of(
    source: Layer | Plate, row_id: str, box: Box, facts: Facts, words: Tokenizer, config: CaptionConfig
) -> Caption:
    """Put one crop into words."""
    text, tokens, lint = cut_to_fit(
        words, clauses(config.type, config.trigger, config.prefix, facts), config.max_tokens
    )
    return Caption(
        id=row_id,
        **source.moment(),
        source_id=source.id,
        box=box,
        group=" ".join(filter(None, (facts.size, facts.view, facts.action, facts.expression))) or row_id[-2:],
        text=text,
        tokens=tokens,
        lint=lint,
    )


def place_of_shot(places: Dataset[Place]) -> str:
    """Return the place that most of a shot's plates show; empty where none is known."""
    names = Counter(place.name for place in places if place.name)
    return names.most_common(1)[0][0] if names else ""
