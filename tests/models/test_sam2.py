"""SAM 2 with random weights on frames of the sample film: what must hold for any weights."""

import numpy as np
import pytest
import torch
from transformers import Sam2VideoInferenceSession

from models.segment import SAM2, SEGMENTERS
from models.segment.detect import GROUNDING_DINO, DetectedBox
from models.segment.sam2 import FEATURES_HELD, Sam2Object, Sam2Segmenter, Sam2Shot
from models.segment.sam2_network import Sam2Network
from models.weights import MissingWeights
from tests.models.sample_film import frames
from tests.models.tiny_networks import hub_folder, save_grounding_dino, save_sam2
from tests.models.true_masks import GIA, LUCA, SIZE, sighting, true_mask

BOX = (100.0, 60.0, 240.0, 280.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def network(folder):
    return Sam2Network(folder, "cpu")


@pytest.fixture(scope="module")
def pictures():
    return list(frames(4).values())


def as_transformers_does(network, pictures, birth):
    """Return the logits of an object by frame, from the library's own session over the whole video at once."""
    video = torch.stack([network.pixels(picture) for picture in pictures])
    session = Sam2VideoInferenceSession(video=video, video_height=288, video_width=512, dtype=network.dtype)
    corners = torch.tensor(BOX).reshape(1, 1, 2, 2) * torch.tensor([128 / 512, 128 / 288])
    session.obj_id_to_idx(1)
    session.add_point_inputs(0, birth, {"point_coords": corners, "point_labels": torch.tensor([[[2, 3]]])})
    session.obj_with_new_inputs = [1]
    network.model(session, frame_idx=birth)
    found = {}
    for reverse in (True, False):
        for out in network.model.propagate_in_video_iterator(session, birth, reverse=reverse):
            found[out.frame_idx] = out.pred_masks[0, 0].float().numpy()
    return found


def test_following_is_what_transformers_own_propagation_gives_over_more_frames_than_are_remembered(network, pictures):
    shot_frames, birth = (pictures * 4)[:45], 21
    expected = as_transformers_does(network, shot_frames, birth)
    followed, first = Sam2Shot(network, shot_frames).start(birth, BOX)
    ours = {birth: first.logits}
    for index in range(birth - 1, -1, -1):
        ours[index] = followed.look(index, reverse=True).logits
    for index in range(birth + 1, len(shot_frames)):
        ours[index] = followed.look(index, reverse=False).logits
    assert sorted(ours) == sorted(expected) == list(range(45))
    for index, logits_ in ours.items():
        np.testing.assert_allclose(logits_, expected[index], atol=1e-4)
    assert len({array.tobytes() for array in ours.values()}) > 15


def test_the_best_mask_at_a_point_is_what_transformers_own_session_gives(network, pictures):
    session = Sam2VideoInferenceSession(
        video=network.pixels(pictures[0])[None], video_height=288, video_width=512, dtype=network.dtype
    )
    point = torch.tensor([[40.0, 70.0]])
    session.obj_id_to_idx(1)
    session.add_point_inputs(0, 0, {"point_coords": point[None, None], "point_labels": torch.tensor([[[1]]])})
    session.obj_with_new_inputs = [1]
    expected = network.model(session, frame_idx=0).pred_masks[0, 0].numpy()
    others = torch.tensor([[5.0, 9.0], [99.0, 30.0]])
    found = network.masks_at(network.embed(pictures[0]), torch.cat([others, point]))
    assert found.logits.shape == (9, 32, 32)
    best = 6 + int(found.quality[6:].argmax())
    np.testing.assert_allclose(found.logits[best], expected, atol=1e-4)


def test_memory_does_not_grow_with_the_shot(network, pictures):
    shot = Sam2Shot(network, pictures * 8)
    followed, _ = shot.start(0, BOX)
    held = []
    for index in range(1, len(shot.frames)):
        followed.look(index, reverse=False)
        outputs = followed._session.output_dict_per_obj[0]["non_cond_frame_outputs"]
        held.append((len(shot._features), len(outputs), sum("maskmem_features" in one for one in outputs.values())))
        assert not any("high_res_masks" in one for one in outputs.values())
    assert held[-1] == held[len(held) // 2]
    assert held[-1][0] == FEATURES_HELD
    assert held[-1][1] <= 32
    assert held[-1][2] <= 14
    assert isinstance(followed, Sam2Object)


class Everyone:
    """A `Detector` that knows where the characters are."""

    def __init__(self):
        self.asked = 0
        self.known = {picture.tobytes(): number for number, picture in frames(4).items()}

    def detect(self, image):
        self.asked += 1
        truth = true_mask(self.known[image.tobytes()])
        return [DetectedBox(sighting(truth == value).box(SIZE), 0.9, "a person") for value in (LUCA, GIA)]


class Glimpses(list):
    """Frames that remember how far they were read."""

    farthest = 0

    def __getitem__(self, index):
        self.farthest = max(self.farthest, index)
        return super().__getitem__(index)


def segment(folder, pictures, **options):
    return list(Sam2Segmenter(folder, Everyone(), **options).segment_shot(pictures))


def test_a_shot_becomes_masks_in_order_of_frame_and_track_at_the_size_of_the_frame(folder, pictures):
    found = segment(folder, pictures)
    assert found
    assert [(m.index, m.track) for m in found] == sorted({(m.index, m.track) for m in found})
    assert {mask.index for mask in found} == set(range(len(pictures)))
    for mask in found:
        assert mask.alpha.shape == SIZE
        assert mask.alpha.dtype == np.uint8
        assert (mask.alpha >= 128).any()
        assert 0 <= mask.score <= 1


def test_the_same_frames_give_the_same_bytes(folder, pictures):
    first, second = (segment(folder, pictures[:6]) for _ in range(2))
    assert [(m.index, m.track, m.score, m.alpha.tobytes()) for m in first] == [
        (m.index, m.track, m.score, m.alpha.tobytes()) for m in second
    ]


def test_masks_come_before_the_rest_of_a_long_shot_is_read(folder, pictures):
    glimpses = Glimpses(pictures * 2)
    masks = Sam2Segmenter(folder, Everyone(), window=12).segment_shot(glimpses)
    next(masks)
    assert glimpses.farthest <= 12
    assert max(mask.index for mask in masks) == len(glimpses) - 1


def test_no_frames_and_single_frames_are_shots_too(folder, pictures):
    assert segment(folder, []) == []
    assert {mask.index for mask in segment(folder, pictures[:1])} == {0}


def test_half_precision_runs_through_the_same_code(folder, pictures):
    half = Sam2Network(folder, "cpu")
    half.model, half.dtype = half.model.to(torch.bfloat16), torch.bfloat16
    followed, first = Sam2Shot(half, pictures).start(2, BOX)
    for seen in (first, followed.look(1, reverse=True), followed.look(3, reverse=False)):
        assert seen.logits.dtype == np.float32
        assert np.isfinite(seen.logits).all()


def test_the_whole_backend_loads_from_the_hubs_cache_and_runs(tmp_path, monkeypatch, pictures):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        MissingWeights, match=r"hf download facebook/sam2\.1-hiera-tiny config\.json model\.safetensors"
    ):
        SEGMENTERS.load("sam2-tiny", "grounding-dino", ("a boy",))
    save_sam2(hub_folder(tmp_path, SAM2["sam2-tiny"]))
    with pytest.raises(MissingWeights, match="hf download IDEA-Research/grounding-dino-tiny"):
        SEGMENTERS.load("sam2-tiny", "grounding-dino", ("a boy",))
    save_grounding_dino(hub_folder(tmp_path, GROUNDING_DINO))
    found = list(SEGMENTERS.load("sam2-tiny", "grounding-dino", ("a boy",)).segment_shot(pictures[:2]))
    assert all(mask.alpha.shape == SIZE for mask in found)


def test_without_a_detector_it_says_so(folder, caplog):
    Sam2Segmenter(folder, None)
    assert "segment_layers.detector is null" in caplog.text
