"""Several characters in one picture: what is drawn, who is seen where, and what is refused."""

import numpy as np
import pytest
import torch

from data_contracts.characters import FILE, Characters
from data_contracts.dataset import Dataset
from data_contracts.faults import InputFault
from data_contracts.project_file import load_project
from data_contracts.records import Example
from data_contracts.results import CharactersPicture, LoraFile, LoraWeight, Sight
from data_contracts.stack_stages import ComposeCharactersConfig, ComposeLorasConfig, SearchWeightsConfig
from flows.checks.preflight import region_faults
from flows.lora_steps import Made
from flows.stack_loras import stack_characters
from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya
from models.metrics.separation import best_places, region_alone, separations, verdicts
from models.metrics.truth import Truth
from models.metrics.world_probe.judge import WorldProbe
from models.pictures import encode_png, read_rgb
from models.shots.film import Film
from tasks.compose_characters import compose_characters, measured, sights_of, variants_of
from tasks.search_weights import objection
from tests.models.sheet_rows import HARBOUR
from tests.random_base import make_random_base
from tests.small_project import CONFIG

SAMPLING = ComposeLorasConfig(seeds=2, steps=2, size=64, batch=2, guidance=2.0, prefix="3d", judge="world-probe")
KINDS = {"luca": "character", "gia": "character", "portorosso": "background"}


def members(names=tuple(KINDS)) -> list[LoraFile]:
    return [
        LoraFile(
            id=name, name=name, type=KINDS[name], subject=name, trigger=name, family="sd15",
            weights=f"{name}.safetensors", loss_log="none.jsonl", samples=(), sample_steps=(), steps=1, final_loss=0.1,
            dataset_digest="0" * 64, shots=("film:s0001",),
        )
        for name in names
    ]  # fmt: skip


def row(method: str, seed: int, values: list[list[float]], measure: str = "found by probe") -> CharactersPicture:
    """A picture whose regions, luca's and gia's, show luca and gia as much as `values` say."""
    names = ("luca", "gia")
    sights = [
        Sight(region=region, lora=lora, measure=measure, value=values[n][k])
        for n, region in enumerate(names)
        for k, lora in enumerate(names)
    ]
    return CharactersPicture(
        id=f"{seed}:{method}", variant=method, weights=(LoraWeight(lora="luca", weight=1),), prompt="p", seed=seed,
        image="p.png", findings=(), sights=tuple(sights),
    )  # fmt: skip


def test_a_planted_bleed_is_found_and_regions_without_it_are_told_from_chance():
    mixed, kept = [[0.5, 0.4], [0.5, 0.3]], [[0.9, 0.1], [0.05, 0.8]]
    rows = [row("linear", seed, mixed) for seed in range(8)]
    rows += [
        row("regional", seed, [[value + 0.01 * (seed % 2) for value in line] for line in kept]) for seed in range(8)
    ]
    summed, regional = separations(rows)
    assert (summed.method, summed.own, summed.bleed, summed.apart, summed.change) == ("linear", 0.4, 0.45, 0.0, None)
    assert (regional.method, regional.own, regional.bleed, regional.apart) == ("regional", 0.855, 0.08, 1.0)
    assert regional.change.mean == pytest.approx(0.825)
    assert verdicts((summed, regional), ["luca", "gia"]) == (
        "pictures in which luca and gia are found by probe in their own regions: summed 0%, regional prompts 100%",
        "regional prompts: tells them apart better than the sum, by +0.82 (found by probe)",
    )
    (_, same) = separations([*rows[:8], *(row("composite", seed, mixed) for seed in range(8))])
    assert verdicts((same,), ["luca", "gia"])[1] == (
        "chance may be all that tells LoRA Composite from the sum (found by probe)"
    )


def test_likeness_has_no_threshold():
    rows = [
        row("linear", 1, [[0.6, 0.6], [0.6, 0.6]], "likeness x"),
        row("regional", 1, [[0.6, 0.5], [0.5, 0.6]], "likeness x"),
    ]
    summed, regional = separations(rows)
    assert (summed.apart, regional.apart) == (None, None)
    assert regional.change.mean == pytest.approx(0.1)


def test_whoever_stands_in_the_other_s_region_counts_against_the_method():
    swapped = [[0.0, 1.0], [1.0, 0.0]]
    _, regional = separations([row("linear", 1, [[1.0, 0.0], [0.0, 1.0]]), row("regional", 1, swapped)])
    assert (regional.own, regional.bleed, regional.change.mean) == (0, 1, -2)


def test_who_is_nowhere_likely_is_not_found():
    (summed,) = separations([row("linear", 1, [[0.02, 0.01], [0.01, 0.03]])])
    assert summed.apart == 0


def test_who_was_not_told_where_to_stand_may_stand_on_either_side():
    swapped = np.array([[0.1, 0.9], [0.8, 0.2]])  # gia on the left, luca on the right
    assert best_places(swapped) == (1, 0)
    free = sights_of({"probe": swapped}, ["luca", "gia"], told=False)
    told = sights_of({"probe": swapped}, ["luca", "gia"], told=True)
    assert {(s.region, s.lora): s.value for s in free}["luca", "luca"] == 0.8
    assert {(s.region, s.lora): s.value for s in told}["luca", "luca"] == 0.1


def test_the_judge_tells_the_sample_film_s_two_characters_apart_by_their_regions():
    truth, right, asked = Truth(HARBOUR), 0, 0
    views, expected = [], []
    for frame in Film(HARBOUR / "harbour.mp4"):
        number, late = divmod(frame.number, 4)
        people = {each.id: each.points[:, 0].mean() for each in truth.pictures[number].characters}
        if late or set(people) != {"luca", "gia"} or number % 3:
            continue
        middle = round(sum(people.values()) / 2)
        for left, who in zip((True, False), sorted(people, key=people.get), strict=True):
            cover = np.zeros(frame.rgb.shape[:2], np.float32)
            cover[:, slice(0, middle) if left else slice(middle, None)] = 1
            views.append(region_alone(frame.rgb, cover))
            expected.append(who)
    found = measured(views, members(("luca", "gia")), "world-probe", None)
    for values, names in zip(found, zip(expected[::2], expected[1::2], strict=True), strict=True):
        order = best_places(values["found by world-probe"])
        right += tuple(names[place] for place in order) == ("luca", "gia")
        asked += 1
    assert asked >= 8
    assert right / asked >= 0.8
    assert WorldProbe().knows("character", "gia")


def test_a_region_is_cut_to_a_square():
    picture = np.random.default_rng(0).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    cover = np.zeros((8, 12), np.float32)
    cover[:, :6] = 1
    view = region_alone(picture, cover)
    assert view.shape == (8, 8, 3)
    assert np.array_equal(view[:, 1:7], picture[:, :6])
    assert np.array_equal(view[:, 0], picture[:, 0])
    cover[0, 0] = 0
    assert region_alone(picture, cover)[0, 1].tolist() == [127, 127, 127]


def test_every_region_has_a_prompt_and_a_lora_of_its_own():
    config = ComposeCharactersConfig(methods=("composite", "regional"))
    weights = {"luca": 1.0, "gia": 1.0, "portorosso": 0.8}
    summed, composite, regional = variants_of(members(), config.areas(("luca", "gia")), weights, SAMPLING, config)
    assert (summed.method, composite.method, regional.method) == ("linear", "composite", "regional")
    assert [(r.prompt, r.loras, r.area) for r in regional.regions] == [
        ("3d, luca, in portorosso", ("luca",), (0.0, 0.0, 0.5, 1.0)),
        ("3d, gia, in portorosso", ("gia",), (0.5, 0.0, 1.0, 1.0)),
    ]
    apart = ComposeCharactersConfig(regions={"luca": (0.6, 0, 1, 1), "gia": (0, 0, 0.3, 1)})
    regions = variants_of(members(), apart.areas(("luca", "gia")), weights, SAMPLING, apart)[-1].regions
    assert [(r.prompt, r.area) for r in regions][-1] == ("3d, in portorosso", None)
    assert config.width_for(2, 128) == 192
    assert config.width_for(3, 512) == 1024


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"regions": "{luca: [0, 0, 0.5, 1]}"}, "'gia' has no region: give one to each of luca, gia, or to none"),
        ({"regions": "{nino: [0, 0, 0.5, 1]}"}, "'nino' is no LoRA of a character; known: luca, gia"),
        ({"regions": "{luca: [0, 0, 0.6, 1], gia: [0.5, 0, 1, 1]}"}, "the boxes of 'luca' and 'gia' overlap"),
        ({"regions": "{luca: [0.6, 0, 0.5, 1], gia: [0.5, 0, 1, 1]}"}, "is no box"),
        ({"regions": "{luca: samples/none.png, gia: [0.5, 0, 1, 1]}"}, "'samples/none.png' does not exist"),
        ({"methods": "[sum]"}, "compose_characters.methods.0 = 'sum'"),
        ({"width": "100"}, "multiple of 16"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(changes: dict[str, str], fault: str):
    named = {f"compose_characters.{key}": value for key, value in changes.items()}
    with pytest.raises(InputFault, match=r"compose_characters") as refused:
        load_project(CONFIG, {"loras.gia": "{type: character}", **named})
    assert fault in str(refused.value)


def test_regions_are_refused_where_there_is_one_character_alone():
    with pytest.raises(InputFault, match="regions are for several characters, of which the project has one at most"):
        load_project(CONFIG, {"compose_characters.regions": "{luca: [0, 0, 0.5, 1]}"})


def test_preflight_looks_into_masks(allowed):
    half = np.zeros((16, 16), np.uint8)
    half[:, :10] = 255
    (allowed / "left.png").write_bytes(encode_png(half))
    changes = {"loras.gia": "{type: character}"}
    area = f"{{luca: {allowed}/left.png, gia: [0.25, 0, 1, 1]}}"
    (fault,) = region_faults(load_project(CONFIG, {**changes, "compose_characters.regions": area}))
    assert "compose_characters.regions: regions left.png, [0.25, 0, 1, 1] have" in fault
    assert region_faults(load_project(CONFIG, changes)) == []
    assert region_faults(load_project(CONFIG)) == []


def test_no_weights_are_searched_by_a_judge_of_one_character():
    why = objection(members(), SAMPLING, SearchWeightsConfig(trials=3))
    assert why.startswith("a judge says who a picture shows, one of 2 characters")


def test_one_character_alone_has_nobody_to_be_kept_apart_from(tmp_path):
    made = Made(Dataset(LoraFile, tmp_path, members(("luca",))), Dataset(Example, tmp_path, []))
    town = Made(Dataset(LoraFile, tmp_path, members(("portorosso",))), Dataset(Example, tmp_path, []))
    assert stack_characters(load_project(CONFIG), (made, town), tmp_path / "none") is None
    unasked = load_project(CONFIG, {"loras.gia": "{type: character}", "compose_characters.methods": "[]"})
    gia = Made(Dataset(LoraFile, tmp_path, members(("gia",))), Dataset(Example, tmp_path, []))
    assert stack_characters(unasked, (made, gia), tmp_path / "none") is None


def test_the_stage_draws_every_way_from_the_same_seeds_and_measures_what_it_can(tmp_path):
    base, loras, examples = make_random_base(tmp_path / "base"), [], []
    for number, lora in enumerate(members(("luca", "gia"))):
        (files := tmp_path / lora.name / "files").mkdir(parents=True)
        down, up = np.random.default_rng(number).normal(size=(2, 48)), np.random.default_rng(9).normal(size=(48, 2))
        layer = "mid_block_attentions_0_transformer_blocks_0_attn1_to_v"
        module = LoraModule(*(torch.from_numpy(each.astype(np.float32)) for each in (down, up)), 2.0)
        save_kohya(files / lora.weights, LoraWeights({layer: module}, {}, {}))
        loras.append(Dataset(LoraFile, tmp_path / lora.name, [lora]))
        examples.append(Dataset(Example, tmp_path / lora.name, [held_out(files, lora.name)]))
    config = ComposeCharactersConfig(methods=("composite", "regional"), embedder="colour")
    pictures = compose_characters(tmp_path / "work", tuple(loras), tuple(examples), base, SAMPLING, config)
    assert [each.variant for each in pictures] == ["linear", "composite", "regional"] * 2
    assert read_rgb(pictures.path(pictures.rows[0].image)).shape == (64, 96, 3)
    assert len({each.image for each in pictures}) == 6
    assert {sight.measure for each in pictures for sight in each.sights} == {"found by world-probe", "likeness colour"}
    assert {finding.lora for finding in pictures.rows[0].findings} == {"luca", "gia"}
    numbers = Characters.model_validate_json((pictures.folder / FILE).read_text())
    assert [(each.method, each.measure) for each in numbers.separations] == [
        (method, measure)
        for measure in ("found by world-probe", "likeness colour")
        for method in ("linear", "composite", "regional")
    ]
    assert "| regional | likeness colour |" in (pictures.folder / "characters.md").read_text()
    assert (pictures.folder / "sheet.jpg").is_file()


def held_out(files, name: str) -> Example:
    picture = np.full((16, 16, 3), 40 if name == "luca" else 200, np.uint8)
    (files / "look.png").write_bytes(encode_png(picture))
    return Example.model_validate(
        {
            "id": f"{name}:example", "film": "f", "shot": "f:s0001", "frame": 0, "time_s": 0.0, "source_id": name,
            "box": (0, 0, 16, 16), "facets": {"size": "full"}, "tokens": 3, "image": "look.png", "mask": None,
            "caption": name, "repeats": 1, "split": "held_out", "sharpness": 1,
        }
    )  # fmt: skip
