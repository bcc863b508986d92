"""Choose the pictures that show one LoRA's subject, frame them, and say what they show."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from data_contracts.dataset import Dataset
from data_contracts.faults import StageFault
from data_contracts.lora_stages import CaptionConfig
from data_contracts.records import Caption, Expression, Frame, Identity, Layer, LoraType, Place, Plate, Pose, Rejected
from models.caption import CAPTIONERS, Captioner
from models.caption.answers import UnreadableAnswer
from models.caption.lint import Rules, mended, rules_of
from models.caption.template import Facts, clauses, inhabited_clauses, others_clauses
from models.caption.tokens import Tokenizer, cut_to_fit, load_tokenizer
from models.sheets import captions_sheet
from tasks.caption_crops import Cast, Crop, cast_crops, picture_of, place_of_shot, plate_crops
from tasks.progress import report_progress
from tasks.stage import stage

logger = logging.getLogger("reel2lora")
_loaded: dict[tuple[str, str | None, str | None], Captioner] = {}  # at most one
HOPELESS = 8  # crops of a shot; where none of so many can be described, the captioner is at fault, not a picture


@stage(Caption, version=4, by="shot", sheet=captions_sheet)
def caption_images(  # noqa: PLR0913, PLR0917  one parameter for each stage whose facts a caption may name
    out: Path,  # noqa: ARG001
    sources: Dataset[Layer] | Dataset[Plate],
    inhabitants: Dataset[Layer] | None,
    frames: Dataset[Frame],
    places: Dataset[Place],
    identities: Dataset[Identity] | None,
    poses: Dataset[Pose] | None,
    expressions: Dataset[Expression] | None,
    tokenizer: Path,
    others: tuple[str, ...],
    config: CaptionConfig,
) -> Iterator[Caption | Rejected]:
    """Yield a caption for each crop that shows the subject; refuse what shows something else.

    No caption holds a word that its type is denied, nor one of `others`, the names that other LoRAs' triggers are.

    Backgrounds are captioned from plates, and from `inhabitants` where people in them are wanted too; everything else
    from layers and all that is known of them.
    """
    cast = None
    if identities is not None and poses is not None and expressions is not None:
        cast = Cast(identities, poses, expressions, place_of_shot(places))
    if config.type != "background":
        found = cast_crops(sources, frames, known_cast(cast, config), config)
    else:
        there = cast_crops(inhabitants, frames, known_cast(cast, config), config) if inhabitants is not None else ()
        found = chain(plate_crops(sources, places, config), there)
    crops: list[Crop] = []
    people: list[Crop] = []
    for crop in found:
        if isinstance(crop, Rejected):
            yield crop
        else:
            (people if crop.role == "inhabited" else crops).append(crop)
    words, rules = load_tokenizer(tokenizer), rules_of(config, others)
    unreadable = 0
    told = ((crop, crop.facts) for crop in people)  # who is seen is known, and the place is not to be described
    for crop, facts in chain(described(crops, sources, frames, config), told):
        if isinstance(facts, UnreadableAnswer):
            unreadable += 1
            logger.warning("%s: no answer of %s could be read: %s", crop.id, config.backend, facts)
            yield Rejected(id=crop.id, reason="unreadable_answer")
        else:
            yield caption_of(crop, facts, config.type, rules, words)
    if unreadable == len(crops) >= HOPELESS:
        message = (
            f"caption_images: {config.backend} gave no readable answer for any of {unreadable} pictures of a shot: "
            "name another `caption.backend` or `caption.model`; what was wrong with its answers is in the log"
        )
        raise StageFault(message)


def known_cast(cast: Cast | None, config: CaptionConfig) -> Cast:
    """Return the cast.

    Raises:
        TypeError: it was not looked at.
    """
    if cast is None:
        message = f"{config.type} captions are made from identities, poses and expressions: give all three"
        raise TypeError(message)
    return cast


def described(
    crops: list[Crop], sources: Dataset[Layer] | Dataset[Plate], frames: Dataset[Frame], config: CaptionConfig
) -> Iterator[tuple[Crop, Facts | UnreadableAnswer]]:
    """Yield each crop with what the captioner makes of it, a batch at a time."""
    asked = captioner_of(config)
    for first in range(0, len(crops), config.batch):
        batch = crops[first : first + config.batch]
        report_progress(first / len(crops), batch[0].source.shot)
        pictures = [picture_of(crop, sources, frames) for crop in batch] if asked.looks else []
        yield from zip(batch, asked.describe(pictures, [crop.facts for crop in batch], config.type), strict=True)


def captioner_of(config: CaptionConfig) -> Captioner:
    """Return the captioner that the configuration names, with its server; the last one asked for is kept."""
    named = (config.backend, config.server, config.model)
    if named not in _loaded:
        release_captioner()
        _loaded[named] = CAPTIONERS.load(*named)
    return _loaded[named]


def release_captioner() -> None:
    """Let the captioner and its GPU memory go, where there is one: training needs the memory next."""
    for captioner in _loaded.values():
        captioner.release()
    _loaded.clear()


def caption_of(crop: Crop, facts: Facts, kind: LoraType, rules: Rules, words: Tokenizer) -> Caption:
    """Put one crop into words that keep to the rules; a picture of another than the subject may say all but names."""
    if crop.role == "subject":
        said = clauses(kind, rules.trigger, rules.prefix, facts)
    elif crop.role == "inhabited":
        said = inhabited_clauses(rules.trigger, rules.prefix, facts)
        rules = replace(rules, type=None)
    else:
        said = others_clauses(kind, rules.prefix, facts)
        rules = replace(rules, type=None, others=(*rules.others, rules.trigger), trigger="")
    kept, dropped = mended(said, rules)
    text, tokens, cut = cut_to_fit(words, kept, rules.max_tokens)
    return Caption(
        id=crop.id,
        **crop.source.moment(),
        source_id=crop.source.id,
        box=crop.box,
        face=crop.face,
        facets=crop.facets,
        role=crop.role,
        text=text,
        tokens=tokens,
        lint=(*dropped, *cut),
    )
