"""The ways of stacking: what is drawn, what is left out with its reason, and a planted difference that is found."""

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.dataset import Dataset
from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.results import Finding, LoraFile, LoraWeight, WayPicture
from data_contracts.stack_stages import CompareStackingConfig
from data_contracts.stacking import FILE, StackingWays
from flows.stack_loras import compare_ways, stack_loras
from models.diffusion.lora_file import load_kohya
from models.metrics.stacking_ways import verdicts, ways_of
from models.pictures import read_rgb
from tasks.compare_stacking import merged_stack, objection, variants_of
from tests.random_base import make_random_base
from tests.small_project import CONFIG
from tests.tasks.two_loras import SAMPLING, loras_in

GIVEN = {"luca": 1.0, "portorosso": 0.8}
BEST = {"luca": 0.4, "portorosso": 1.1}


def picture(variant: str, seed: int, weights: dict[str, float], scores: tuple[float, ...]) -> WayPicture:
    return WayPicture(
        id=f"{seed}:{variant}", variant=variant, prompt="p", seed=seed, image="a.png",
        weights=tuple(LoraWeight(lora=name, weight=weight) for name, weight in weights.items()),
        findings=tuple(Finding(lora=name, probability=each) for name, each in zip(weights, scores, strict=False)),
    )  # fmt: skip


def planted(seeds: int, *, judged: bool = True) -> list[WayPicture]:
    """Switch takes 0.3 from the given sum; the merged file adds to the best one as much as it takes."""
    rows = []
    for seed in range(seeds):
        level = 0.6 + 0.02 * seed
        every = {
            "given": (GIVEN, level),
            "all": (BEST, level + 0.1),
            "switch": (GIVEN, level - 0.3),
            "merged": (BEST, level + 0.1 + 0.01 * (-1) ** seed),
        }
        for variant, (weights, score) in every.items():
            rows.append(picture(variant, seed, weights, (score, score) if judged else ()))
    return rows


def test_each_way_is_held_against_the_sum_at_its_own_weights():
    given, best, switch, merged = ways_of(planted(8))
    assert (given.against, best.against) == (None, None)
    assert (given.change, best.change) == (None, None)
    assert (switch.against, merged.against) == ("given", "all")
    assert switch.change.mean == pytest.approx(-0.3)
    assert switch.change.is_lower
    assert merged.change.mean == pytest.approx(0, abs=1e-3)
    assert switch.score == pytest.approx(given.score - 0.3)
    assert (given.all_found, switch.all_found) == (1.0, 0.0)
    assert given.found == {"luca": 1.0, "portorosso": 1.0}
    assert verdicts((given, best, switch, merged), {"blocks": "it has none"}) == (
        "LoRA Switch: worse than the sum at the same weights, by -0.30",
        "chance may be all that tells merged into one file from the sum at the same weights",
        "block weights was left out: it has none",
    )


def test_few_seeds_and_unjudged_pictures_have_no_verdict():
    assert verdicts(ways_of(planted(5)), {}) == ("5 seeds are too few to say which way is best: draw at least 6",)
    ways = ways_of(planted(8, judged=False))
    assert verdicts(ways, {}) == ()
    assert [(way.found, way.all_found, way.score, way.change) for way in ways] == [({}, None, None, None)] * 4


def test_who_has_the_word_alone_takes_the_given_weights(tmp_path):
    members = [lora for each in loras_in(tmp_path) for lora in each]
    config = CompareStackingConfig(blocks={"character": {"outer": 0.5}, "pose": {"inner": 0.1}})
    every = variants_of(members, BEST, GIVEN, config)
    assert {name: (each.method, each.weights) for name, each in every.items()} == {
        "switch": ("switch", GIVEN),
        "composite": ("composite", GIVEN),
        "blocks": ("linear", BEST),
        "merged": ("linear", {"merged stack": 1.0}),
    }
    assert every["blocks"].blocks == {"luca": {"outer": 0.5}}


def test_what_loras_cannot_be_stacked_in_is_left_out_with_the_reason(tmp_path):
    sets = loras_in(tmp_path)
    members = [lora for each in sets for lora in each]
    networks = {lora.name: load_kohya(each.path(lora.weights)) for each in sets for lora in each}
    config = CompareStackingConfig()
    assert [objection(method, members, networks, config) for method in config.methods] == [""] * 4
    flux = [lora.model_copy(update={"family": "flux"}) for lora in members]
    assert objection("blocks", flux, networks, config) == "all blocks of FLUX.1 see the picture at one resolution"
    poses = CompareStackingConfig(blocks={"pose": {"inner": 0.5}})
    assert (
        objection("blocks", members, networks, poses) == "compare_stacking.blocks says nothing of background, character"
    )
    words = [lora.model_copy(update={"embedding": "luca.safetensors"}) for lora in members]
    assert "for the words of its trigger" in objection("merged", words, networks, config)
    (name, module), *_ = networks["luca"].unet.items()
    networks["luca"].unet[name] = replace(module, magnitude=module.up[:, 0])
    assert objection("merged", members, networks, config).startswith("luca is a DoRA")


def test_the_merged_file_keeps_what_its_rank_has_room_for(tmp_path):
    sets = loras_in(tmp_path / "loras")
    like = sets[0].rows[0]
    networks = {lora.name: load_kohya(each.path(lora.weights)) for each in sets for lora in each}
    whole, kept = merged_stack(tmp_path / "whole", like, networks, BEST, None)
    assert kept == pytest.approx(1)  # both change layers of their own
    half, less = merged_stack(tmp_path / "half", like, networks, BEST, 1)
    assert 0.3 < less < 0.99
    ranks = [{m.rank for m in load_kohya(each.path(each.rows[0].weights)).unet.values()} for each in (whole, half)]
    assert ranks == [{2}, {1}]


def test_the_stage_draws_every_way_from_the_first_seeds_of_the_test(tmp_path):
    base, loras = make_random_base(tmp_path / "base"), loras_in(tmp_path / "loras")
    changes = {f"compose_loras.{key}": str(value) for key, value in {**SAMPLING, "seeds": 3}.items()}
    changes |= {"search_weights.trials": "0", "workspace": str(tmp_path / "work"), "compare_stacking.seeds": "2"}
    changes["compare_stacking.blocks"] = "{character: {inner: 0, outer: 1}}"
    project = load_project(CONFIG, changes)
    stack = stack_loras(project, loras, base)
    rows = compare_ways(project, loras, base, stack)
    assert [(row.variant, row.seed) for row in rows] == [
        (way, seed) for way in ("all", "switch", "composite", "blocks", "merged") for seed in (1, 2)
    ]
    shown = {(row.variant, row.seed): read_rgb(rows.path(row.image)).astype(int) for row in rows}
    (alone,) = (read_rgb(stack.path(row.image)) for row in stack.where("variant", "without luca") if row.seed == 1)
    assert np.abs(shown["all", 1] - shown["merged", 1]).max() <= 1  # rounding: nothing was cut
    assert np.abs(shown["blocks", 1] - alone).max() <= 1  # luca's LoRA is in the middle block alone
    assert all(np.abs(shown["all", 1] - shown[way, 1]).max() > 3 for way in ("switch", "composite", "blocks"))
    numbers = StackingWays.model_validate_json((rows.folder / FILE).read_text())
    assert numbers.seeds == 2
    assert numbers.kept == pytest.approx(1)
    assert {way.name: way.against for way in numbers.ways if way.against} == dict.fromkeys(
        ("switch", "composite", "blocks", "merged"), "all"
    )
    words = (rows.folder / "stacking.md").read_text()
    assert "| block weights | luca 1 (inner 0, outer 1), portorosso 0.8 |" in words
    assert "2 seeds are too few" in words
    assert (rows.folder / "sheet.jpg").is_file()
    assert compare_ways(project, loras, base, stack).folder == rows.folder


def test_one_lora_or_several_characters_are_not_compared(tmp_path):
    (luca, _), project = loras_in(tmp_path), load_project(CONFIG)
    nothing = Dataset(LoraFile, tmp_path, [])
    assert compare_ways(project, (luca,), tmp_path, nothing) is None
    assert (
        compare_ways(load_project(CONFIG, {"compare_stacking.methods": "[]"}), loras_in(tmp_path), tmp_path, nothing)
        is None
    )
    two = load_project(CONFIG, {"loras.gia": "{type: character}"})
    assert compare_ways(two, loras_in(tmp_path), tmp_path, nothing) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"methods": "[regional]"}, "compare_stacking.methods.0 = 'regional'"),
        ({"seeds": "0"}, "compare_stacking.seeds"),
        ({"blocks": "{character: {middle: 1}}"}, "compare_stacking.blocks.character"),
        ({"blocks": "{face: {inner: 1}}"}, "compare_stacking.blocks.face"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(changes: dict[str, str], fault: str):
    with pytest.raises(InputFault) as refused:
        load_project(CONFIG, {f"compare_stacking.{key}": value for key, value in changes.items()})
    assert fault in str(refused.value)
