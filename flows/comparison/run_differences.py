"""What differs between two runs, as their records say: settings, inputs from outside, software, results."""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile

from data_contracts.comparison import RunDifference
from data_contracts.manifest import Manifest
from flows.comparison.find_run import FoundRun
from flows.reports.report import title_of
from tasks.run_record import StageUse

BASE_MODEL, DATA_SET = "base model", "data set"
OUTSIDE = {
    "films": "films",
    "base": BASE_MODEL,
    "tokenizer": "tokenizer",
    "decisions": "what people decided by hand",
}
"""Inputs that no stage makes, in words; others follow from results of stages before."""
RESULTS = {"LoraFile": "LoRA weights", "Example": DATA_SET}
ABSENT, EMPTY = "(not there)", "(empty)"
MOST_LETTERS, SHORT = 80, 10
_DIGEST = 64


def differences_of(a: FoundRun, b: FoundRun) -> tuple[RunDifference, ...]:
    """Return what differs, each thing once, with the stages in which it does so: first what was set, last results."""
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for each in _differences(a, b):
        merged.setdefault((each.kind, each.what, each.a, each.b), []).extend(each.stages)
    found = [
        RunDifference.model_validate(
            {"kind": kind, "what": what, "stages": tuple(dict.fromkeys(stages)), "a": one, "b": other}
        )
        for (kind, what, one, other), stages in merged.items()
    ]
    order = ("setting", "input", "software", "result")
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _differences(a: FoundRun, b: FoundRun) -> Iterator[RunDifference]:
    of_a, of_b = ({(use.stage, use.label): use for use in run.record.stages} for run in (a, b))
    for key in dict.fromkeys((*of_a, *of_b)):
        one, other = of_a.get(key), of_b.get(key)
        if one is None or other is None:
            there = one or other
            if there is not None:
                yield _difference("result", there, "the stage", *("in it" if use else ABSENT for use in (one, other)))
        elif a.workspace != b.workspace or one.digest != other.digest:
            yield from _of_stage(a, b, one, other)


def _of_stage(a: FoundRun, b: FoundRun, one: StageUse, other: StageUse) -> Iterator[RunDifference]:
    before, after = Manifest.load(a.workspace / one.key), Manifest.load(b.workspace / other.key)
    if before is None or after is None:
        gone = (
            "deleted since" if manifest is None else manifest.content_digest[:SHORT] for manifest in (before, after)
        )
        yield _difference("result", one, "the result", *gone)
        return
    settings = _leaves(before.config), _leaves(after.config)
    for key, was, now in _changed(*settings):
        yield _difference("setting", one, key, was, now)
    for name, was, now in _changed(before.inputs, after.inputs):
        if name in OUTSIDE:
            yield _difference("input", one, OUTSIDE[name], was, now)
    versions = {"the stage itself": str(before.version)}, {"the stage itself": str(after.version)}
    for name, was, now in _changed(before.versions | versions[0], after.versions | versions[1]):
        yield _difference("software", one, name, was, now)
    if before.content_digest != after.content_digest:
        both = (f"{m.counts.kept}, {m.content_digest[:SHORT]}" for m in (before, after))
        yield _difference("result", one, RESULTS.get(after.record, "rows"), *both)


def _difference(kind: str, use: StageUse, what: str, a: str, b: str) -> RunDifference:
    return RunDifference.model_validate({"kind": kind, "what": what, "stages": (title_of(use),), "a": a, "b": b})


def _changed(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in dict.fromkeys((*a, *b)):
        was, now = a.get(key), b.get(key)
        if was != now:
            alike = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(was or "", now or "", strict=False)))
            yield key, _short(was, alike), _short(now, alike)


def _leaves(tree: object, way: str = "") -> dict[str, str]:
    """Return a configuration's single values, what is no text as JSON, by dotted key."""
    if isinstance(tree, Mapping) and tree:
        return {k: v for name, each in tree.items() for k, v in _leaves(each, f"{way}.{name}".strip(".")).items()}
    return {way: tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False)}


def _short(value: str | None, alike: int) -> str:
    """Return a value, a digest or long one cut; `alike` letters at its beginning are the other's too."""
    if value is None:
        return ABSENT
    if len(value) == _DIGEST and set(value) <= set("0123456789abcdef"):
        return value[:SHORT]
    if len(value) <= MOST_LETTERS:
        return value or EMPTY
    begin = max(0, alike - MOST_LETTERS // 2)
    end = begin + MOST_LETTERS
    return ("…" if begin else "") + value[begin:end] + ("…" if end < len(value) else "")
