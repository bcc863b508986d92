import hashlib
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.normalise import IMAGENET
from models.pose import POSE_ESTIMATORS, RTMPOSE_M
from models.pose.rtmpose import RtmPose, decode
from models.pose.top_down import INPUT_HEIGHT, INPUT_WIDTH, crop_around
from models.web_file import FOLDER_VARIABLE
from models.weights import MissingWeights
from models.zipped_file import ZippedFile
from tests.models.onnx_models import known_network, random_network
from tests.models.sample_film import rows

INPUT = ("input", (256, 192))
SHAPES = {"simcc_x": (17, 384), "simcc_y": (17, 512)}
boxes = st.tuples(st.floats(-50, 400), st.floats(-50, 250), st.floats(8, 300), st.floats(8, 300)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def scores(bins: np.ndarray, length: int, height: float) -> np.ndarray:
    """Return Gaussian rows that peak at `bins`, as SimCC's targets are, `(17, length)`."""
    return height * np.exp(-((np.arange(length)[None] - bins[:, None]) ** 2) / (2 * 5.66**2)).astype(np.float32)


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Return a network that answers with known peaks, and the peaks in input pixels."""
    rng = np.random.default_rng(3)
    across, down = rng.integers(0, 384, 17), rng.integers(0, 512, 17)
    answers = {"simcc_x": scores(across, 384, 0.8), "simcc_y": scores(down, 512, 0.6)}
    path = known_network(tmp_path_factory.mktemp("onnx") / "known.onnx", INPUT, answers)
    return RtmPose(path), np.column_stack([across, down]) / 2


@settings(max_examples=40, deadline=None)
@given(box=boxes)
def test_known_peaks_come_back_at_their_place_in_the_frame(peaks, box):
    network, expected = peaks
    found = network.estimate(np.zeros((288, 512, 3), np.uint8), box)
    assert found.shape == (17, 3)
    assert found.dtype == np.float32
    in_crop = found[:, :2] @ crop_around(box).matrix[:, :2].T + crop_around(box).matrix[:, 2]
    np.testing.assert_allclose(in_crop, expected, atol=0.02)
    np.testing.assert_allclose(found[:, 2], 0.6, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(box=boxes)
def test_the_crop_holds_the_box_with_a_quarter_more_and_is_not_distorted(box):
    crop = crop_around(box)
    zoom_x, zoom_y = crop.matrix[0, 0], crop.matrix[1, 1]
    assert zoom_x == pytest.approx(zoom_y)
    corners = np.array([[box[0], box[1]], [box[2], box[3]]]) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    width, height = corners[1] - corners[0]
    assert max(width / INPUT_WIDTH, height / INPUT_HEIGHT) == pytest.approx(1 / 1.25)
    np.testing.assert_allclose(corners.mean(axis=0), [INPUT_WIDTH / 2, INPUT_HEIGHT / 2], atol=1e-6)


def test_the_crop_reads_the_pixels_that_it_maps_points_to():
    image = np.zeros((288, 512, 3), np.uint8)
    image[120, 300] = (255, 128, 64)
    crop = crop_around((200, 40, 360, 240))
    x, y = np.rint(crop.matrix @ [300, 120, 1]).astype(int)
    pixel = 255 * (crop.read(image)[0, :, y, x] * IMAGENET.deviation + IMAGENET.mean)
    assert pixel[0] > pixel[1] > pixel[2] > 10  # red first: the network reads RGB
    assert crop.read(image).shape == (1, 3, 256, 192)


def test_the_exports_own_names_and_shapes_are_read(tmp_path):
    network = RtmPose(random_network(tmp_path / "net.onnx", INPUT, SHAPES).read_bytes())
    row = rows(12)[0]
    one, other = (network.estimate(row.image, row.box) for _ in range(2))
    assert one.tobytes() == other.tobytes()
    assert np.ptp(one[:, 0]) > 1
    assert ((one[:, 2] >= 0) & (one[:, 2] <= 1)).all()


def test_other_networks_and_empty_boxes_are_refused(tmp_path, peaks):
    other = random_network(tmp_path / "other.onnx", ("image", (256, 192)), {"heat": (17, 64, 48)})
    with pytest.raises(ValueError, match=r"takes \['image'\] and gives \['heat'\].*fetch the one"):
        RtmPose(other)
    hands = random_network(tmp_path / "hands.onnx", INPUT, {"simcc_x": (21, 384), "simcc_y": (21, 512)})
    with pytest.raises(ValueError, match=r"\(21, 384\).*17 COCO keypoints"):
        RtmPose(hands).estimate(np.zeros((9, 9, 3), np.uint8), (0, 0, 9, 9))
    with pytest.raises(ValueError, match=r"box .* is empty"):
        peaks[0].estimate(np.zeros((9, 9, 3), np.uint8), (5, 5, 5, 9))


def test_a_keypoint_is_as_sure_as_its_less_sure_coordinate():
    middle = np.full(17, 100)
    _, confidence = decode(scores(middle, 384, 0.2), scores(middle, 512, 0.9))
    np.testing.assert_allclose(confidence, 0.2, rtol=1e-6)


def zipped(folder, monkeypatch, members: dict[str, bytes], inner: bytes) -> ZippedFile:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    with zipfile.ZipFile(folder / "net.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    digest = hashlib.sha256((folder / "net.zip").read_bytes()).hexdigest()
    return ZippedFile("net.zip", "http://web/net.zip", digest, "MIT", 0.1, ".onnx", hashlib.sha256(inner).hexdigest())


def test_the_network_is_read_out_of_its_zip(tmp_path, monkeypatch):
    data = random_network(tmp_path / "net.onnx", INPUT, SHAPES).read_bytes()
    file = zipped(tmp_path, monkeypatch, {"sdk/deploy.json": b"{}", "sdk/end2end.onnx": data}, data)
    assert RtmPose(file.read()).estimate(np.zeros((64, 64, 3), np.uint8), (0, 0, 64, 64)).shape == (17, 3)


def test_a_zip_with_another_network_is_not_opened(tmp_path, monkeypatch):
    with pytest.raises(MissingWeights, match=r"a\.onnx in net\.zip has SHA-256"):
        zipped(tmp_path, monkeypatch, {"a.onnx": b"other"}, b"pinned").read()
    with pytest.raises(MissingWeights, match=r"holds 2 files that end with \.onnx"):
        zipped(tmp_path, monkeypatch, {"a.onnx": b"x", "b.onnx": b"x"}, b"x").read()


def test_without_its_zip_the_backend_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(MissingWeights, match=r"rtmpose-m_simcc.*zip does not exist: `curl.*openmmlab"):
        POSE_ESTIMATORS.load("rtmpose-m")
    assert POSE_ESTIMATORS["rtmpose-m"].needs == (RTMPOSE_M,)
