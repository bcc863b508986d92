"""File names against one another: pictures, their captions, and what is left over of others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_contracts.check_faults import Fault
from models.dataset_checks.rules import fault, shown
from models.dataset_checks.tree import CACHES, CAPTIONS, Tree

_NOT_CAPTIONS = frozenset({"readme", "license", "licence", "requirements", "prompts", "sample_prompts"})
_TEXT_CACHE = "_te"


def clash_faults(tree: Tree, folder: Path, pictures: Iterable[Path]) -> Iterator[Fault]:
    """Yield names that differ in case alone, and pictures that share a caption."""
    by_case: dict[str, list[Path]] = defaultdict(list)
    for path in (*tree.files[folder], *pictures):
        if path not in by_case[path.name.casefold()]:
            by_case[path.name.casefold()].append(path)
    for same in by_case.values():
        for path in same[1:]:
            yield fault(tree.place(path), "case_clash", f"differs from {shown(same[0].name)} in case alone")
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for path in pictures:
        by_stem[path.stem].append(path)
    for same in by_stem.values():
        for path in same[1:]:
            if path.name.casefold() != same[0].name.casefold():
                yield fault(tree.place(path), "shared_stem", f"{shown(same[0].name)} has the same name")


def caption_of(tree: Tree, picture: Path, endings: Iterable[str]) -> tuple[Path | None, list[Fault]]:
    """Return the file of a picture's caption, None where there is none, and what is wrong with the choice."""
    there = set(tree.files[picture.parent])
    found = [path for ending in endings if (path := picture.with_suffix(ending)) in there]
    if not found:
        others = [path.name for ending in CAPTIONS if (path := picture.with_suffix(ending)) in there]
        near = f", but {shown(others[0])} is there, which this caption_extension passes over" if others else ""
        wanted = " or ".join(picture.with_suffix(ending).name for ending in endings)
        return None, [fault(tree.place(picture), "missing_caption", f"there is no {shown(wanted)}{near}")]
    if len(found) > 1 and len({path.stat().st_size for path in found}) > 1:
        both = " and ".join(path.name for path in found)
        return found[0], [fault(tree.place(picture), "two_captions", f"{shown(both)} differ")]
    return found[0], []


def orphan_faults(tree: Tree, folder: Path, pictures: Iterable[Path]) -> Iterator[Fault]:
    """Yield captions and caches whose picture is not there, and caches that are older than their picture."""
    by_stem = {path.stem: path for path in pictures}
    for path in tree.files[folder]:
        ending = path.suffix.lower()
        if ending in CAPTIONS and path.stem not in by_stem and path.stem.lower() not in _NOT_CAPTIONS:
            yield fault(tree.place(path), "caption_without_picture", "there is no picture of its name")
        if ending in CACHES:
            yield from _cache_faults(tree, path, by_stem)


def _cache_faults(tree: Tree, cache: Path, by_stem: dict[str, Path]) -> Iterator[Fault]:
    """Yield the fault of one of kohya's caches, `STEM.npz` or `STEM_0512x0512_sd.npz`; `_te` is of the caption."""
    owners = [stem for stem in by_stem if cache.stem == stem or cache.stem.startswith(f"{stem}_")]
    if not owners:
        yield fault(tree.place(cache), "orphan_cache", "there is no picture that it is of")
        return
    stem = max(owners, key=len)
    source = by_stem[stem]
    if _TEXT_CACHE in cache.stem.removeprefix(stem):
        there = set(tree.files[cache.parent])
        source = next((path for end in CAPTIONS if (path := source.with_suffix(end)) in there), source)
    try:
        older = cache.stat().st_mtime < source.stat().st_mtime
    except OSError:
        older = False  # one of them went away meanwhile
    if older:
        yield fault(tree.place(cache), "stale_cache", f"it is older than {shown(source.name)}")
