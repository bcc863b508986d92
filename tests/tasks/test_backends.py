"""Backends are made from what the project says of them, and the segmenter's detector is one of them."""

import pytest

from data_contracts.project_file import load_project
from models.weights import MissingWeights
from tasks.backends import PLACES, load_backends, named_backends
from tasks.segment_layers import segmenter_of
from tests.small_project import CONFIG

SAM2 = {
    "segment_layers.backend": "sam2-tiny",
    "segment_layers.detector": "owlv2",
    "segment_layers.words": "[a boy, a sea monster]",
}


def test_the_detector_and_its_words_come_from_the_project():
    project = load_project(CONFIG, SAM2)
    assert named_backends(project)["segment_layers.detector"] == ["owlv2"]
    assert PLACES["segment_layers.detector"].given(project) == (("a boy", "a sea monster"),)
    assert PLACES["segment_layers.backend"].given(project) == ("owlv2", ("a boy", "a sea monster"))
    assert PLACES["inpaint_plates.backend"].given(project) == ()


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
    for key, names in named_backends(project).items():
        assert all(name in PLACES[key].backends for name in names), key


def test_a_project_without_a_detector_names_none_and_shares_one_segmenter_with_its_stage():
    project = load_project(CONFIG)
    assert named_backends(project)["segment_layers.detector"] == []
    assert "segment_layers.detector" not in load_backends(project)
    assert load_backends(project)["segment_layers.backend"]() is segmenter_of(project.segment_layers)
