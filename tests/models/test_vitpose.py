import huggingface_hub.constants
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from models.pose import POSE_ESTIMATORS
from models.pose.top_down import crop_around
from models.pose.vitpose import SPAN, VitPose, peak
from models.weights import MissingWeights
from tests.models.sample_film import rows


def tiny(folder, labels=17):
    torch.manual_seed(5)
    backbone = VitPoseBackboneConfig(
        image_size=[256, 192],
        patch_size=[16, 16],
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[2],
    )
    config = VitPoseConfig(backbone_config=backbone, num_labels=labels, use_simple_decoder=True)
    network = VitPoseForPoseEstimation(config)
    with torch.no_grad():  # as sharp as trained ones: random heat is nearly flat
        network.head.conv.weight.mul_(40)
    network.save_pretrained(folder)
    return folder


def heatmap(x: float, y: float, sigma: float = 2.0) -> np.ndarray:
    columns, rows_ = np.meshgrid(np.arange(48), np.arange(64))
    return np.exp(-((columns - x) ** 2 + (rows_ - y) ** 2) / (2 * sigma**2)).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(st.floats(6, 41), st.floats(6, 57), st.floats(0.2, 1.0))
def test_the_top_of_a_heatmap_is_found_between_its_cells(x, y, height):
    assert peak(height * heatmap(x, y)) == pytest.approx([x, y], abs=0.05)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_the_top_stays_by_the_hottest_cell_and_in_reach(seed):
    heat = np.random.default_rng(seed).random((64, 48), np.float32)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    x, y = peak(heat)
    assert abs(x - column) <= 1
    assert abs(y - row) <= 1
    assert list(peak(np.zeros((64, 48), np.float32))) == [0, 0]


def test_corners_of_the_input_are_corners_of_the_window():
    crop = crop_around((100, 50, 160, 130), SPAN)
    corners = crop.to_frame(np.array([[0.0, 0.0], SPAN]), np.zeros(2))[:, :2]
    np.testing.assert_allclose(corners, [[92.5, 40], [167.5, 140]])


def test_it_agrees_with_transformers_own_processor(tmp_path):
    folder = tiny(tmp_path / "net")
    processor, network = VitPoseImageProcessorPil(), VitPoseForPoseEstimation.from_pretrained(folder).eval()
    estimator = VitPose(folder)
    for row in rows(12)[:3]:
        x0, y0, x1, y1 = row.box
        inputs = processor(row.image, boxes=[[[x0, y0, x1 - x0, y1 - y0]]], return_tensors="pt")
        with torch.inference_mode():
            answer = network(**inputs)
        theirs = processor.post_process_pose_estimation(answer, boxes=[[[x0, y0, x1 - x0, y1 - y0]]])[0][0]
        ours = estimator.estimate(row.image, row.box)
        distance = np.linalg.norm(ours[:, :2] - theirs["keypoints"].numpy(), axis=1)
        assert np.median(distance) < 0.5
        np.testing.assert_allclose(ours[:, 2], np.clip(theirs["scores"].numpy(), 0, 1), atol=0.02)
        assert ours.dtype == np.float32


def test_other_models_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ViTPose of 21 keypoints"):
        VitPose(tiny(tmp_path / "hands", labels=21))
    folder = tiny(tmp_path / "torn")
    tensors = load_file(folder / "model.safetensors")
    save_file({name: each for name, each in tensors.items() if "head" not in name}, folder / "model.safetensors")
    with pytest.raises(MissingWeights, match=r"lacks 2 tensors of VitPoseForPoseEstimation, such as head\.conv"):
        VitPose(folder)


def test_an_empty_box_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"box .* is empty"):
        VitPose(tiny(tmp_path)).estimate(np.zeros((9, 9, 3), np.uint8), (5, 5, 5, 9))


def test_without_its_weights_the_backend_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeights, match="hf download usyd-community/vitpose-base-simple"):
        POSE_ESTIMATORS.load("vitpose-base")
