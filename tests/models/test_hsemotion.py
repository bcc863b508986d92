import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face import EXPRESSION_LABELERS, EXPRESSIONS, Face
from models.face.hsemotion import CLASSES, HsEmotion, picture_of
from models.normalise import IMAGENET
from models.web_file import FOLDER_VARIABLE
from models.weights import MissingWeights
from tests.models.onnx_models import known_network, random_network

INPUT = ("input", (224, 224))
ORDER = ("angry", "unknown", "disgusted", "afraid", "happy", "neutral", "sad", "surprised")
FACE = Face((20.0, 20.0, 60.0, 60.0), 0.9, np.full((6, 2), 40, np.float32))
IMAGE = np.random.default_rng(2).integers(0, 255, (90, 120, 3), np.uint8)
ALPHA = np.full((90, 120), 255, np.uint8)


def answering(folder, logits) -> HsEmotion:
    return HsEmotion(known_network(folder / "known.onnx", INPUT, {"output": np.asarray(logits, np.float32)}))


@pytest.mark.parametrize("index", range(8))
def test_the_networks_order_is_ours(tmp_path, index):
    guess = answering(tmp_path, np.eye(8)[index] * 9).label(IMAGE, ALPHA, FACE)
    assert guess.label == ORDER[index]  # the second is contempt
    assert guess.confidence > 0.99


def test_an_unsure_network_says_unknown(tmp_path):
    guess = answering(tmp_path, [0, 0, 0, 0, 1.0, 0.9, 0, 0]).label(IMAGE, ALPHA, FACE)
    assert guess.label == "unknown"
    assert guess.scores["happy"] == max(guess.scores.values())


@settings(max_examples=10, deadline=None)
@given(logits=st.lists(st.floats(-60, 60), min_size=8, max_size=8))
def test_scores_are_shares_of_known_expressions(tmp_path_factory, logits):
    scores = answering(tmp_path_factory.mktemp("net"), logits).label(IMAGE, ALPHA, FACE).scores
    assert set(scores) == set(CLASSES) == set(EXPRESSIONS)
    assert sum(scores.values()) == pytest.approx(1.0, abs=1e-5)


def test_the_picture_is_the_face_with_a_margin_in_rgb():
    image = np.zeros((90, 120, 3), np.uint8)
    image[:] = (200, 100, 50)
    picture = picture_of(image, FACE)
    assert picture.shape == (1, 3, 224, 224)
    assert picture.dtype == np.float32
    expected = (np.array([200, 100, 50]) / 255 - IMAGENET.mean) / IMAGENET.deviation
    np.testing.assert_allclose(picture[0, :, 100, 100], expected, rtol=1e-5)


def test_a_random_network_reads_faces_apart(tmp_path):
    network = HsEmotion(random_network(tmp_path / "net.onnx", INPUT, {"output": (8,)}))
    other = Face((60.0, 30.0, 100.0, 70.0), 0.9, FACE.points)
    assert network.label(IMAGE, ALPHA, FACE).scores != network.label(IMAGE, ALPHA, other).scores


def test_other_networks_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"takes \['face'\]"):
        HsEmotion(random_network(tmp_path / "other.onnx", ("face", (224, 224)), {"output": (8,)}))
    seven = HsEmotion(random_network(tmp_path / "seven.onnx", INPUT, {"output": (7,)}))
    with pytest.raises(ValueError, match=r"gives \(1, 7\), not \(1, 8\)"):
        seven.label(IMAGE, ALPHA, FACE)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingWeights, match=r"enet_b0_8_best_afew\.onnx does not exist: `curl.*EmotiEffLib"):
        EXPRESSION_LABELERS.load("hsemotion")
