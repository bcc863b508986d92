"""Backends are made from what the project says of them, and the segmenter's detector is one of them."""

import pytest

from data_contracts.project_file import load_project
from models.segment import SAM2 as SEGMENTER_WEIGHTS
from models.segment.detect import OWLV2, load_detector
from models.segment.sam2 import Sam2Segmenter
from models.weights import MissingWeights
from tasks import segment_layers
from tasks.backends import PLACES, load_backends
from tasks.segment_layers import segmenter_of
from tests.models.tiny_networks import hub_folder, save_owlv2, save_sam2
from tests.small_project import CONFIG

SAM2 = {
    "segment_layers.backend": "sam2-tiny",
    "segment_layers.detector": "owlv2",
    "segment_layers.words": "[a boy, a sea monster]",
}


def test_the_detector_and_its_words_come_from_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    save_sam2(hub_folder(tmp_path, SEGMENTER_WEIGHTS["sam2-tiny"]))
    save_owlv2(hub_folder(tmp_path, OWLV2))
    project = load_project(CONFIG, SAM2 | {"segment_layers.words": "[a wolf, an owl]"})
    assert PLACES["segment_layers.detector"].named(project) == ["owlv2"]
    words = ("a wolf", "an owl")
    loaders = load_backends(project)
    assert loaders["segment_layers.detector"]() is load_detector("owlv2", words)
    segmenter = segmenter_of(project.segment_layers)
    assert loaders["segment_layers.backend"]() is segmenter
    assert segmenter is segment_layers.segmenter("sam2-tiny", "owlv2", words)
    assert isinstance(segmenter, Sam2Segmenter)


def test_both_are_said_to_be_missing_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    loaders = load_backends(load_project(CONFIG, SAM2))
    for key, repository in (
        ("segment_layers.backend", "facebook/sam2.1-hiera-tiny"),
        ("segment_layers.detector", "google/owlv2-base-patch16-ensemble"),
    ):
        with pytest.raises(MissingWeights, match=f"hf download {repository} "):
            loaders[key]()


@pytest.mark.parametrize("profile", sorted(path.stem for path in (CONFIG.parent / "profiles").glob("*.yaml")))
def test_every_profile_names_backends_that_there_are(profile):
    project = load_project(CONFIG, {"profile": profile, "base": "models/diffusion/lite_base/weights"})
    for key, place in PLACES.items():
        assert all(name in place.backends for name in place.named(project)), key


def test_a_project_without_a_detector_names_none_and_shares_one_segmenter_with_its_stage():
    project = load_project(CONFIG)
    assert PLACES["segment_layers.detector"].named(project) == []
    assert "segment_layers.detector" not in load_backends(project)
    assert load_backends(project)["segment_layers.backend"]() is segmenter_of(project.segment_layers)


def test_what_drawn_pictures_are_measured_by_is_loaded_only_where_pictures_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    key = "loras.*.train.drawn_text_scorer"
    named = {f"loras.{lora}.train.drawn_text_scorer": "clip-vit-large-patch14" for lora in ("luca", "happy")}
    project = load_project(CONFIG, named)
    assert PLACES["loras.*.train.drawn_embedder"].named(project) == ["efficientnet-lite0+colour"]
    with pytest.raises(MissingWeights, match="hf download openai/clip-vit-large-patch14 "):
        load_backends(project)[key]()
    without = {f"loras.{lora}.train.validate_drawn": "0" for lora in project.loras}
    assert PLACES[key].named(load_project(CONFIG, named | without)) == []
