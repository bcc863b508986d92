"""The evaluation suite as stages, on a random base: killed and gone on with, measured, and what cannot be measured."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import DrawSuiteConfig, EvaluateSuiteConfig
from data_contracts.manifest import Manifest
from data_contracts.records import Example, Facets
from data_contracts.results import LoraFile, SuitePicture
from models.diffusion.lora_file import LoraModule, LoraWeights, save_kohya
from models.embed import CLIP
from models.metrics.copying import LEAST_HELD_OUT
from models.metrics.text_scorers import TEXT_SCORERS
from models.pictures import keep_picture, read_rgb
from models.suite.summary import read_summary
from tasks.draw_suite import draw_suite
from tasks.evaluate_suite import evaluate_suite
from tests.killed import finish, kill_after_pictures, pictures_in, start_script
from tests.models.tiny_networks import hub_folder
from tests.random_base import make_random_base

PROMPTS = [
    {"category": category, "text": f"luca, {words}"}
    for category, words in (("portraits", "close-up"), ("portraits", "smiling"), ("actions", "running"))
]
DRAWING = {"prompts": PROMPTS, "strengths": [0.5, 1.0], "seeds": [1, 2], "steps": 2, "size": 64, "batch": 2}
RUN = """
import sys
from pathlib import Path
from data_contracts.dataset import Dataset
from data_contracts.lora_stages import DrawSuiteConfig
from data_contracts.results import LoraFile
from tasks.draw_suite import draw_suite
folder, lora, config = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
loras = Dataset(LoraFile, folder / "lora", [LoraFile.model_validate_json(lora)])
draw_suite(folder / "work", loras, folder / "base", DrawSuiteConfig.model_validate_json(config))
"""


def lora_in(folder: Path) -> Dataset[LoraFile]:
    """A LoRA that changes the random base's pictures."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    if not (weights := folder / "files" / "luca.safetensors").exists():
        generator = torch.Generator().manual_seed(1)
        down, up = (4 * torch.randn(shape, generator=generator) for shape in ((2, 48), (48, 2)))
        modules = {"mid_block_attentions_0_transformer_blocks_0_attn1_to_v": LoraModule(down, up, 2.0)}
        save_kohya(weights, LoraWeights(modules, {}, {}))
    row = LoraFile(
        id="luca", name="luca", type="character", subject="luca", trigger="luca", family="sd15",
        weights="luca.safetensors", loss_log="none.jsonl", samples=(), sample_steps=(), steps=1, final_loss=0.1,
        dataset_digest="0" * 64, shots=("film:s0001",),
    )  # fmt: skip
    return Dataset(LoraFile, folder, [row])


def examples_in(folder: Path, pictures: list[np.ndarray], held_out: int) -> Dataset[Example]:
    """A data set of these pictures, the last `held_out` of them held out."""
    (folder / "files").mkdir(parents=True)
    rows = [
        Example(
            id=f"film:{number}", film="film", shot=f"film:s000{split}", frame=number, time_s=number / 24,
            source_id=f"film:{number}:t00", box=(0, 0, 64, 64), facets=Facets(),
            image=keep_picture(folder / "files", picture),
            mask=keep_picture(folder / "files", np.full(picture.shape[:2], 255, np.uint8)),
            caption="luca", tokens=3, repeats=1, split=("train", "held_out")[split], sharpness=9,
        )
        for number, picture in enumerate(pictures)
        for split in [int(number >= len(pictures) - held_out)]
    ]  # fmt: skip
    return Dataset(Example, folder, rows)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return make_random_base(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture(scope="module")
def drawn(base, tmp_path_factory) -> tuple[Path, Dataset[LoraFile], Dataset[SuitePicture]]:
    work = tmp_path_factory.mktemp("drawn")
    lora = lora_in(work / "lora")
    return work, lora, draw_suite(work, lora, base, DrawSuiteConfig.model_validate(DRAWING))


def blurred(number: int) -> np.ndarray:
    small = np.random.default_rng(number).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC)


def test_each_prompt_and_seed_is_drawn_without_the_lora_and_at_each_strength(drawn):
    _, _, pictures = drawn
    assert len(pictures) == 3 * 2 * 3 == DrawSuiteConfig.model_validate(DRAWING).pictures
    assert len({row.id for row in pictures}) == len(pictures)
    by_strength = {strength: pictures.where("strength", strength) for strength in (0.0, 0.5, 1.0)}
    keys = {strength: [(row.prompt, row.seed) for row in rows] for strength, rows in by_strength.items()}
    assert keys[0.0] == keys[0.5] == keys[1.0]
    assert {row.prompt for row in pictures} == {prompt["text"] for prompt in PROMPTS}
    strengths = zip(*(rows for rows in by_strength.values()), strict=True)
    assert all(len({row.image for row in same}) == 3 for same in strengths)


def test_what_is_measured_is_what_the_pictures_show(drawn, tmp_path):
    work, lora, pictures = drawn
    memorised = read_rgb(pictures.path(pictures.rows[-1].image))
    others = [blurred(number) for number in range(4)]
    examples = examples_in(tmp_path, [memorised, *others, *(blurred(n) for n in range(10, 16))], 6)
    config = EvaluateSuiteConfig(
        embedders=("colour",), judge="world-probe", absent={"text clip-vit-large-patch14": "no weights"}
    )
    scores = evaluate_suite(work, pictures, examples, lora, config)
    assert [row.picture_id for row in scores] == [row.id for row in pictures]
    assert {measure.measure for row in scores for measure in row.scores} == {"likeness colour", "sharpness"}
    assert all(len(row.findings) == 1 for row in scores)
    copied = [row for row in scores if row.copying.is_copy]
    assert copied[-1].picture_id == pictures.rows[-1].id
    assert copied[-1].copying.nearest == "film:0"
    assert copied[-1].copying.to_training < 0.01
    summary = read_summary(scores.folder)
    assert summary.absent == {"text clip-vit-large-patch14": "no weights"}
    assert summary.measures == ("found", "likeness colour", "sharpness", "copies", "diversity", "distance")
    assert [(cell.strength, cell.pictures) for cell in summary.overall] == [(0.5, 6), (1.0, 6)]
    assert "repeats film:0" in (scores.folder / "summary.md").read_text()
    assert (scores.folder / "sheet.jpg").is_file()


def test_texts_are_scored_with_the_class_in_the_triggers_place(drawn, tmp_path, monkeypatch):
    work, lora, pictures = drawn
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
    vision = {**small, "image_size": 56, "patch_size": 14}
    torch.manual_seed(2)
    clip = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=24))
    clip.save_pretrained(hub_folder(tmp_path, CLIP))
    name, plain = "clip-vit-large-patch14", {prompt["text"]: f"a boy, {prompt['category']}" for prompt in PROMPTS}
    config = EvaluateSuiteConfig(text_scorers=(name,), plain=plain)
    scores = evaluate_suite(work, pictures, examples_in(tmp_path / "examples", [blurred(1)], 0), lora, config)
    images = [read_rgb(pictures.path(row.image)) for row in pictures]
    expected = TEXT_SCORERS.load(name).scores(images, [plain[row.prompt] for row in pictures])
    found = [score.value for row in scores for score in row.scores if score.measure == f"text {name}"]
    assert np.allclose(found, expected, atol=1e-4)
    assert read_summary(scores.folder).overall[0].effect(f"text {name}") is not None


def test_what_cannot_be_measured_is_absent_with_its_reason(drawn, tmp_path):
    work, lora, pictures = drawn
    unknown = Dataset(LoraFile, lora.folder, [lora.rows[0].model_copy(update={"subject": "nino"})])
    few = examples_in(tmp_path, [blurred(number) for number in range(LEAST_HELD_OUT + 3)], LEAST_HELD_OUT - 1)
    scores = evaluate_suite(work, pictures, few, unknown, EvaluateSuiteConfig(judge="world-probe"))
    assert {score.measure for row in scores for score in row.scores} == {"sharpness"}
    assert all(row.copying is None and row.findings == () for row in scores)
    absent = read_summary(scores.folder).absent
    assert set(absent) == {"found", "likeness", "diversity", "copies"}
    assert absent["copies"].startswith(f"{LEAST_HELD_OUT - 1} pictures of the subject are held out, fewer than ")
    nothing = few.where("split", "train")
    scores = evaluate_suite(work, pictures, nothing, lora, EvaluateSuiteConfig(embedders=("colour",)))
    assert {score.measure for row in scores for score in row.scores} == {"sharpness"}
    absent = read_summary(scores.folder).absent
    assert set(absent) == {"likeness", "copies"}
    assert absent["likeness"].startswith("no picture of the subject is held out: give more film")


def test_the_ground_of_held_out_characters_does_not_count_but_a_places_does(drawn, tmp_path):
    work, lora, pictures = drawn
    examples = examples_in(tmp_path, [blurred(number) for number in range(12)], 6)
    half = np.zeros((64, 64), np.uint8)
    half[:, :32] = 255
    masked = [row.model_copy(update={"mask": keep_picture(tmp_path / "files", half)}) for row in examples]
    place = Dataset(LoraFile, lora.folder, [lora.rows[0].model_copy(update={"type": "background"})])
    config = EvaluateSuiteConfig(embedders=("colour",))

    def scored(rows: list[Example], of: Dataset[LoraFile]) -> list[tuple]:
        found = evaluate_suite(work, pictures, Dataset(Example, tmp_path, rows), of, config)
        return [row.scores for row in found]

    assert scored(masked, lora) != scored(list(examples), lora)
    assert scored(masked, place) == scored(list(examples), place)


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent died")
def test_a_killed_run_goes_on_and_draws_no_picture_twice(base, tmp_path):
    config = DrawSuiteConfig.model_validate({**DRAWING, "steps": 8})
    (tmp_path / "base").symlink_to(base)
    lora = lora_in(tmp_path / "lora")
    asked = (str(tmp_path), lora.rows[0].model_dump_json(), config.model_dump_json())
    kept = kill_after_pictures(start_script(RUN, *asked), tmp_path / "work", 5)
    assert len(kept) < config.pictures
    assert not list((tmp_path / "work").rglob("manifest.json"))
    finish(start_script(RUN, *asked))
    assert kept.items() < pictures_in(tmp_path / "work").items()
    assert len(pictures_in(tmp_path / "work")) == config.pictures == 18
    undisturbed = draw_suite(tmp_path / "again", lora, base, config)
    (folder,) = (tmp_path / "work" / "draw_suite").iterdir()
    assert Manifest.load(folder).content_digest == undisturbed.content_digest
