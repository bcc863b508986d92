"""What each trainer is told of a data set, held against the trainer's own rules where they are here."""

import ast
import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_contracts.exports import ExportItem, ExportSettings
from data_contracts.faults import StageFault
from models.dataset_checks.folder import check_folder
from models.exports import kohya
from models.exports.folder import export_dataset, read_export
from models.exports.kohya import DATASET_KEYS, FOLDER_KEYS, SUBSET_KEYS
from models.exports.pixels import load_pixels
from models.exports.qwen_edit import GREY
from models.pictures import read_grey, read_rgb
from tests.models.export_items import SETTINGS, every_kind, item, picture


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


@pytest.fixture
def items(pictures) -> list[ExportItem]:
    return every_kind(pictures)


def test_kohya_is_told_of_splits_repeats_and_regularisation(items, tmp_path):
    trigger = ExportSettings(name="luca", trigger="luca, the boy", resolution=64)
    folder = export_dataset("kohya", items, tmp_path / "out", trigger)
    tree = tomllib.loads((folder / "dataset.toml").read_text())
    train, held = tree["datasets"]
    assert held["validation_split"] == 1.0
    assert isinstance(held["validation_split"], float)  # kohya's schema refuses an integer
    assert "validation_split" not in train
    found = {
        each["image_dir"]: (each["num_repeats"], each.get("is_reg"), each.get("keep_tokens"))
        for each in train["subsets"]
    }
    assert found == {
        "train-x5": (5, None, 2),
        "train-x10": (10, None, 2),
        "regularisation": (1, True, None),
        "inhabited": (1, None, 2),
    }
    assert [each["image_dir"] for each in held["subsets"]] == ["held_out"]
    assert all(each["alpha_mask"] for each in [*train["subsets"], *held["subsets"]])
    assert "caption_prefix" not in (folder / "dataset.toml").read_text()
    assert train["enable_bucket"] is True
    assert train["min_bucket_reso"] <= 64 <= train["max_bucket_reso"]


def test_kohya_gets_one_plain_folder_where_all_pictures_are_alike(items, tmp_path):
    plain = [item(each.image, None, each.caption) for each in items[:2]]
    folder = export_dataset("kohya", plain, tmp_path / "out", SETTINGS)
    (dataset,) = tomllib.loads((folder / "dataset.toml").read_text())["datasets"]
    assert dataset["subsets"] == [{"image_dir": "train", "num_repeats": 10, "flip_aug": False, "keep_tokens": 1}]
    assert dataset["enable_bucket"] is False


def test_kohya_gets_the_buckets_of_crops_that_have_their_shapes(pictures, tmp_path):
    sizes = [(384, 640), (512, 512), (576, 448)]
    crops = [item(picture(pictures, number, size)) for number, size in enumerate(sizes)]
    folder = export_dataset("kohya", crops, tmp_path / "out", SETTINGS.model_copy(update={"resolution": 512}))
    (dataset,) = tomllib.loads((folder / "dataset.toml").read_text())["datasets"]
    keys = ("resolution", "enable_bucket", "bucket_reso_steps", "min_bucket_reso", "max_bucket_reso")
    assert [dataset[key] for key in keys] == [512, True, 64, 384, 640]  # 384x640 to 640x384: as they are, uncut
    assert check_folder(folder) == []


def test_a_split_that_kohya_would_draw_anew_is_refused(items, tmp_path):
    folder = export_dataset("kohya", items, tmp_path / "out", SETTINGS)
    toml = folder / "dataset.toml"
    toml.write_text(toml.read_text().replace("validation_split = 1.0", "validation_split = 0.2"))
    with pytest.raises(StageFault, match=r"validation_split = 0\.2"):
        kohya.read(folder)


def test_kohyas_keys_are_those_of_its_own_schema():
    checkout = Path(os.environ.get("SD_SCRIPTS", Path(__file__).parents[2] / "vendor" / "sd-scripts"))
    source = checkout / "library" / "config_util.py"
    if not source.is_file():
        pytest.skip("no sd-scripts checkout in vendor/sd-scripts or SD_SCRIPTS")
    sanitizer = next(
        node for node in ast.parse(source.read_text()).body if getattr(node, "name", "") == "ConfigSanitizer"
    )
    schemas = {}
    for node in sanitizer.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            keys = [key.args[0] if isinstance(key, ast.Call) else key for key in node.value.keys]
            schemas[node.targets[0].id] = {key.value for key in keys}
    subset = ["SUBSET_ASCENDABLE_SCHEMA", "DO_SUBSET_ASCENDABLE_SCHEMA", "DB_SUBSET_ASCENDABLE_SCHEMA"]
    assert set.union(*(schemas[name] for name in subset)) == SUBSET_KEYS
    assert schemas["DATASET_ASCENDABLE_SCHEMA"] == DATASET_KEYS
    assert schemas["DB_SUBSET_DISTINCT_SCHEMA"] == FOLDER_KEYS


def test_datasets_loads_what_is_written_for_diffusers(items, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = export_dataset("diffusers", items, tmp_path / "out", SETTINGS)
    whole = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in whole.items()} == {"train": 5, "validation": 2}
    # diffusers' scripts load the folder that they are given in this way
    found = {"train": str(folder / "train" / "**")}
    train = datasets.load_dataset("imagefolder", data_files=found, cache_dir=str(tmp_path / "cache"))["train"]
    assert [row["text"] for row in train] == [each.caption for each in items if each.split == "train"]
    for row, each in zip(train, (each for each in items if each.split == "train"), strict=True):
        pixels = load_pixels(each)
        assert np.array_equal(np.asarray(row["image"]), pixels.rgb)
        assert np.array_equal(np.asarray(row["mask"]), pixels.weight)
        assert (row["repeats"], row["role"]) == (each.repeats, each.role)


@pytest.mark.parametrize("to", ["ai-toolkit", "simpletuner", "onetrainer", "qwen-edit"])
def test_where_one_picture_has_a_mask_all_have_one(to, items, tmp_path):
    back = read_export(export_dataset(to, items, tmp_path / "out", SETTINGS))
    (unmasked,) = [each for each in back if "quotes" in each.caption]
    assert read_grey(unmasked.mask).min() == 255
    bare = [item(each.image, None, each.caption) for each in items]
    assert all(each.mask is None for each in read_export(export_dataset(to, bare, tmp_path / "bare", SETTINGS)))


def test_ai_toolkit_never_sees_held_out_pictures(items, tmp_path):
    folder = export_dataset("ai-toolkit", items, tmp_path / "out", SETTINGS)
    entries = yaml.safe_load((folder / "datasets.yaml").read_text())["datasets"]
    assert [entry["folder_path"] for entry in entries] == ["train-x5", "train-x10", "regularisation", "inhabited"]
    assert [entry.get("is_reg", False) for entry in entries] == [False, False, True, False]
    for entry in entries:
        pictures = {path.name for path in (folder / entry["folder_path"]).rglob("*.png")}
        assert pictures == {path.name for path in (folder / entry["mask_path"]).iterdir()}


def test_onetrainer_is_told_what_kind_of_concept_each_folder_is(items, tmp_path):
    folder = export_dataset("onetrainer", items, tmp_path / "out", SETTINGS)
    concepts = json.loads((folder / "concepts.json").read_text())
    kinds = {each["path"]: (each["type"], each["balancing"]) for each in concepts}
    assert kinds["train-x10"] == ("STANDARD", 10.0)
    assert kinds["regularisation"] == ("PRIOR_PREDICTION", 1.0)
    assert kinds["held_out"] == ("VALIDATION", 1.0)
    assert "held_out_regularisation" not in kinds
    assert not any(value for each in concepts for key, value in each["image"].items() if key.startswith("enable_"))


def test_simpletuner_counts_repeats_from_zero_and_is_given_masks(items, tmp_path):
    folder = export_dataset("simpletuner", items, tmp_path / "out", SETTINGS)
    entries = {each["id"]: each for each in json.loads((folder / "multidatabackend.json").read_text())}
    subject = entries["luca-train-x10"]
    assert subject["repeats"] == 9
    masks = entries[subject["conditioning_data"]]
    assert masks["conditioning_type"] == "mask"
    assert masks["source_dataset_id"] == subject["id"]
    assert entries["luca-held-out"]["dataset_type"] == "eval"
    assert entries["luca-regularisation"]["is_regularisation_data"] is True
    assert [each["id"] for each in entries.values() if each.get("default")] == ["luca-text"]
    for each in entries.values():
        assert "instance_data_dir" not in each or (folder / each["instance_data_dir"]).is_dir()


def test_a_control_picture_shows_the_scene_and_nothing_of_the_subject(items, tmp_path):
    folder = export_dataset("qwen-edit", items, tmp_path / "out", SETTINGS)
    entries = yaml.safe_load((folder / "datasets.yaml").read_text())["datasets"]
    assert [entry["control_path"] for entry in entries] == [f"control/{entry['folder_path']}" for entry in entries]
    for each in read_export(folder):
        pixels, control = load_pixels(each), read_rgb(folder / "control" / each.image.parent.name / each.image.name)
        assert (control[pixels.weight > 0] == GREY).all()
        kept = (control != GREY).any(axis=2)
        assert np.array_equal(control[kept], pixels.rgb[kept])
        assert kept.mean() > 0.5 or "quotes" in each.caption  # without a mask all is subject
    (folder / "control" / each.image.parent.name / each.image.name).unlink()
    with pytest.raises(StageFault, match="no control picture"):
        read_export(folder)
