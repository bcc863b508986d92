"""Cut, choose, balance and split the pictures that one LoRA learns from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from data_contracts.dataset import Dataset
from data_contracts.decisions import Decision
from data_contracts.lora_stages import AssembleDatasetConfig
from data_contracts.records import Caption, Example, Frame, Layer, Plate, Rejected
from data_contracts.size_bands import even_repeats
from models.embed import EMBEDDERS, Embeddings
from models.framing import scaled_size, trimmed
from models.pictures import keep_picture
from models.selection.choose import Candidates, choose
from models.selection.coverage import FACETS, SHARES, Shown, coverage, write_coverage
from models.selection.near_duplicates import near_duplicates
from models.sheets import examples_sheet
from models.shots.quality import perceptual_hash, sharpness
from tasks.crop_pixels import WHITE, Sources, cut
from tasks.kohya_folder import write_kohya_folder
from tasks.progress import report_progress
from tasks.stage import stage

EMBEDDED_AT_ONCE = 32
LEAST_SCENERY = 0.15  # of a crop with people in it: less says nothing of the place
embedder = lru_cache(maxsize=2)(EMBEDDERS.load)


@dataclass(frozen=True)
class Seen:
    """A caption whose crop is fit to be learnt, and what choosing asks of it; its pixels are read again if chosen."""

    caption: Caption  # its box is of the shape that it is scaled to
    scale: float  # above 1 the crop is enlarged
    sharpness: float
    hash: str
    edited: bool

    @property
    def shown(self) -> Shown:
        """What the picture shows, as balance and coverage count it."""
        return Shown(self.caption.facets, self.caption.film, self.caption.shot)


@stage(Example, version=7, sheet=examples_sheet)
def assemble_dataset(  # noqa: PLR0913, PLR0917  one parameter for each stage whose pixels it cuts
    out: Path,
    captions: Dataset[Caption],
    frames: Dataset[Frame],
    pictures: Dataset[Layer] | Dataset[Plate],
    inhabitants: Dataset[Layer] | None,
    decisions: tuple[Decision, ...],
    config: AssembleDatasetConfig,
) -> Iterator[Example | Rejected]:
    """Yield the sharpest crops that differ most, up to the target; hold whole shots back.

    `inhabitants` are the layers of the people in a place that captions show inhabited.
    """
    sources = Sources(frames, pictures, inhabitants)
    seen: list[Seen] = []
    for row in look(captions, sources, decisions, config):
        if isinstance(row, Rejected):
            yield row
        else:
            seen.append(row)
    chosen: list[Seen] = []
    targets = {"subject": config.target, "regularisation": config.regularisation, "inhabited": config.inhabited}
    for role, target in targets.items():
        taken, refused = selected([each for each in seen if each.caption.role == role], sources, target, config)
        chosen += taken
        yield from refused
    subjects = [each for each in chosen if each.caption.role == "subject"]
    held_out = shots_to_hold_out([each.caption.shot for each in subjects], config.held_out_share)
    examples = weighed_alike(
        example_of(out, each, sources, config, held_out=each.caption.shot in held_out)
        for each in chosen
        if each.caption.role == "subject" or each.caption.shot not in held_out
    )
    write_coverage(out, coverage(config.type, [each.shown for each in subjects]))
    write_kohya_folder(out, examples, config)
    yield from examples


def look(
    captions: Dataset[Caption], sources: Sources, decisions: tuple[Decision, ...], config: AssembleDatasetConfig
) -> Iterator[Seen | Rejected]:
    """Yield what is fit to be learnt, captions as people have rewritten them; refuse the rest."""
    of_frame: dict[tuple[str, int], list[Decision]] = {}
    for decision in decisions:
        of_frame.setdefault((decision.film, decision.frame), []).append(decision)
    heeded: set[Decision] = set()
    for number, caption in enumerate(captions):
        report_progress(number / len(captions), "looking at crops")
        asked = of_frame.get((caption.film, caption.frame), [])
        made = next((each for each in asked if each.is_about(caption.film, caption.frame, caption.box)), None)
        heeded |= {made} if made else set()
        yield seen_crop(caption, made, sources, config)
    for decision in decisions:
        if decision not in heeded:
            yield Rejected(id=f"decision:{decision.film}:{decision.frame:06}", reason="decision_without_picture")


def seen_crop(
    caption: Caption, decision: Decision | None, sources: Sources, config: AssembleDatasetConfig
) -> Seen | Rejected:
    """Look at one caption's crop."""
    if decision is not None and decision.verdict == "reject":
        return Rejected(id=caption.id, reason="rejected_by_hand")
    if decision is not None:
        caption = caption.model_copy(update={"text": decision.caption, "tokens": decision.tokens})
    size = scaled_size(caption.box, config.resolution)
    caption = caption.model_copy(update={"box": trimmed(caption.box, size)})
    scale = size[0] / (caption.box[2] - caption.box[0])
    if scale > config.max_upscale:
        return Rejected(id=caption.id, reason="too_small", value=scale)
    image, mask = cut(caption, sources, config)
    if not mask.any():
        return Rejected(id=caption.id, reason="nothing_to_learn")
    if caption.role == "inhabited" and (scenery := mask.mean() / WHITE) < LEAST_SCENERY:
        return Rejected(id=caption.id, reason="hardly_any_scenery", value=round(float(scenery), 4))
    sharp = round(sharpness(image, mask), 3)
    if sharp < config.min_sharpness:
        return Rejected(id=caption.id, reason="blurred", value=sharp)
    return Seen(caption, scale, sharp, perceptual_hash(image), edited=decision is not None)


def selected(
    seen: Sequence[Seen], sources: Sources, target: int, config: AssembleDatasetConfig
) -> tuple[list[Seen], list[Rejected]]:
    """Return the pictures that are chosen, in their order, and why the others are not."""
    quality = qualities(seen)
    repeated = near_duplicates([each.hash for each in seen], quality, config.max_duplicate_distance)
    alone = [n for n in range(len(seen)) if n not in repeated]
    facets = {name: [value(seen[n].shown) for n in alone] for name, value in FACETS.items()}
    vectors = embedded([seen[n].caption for n in alone], sources, config) if target < len(alone) else None
    candidates = Candidates(facets, np.array([quality[n] for n in alone]), vectors)
    taken = {alone[n] for n in choose(candidates, target, SHARES[config.type])}
    refused = [
        Rejected(id=each.caption.id, reason="near_duplicate", value=float(repeated[n]))
        if n in repeated
        else Rejected(id=each.caption.id, reason="beyond_target", value=each.sharpness)
        for n, each in enumerate(seen)
        if n not in taken
    ]
    return [seen[n] for n in sorted(taken)], refused


def qualities(seen: Sequence[Seen]) -> list[float]:
    """Return 0..1 for each picture: its rank of sharpness among those of its shot size, less where it is enlarged."""
    values = [0.0] * len(seen)
    for size in {each.caption.facets.size for each in seen}:
        group = sorted((each.sharpness, n) for n, each in enumerate(seen) if each.caption.facets.size == size)
        for rank, (_, n) in enumerate(group):
            values[n] = (rank + 1) / len(group) / max(1.0, seen[n].scale)
    return values


def embedded(captions: Sequence[Caption], sources: Sources, config: AssembleDatasetConfig) -> Embeddings | None:
    """Return the embeddings of the captions' crops, a batch in memory at a time; None without an embedder."""
    if config.embedder is None:
        return None
    network = embedder(config.embedder)
    rows = [network.embed([])]
    for start in range(0, len(captions), EMBEDDED_AT_ONCE):
        report_progress(start / len(captions), "embedding crops")
        rows.append(
            network.embed([cut(each, sources, config)[0] for each in captions[start : start + EMBEDDED_AT_ONCE]])
        )
    return np.concatenate(rows)


def shots_to_hold_out(shots: list[str], share: float) -> set[str]:
    """Return the smallest shots that together hold at most `share` of the pictures; at least two stay for training."""
    counts = {shot: shots.count(shot) for shot in sorted(set(shots))}
    held: set[str] = set()
    for shot in sorted(counts, key=lambda s: (counts[s], s)):
        if sum(counts[s] for s in held) + counts[shot] > share * len(shots) or len(counts) - len(held) <= 2:  # noqa: PLR2004
            break
        held.add(shot)
    return held


def example_of(out: Path, seen: Seen, sources: Sources, config: AssembleDatasetConfig, *, held_out: bool) -> Example:
    """Write a crop and its mask; return the row."""
    caption = seen.caption
    image, mask = cut(caption, sources, config)
    return Example(
        id=f"{caption.id}:example",
        **caption.moment(),
        source_id=caption.source_id,
        box=caption.box,
        facets=caption.facets,
        role=caption.role,
        image=keep_picture(out, image),
        mask=keep_picture(out, mask),
        caption=caption.text,
        tokens=caption.tokens,
        edited=seen.edited,
        repeats=config.repeats,
        split="held_out" if held_out else "train",
        sharpness=seen.sharpness,
    )


def weighed_alike(examples: Iterable[Example]) -> list[Example]:
    """Repeat regularisation pictures until they are learnt from as often as the subject's; return all in order."""
    rows = list(examples)
    slots = sum(row.repeats for row in rows if (row.role, row.split) == ("subject", "train"))
    others = [row.id for row in rows if row.role == "regularisation"]
    repeats = dict(zip(others, even_repeats(slots, len(others)), strict=True))
    return [row.model_copy(update={"repeats": repeats.get(row.id, row.repeats)}) for row in rows]
