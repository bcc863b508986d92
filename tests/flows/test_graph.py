"""The whole graph on a part of the sample film: what comes out, what is reused, what is run again."""

import json
import shutil
from pathlib import Path

import av
import pytest

from data_contracts.dataset import read_rows
from data_contracts.project_file import load_project
from data_contracts.records import Example
from data_contracts.results import LoraFile, StackPicture
from flows.build_all import build_all
from flows.commands.inspect_runs import clean_workspace, drop_stage, latest_run
from flows.film_facts import see_cast, see_scenery
from models.shots.film import Film
from tasks.run_record import RunRecord, latest_runs, recorded_run
from tests.flows.test_report import Page
from tests.small_project import CONFIG, ROOT, small_project, tiny_project

PERCEPTION = {
    "extract_frames", "segment_layers", "inpaint_plates", "cluster_places",
    "identify_characters", "estimate_poses", "cluster_poses", "label_expressions",
}  # fmt: skip
PER_LORA = {"caption_images", "assemble_dataset", "train_lora", "evaluate_lora"}
STACK = {"compose_loras", "compare_stacking"}


@pytest.fixture
def workspace(finished_run, allowed) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished_run, allowed / "work"))


def computed(run: RunRecord) -> set[tuple[str, str]]:
    return {(use.stage, use.label) for use in run.stages if not use.reused}


def rows(workspace: Path, stage: str, record: type, label: str = "") -> tuple:
    (use,) = [use for use in latest_run(workspace).stages if use.stage == stage and use.label == label]
    return read_rows(workspace / use.key / "records.parquet", record)


def test_a_run_ends_with_four_loras_their_stack_and_a_report(finished_run):
    run = latest_run(finished_run)
    assert run.state == "finished"
    assert {use.stage for use in run.stages} == PERCEPTION | PER_LORA | STACK
    assert {use.label for use in run.stages if use.stage == "train_lora"} == {"luca", "portorosso", "running", "happy"}
    pictures = rows(finished_run, "compose_loras", StackPicture)
    variants = [picture.variant for picture in pictures if picture.seed == 1]
    assert variants[0] == "base"
    assert {"all", "only luca", "without happy"} <= set(variants)
    assert all(
        {found.lora for found in each.findings} == {"luca", "portorosso", "running", "happy"} for each in pictures
    )
    report = (finished_run / "report.html").read_text(encoding="utf-8")
    assert "portorosso" in report
    assert "data:image/jpeg;base64," in report


def test_a_run_that_ends_is_in_the_gallery(finished_run):
    page = Page((finished_run / "gallery.html").read_text(encoding="utf-8"))
    assert "luca: all" in page.text
    assert all((finished_run / each).is_file() for each in [*page.links, *(image["src"] for image in page.images)])
    assert page.images


def test_everything_is_reused_by_a_second_run(workspace):
    build_all.fn(CONFIG, small_project(workspace))
    assert computed(latest_run(workspace)) == set()


def test_another_caption_prefix_runs_only_what_follows_captions(workspace):
    build_all.fn(CONFIG, {**small_project(workspace), "loras.luca.prefix": "an animated character"})
    assert computed(latest_run(workspace)) == {
        *((stage, "luca") for stage in PER_LORA),
        *((stage, "") for stage in STACK),
    }


def test_other_bytes_with_the_same_pictures_only_run_the_frames_again(workspace, allowed):
    film = allowed / "harbour.mp4"
    film.write_bytes((ROOT / "samples/harbour/harbour.mp4").read_bytes() + b"\0\0\0\x08free")
    films = f"[{{path: {film}, from_frame: 96, to_frame: 456}}]"
    build_all.fn(CONFIG, {**small_project(workspace), "films": films})
    assert computed(latest_run(workspace)) == {("extract_frames", "")}


@pytest.mark.slow
def test_another_encoding_of_the_film_runs_everything_again(allowed):
    films = [write_part(allowed / f"{name}.mp4", crf) for name, crf in (("one", 10), ("two", 35))]
    for film in films:
        film.replace(allowed / "film.mp4")
        project = load_project(CONFIG, {**tiny_project(allowed / "work"), "films": f"[{allowed}/film.mp4]"})
        with recorded_run(project.workspace, "both"):
            see_cast(project, see_scenery(project))
    first, second = latest_runs(allowed / "work")
    assert {use.stage for use in first.stages} == {use.stage for use in second.stages} == PERCEPTION
    assert len(computed(first)) == len(computed(second)) == len(PERCEPTION)


def write_part(path: Path, crf: int) -> Path:
    """Encode two shots of the sample film, better or worse."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = 512, 288, "yuv420p"
        for frame in Film(ROOT / "samples/harbour/harbour.mp4"):
            if 168 <= frame.number < 300:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_held_out_pictures_share_no_shot_with_training(finished_run):
    for name in ("luca", "portorosso", "running", "happy"):
        examples = rows(finished_run, "assemble_dataset", Example, name)
        shots = {split: {e.shot for e in examples if e.split == split} for split in ("train", "held_out")}
        assert shots["train"]
        assert not shots["train"] & shots["held_out"]
        trigger = {"luca": "luca", "portorosso": "portorosso"}.get(name, f"{name} ")
        assert all(example.caption.startswith(trigger) for example in examples)


def test_a_lora_is_traced_to_the_shots_it_learnt_from(finished_run):
    (lora,) = rows(finished_run, "train_lora", LoraFile, "luca")
    assert lora.shots
    assert lora.subject == "luca"
    from safetensors import safe_open

    (use,) = [u for u in latest_run(finished_run).stages if u.stage == "train_lora" and u.label == "luca"]
    with safe_open(finished_run / use.key / "files" / lora.weights, "pt") as file:
        kept = file.metadata()
    assert json.loads(kept["reel2lora.shots"]) == list(lora.shots)
    assert kept["reel2lora.dataset"] == lora.dataset_digest


def test_the_data_set_lies_there_as_kohya_wants_it(finished_run):
    (use,) = [u for u in latest_run(finished_run).stages if u.stage == "assemble_dataset" and u.label == "luca"]
    folder = finished_run / use.key / "kohya"
    pictures = sorted((folder / "train").glob("*.png"))
    examples = read_rows(finished_run / use.key / "records.parquet", Example)
    assert len(pictures) == len([e for e in examples if e.split == "train"])
    assert all(picture.with_suffix(".txt").read_text().startswith("luca, ") for picture in pictures)
    import tomllib

    subset = tomllib.loads((folder / "dataset.toml").read_text())["datasets"][0]["subsets"][0]
    assert subset["alpha_mask"] is True
    assert subset["image_dir"] == "train"


def test_rerun_drops_a_stage_and_all_that_follows(workspace):
    dropped = {key.split("/")[0] for key in drop_stage(workspace, "label_expressions")}
    assert dropped == {"label_expressions", *PER_LORA, *STACK}
    kept = {use.label for use in latest_run(workspace).stages if (workspace / use.key / "manifest.json").exists()}
    assert kept == {""}  # a place with people in it is captioned with the cast as well


def test_clean_keeps_what_the_last_run_used(workspace):
    before = {use.key for use in latest_run(workspace).stages}
    orphan = workspace / "train_lora" / "0123456789abcdef" / "files"
    orphan.mkdir(parents=True)
    (orphan / "old.safetensors").write_bytes(b"x" * 1000)
    assert clean_workspace(workspace, keep_last=True) == 1000
    assert not orphan.exists()
    assert all((workspace / key / "manifest.json").exists() for key in before)
    assert clean_workspace(workspace, keep_last=False) > 10_000
    assert latest_runs(workspace) == []
