"""Detectors of tiny random networks loaded as on a user's machine, and the plain rules for the boxes they give."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, GroundingDinoImageProcessorPil

from models.normalise import HALVES, IMAGENET
from models.segment.boxes import box_iou, clip_box, suppress
from models.segment.detect import DETECTORS
from models.segment.detect.automatic import AutomaticMasks, grid, may_be_character, scored, wholes
from models.segment.detect.grounding_dino import LONGEST, SHORTEST, GroundingDino
from models.segment.detect.owlv2 import Owlv2
from models.segment.detect.reading import MIN_SHARE, read_boxes
from models.segment.detect.sam3 import Sam3
from models.segment.pixels import fit, to_pixels
from models.segment.sam2_network import PointMasks, Sam2Network
from models.weights import MissingWeights
from tests.models.sample_film import frames
from tests.models.tiny_networks import SIDE, save_grounding_dino, save_owlv2, save_sam2, save_sam3
from tests.models.true_masks import GIA, LUCA, pair_masks

WORDS = ("a boy", " An animal")
SIZE = (288, 512)
corner, side = st.floats(-50, 600), st.just(0.0) | st.floats(0.01, 300)
boxes = st.lists(
    st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), max_size=12
)


@pytest.fixture(scope="module")
def picture():
    return next(iter(frames(4).values()))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {
        GroundingDino: save_grounding_dino(folder / "dino"),
        Owlv2: save_owlv2(folder / "owl"),
        Sam3: save_sam3(folder / "sam3"),
    }


@given(boxes, boxes)
def test_iou_is_symmetric_and_one_for_the_same_box(one, other):
    overlap = box_iou(one, other)
    assert overlap.shape == (len(one), len(other))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_allclose(overlap, box_iou(other, one).T)
    own = np.diag(box_iou(one, one))
    np.testing.assert_allclose(own, [float(b[2] > b[0] and b[3] > b[1]) for b in one], atol=1e-9)


@given(boxes, st.floats(0.1, 0.9), st.data())
def test_suppression_keeps_the_surest_of_each_heap_and_nothing_twice(found, overlap, data):
    scores = [data.draw(st.floats(0, 1)) for _ in found]
    kept = suppress(found, scores, overlap)
    assert len(set(kept)) == len(kept)
    assert [scores[number] for number in kept] == sorted((scores[number] for number in kept), reverse=True)
    ious = box_iou(found, found)
    for place, number in enumerate(kept):
        assert not any(ious[number, other] > overlap for other in kept[:place])
    for number in set(range(len(found))) - set(kept):
        assert any(ious[number, other] > overlap and scores[other] >= scores[number] for other in kept)
    assert suppress([found[n] for n in kept], [scores[n] for n in kept], overlap) == list(range(len(kept)))


def test_boxes_are_read_once_whatever_their_words_inside_the_frame_and_above_the_threshold():
    centred = np.array(
        [[100, 100, 80, 120], [102, 101, 80, 120], [500, 50, 60, 60], [300, 100, 3, 3], [300, 200, 90, 90]]
    )
    scores = np.array([[0.6, 0.4], [0.3, 0.8], [0.5, 0.1], [0.9, 0.9], [0.29, 0.1]], np.float32)
    found = read_boxes(centred.astype(np.float32), scores, ["a boy", "an animal"], SIZE, 0.3)
    assert [box.word for box in found] == ["an animal", "a boy"]
    assert [round(box.score, 6) for box in found] == [0.8, 0.5]
    assert found[0].box == (62.0, 41.0, 142.0, 161.0)
    assert found[1].box == (470.0, 20.0, 512.0, 80.0)
    assert MIN_SHARE * SIZE[0] * SIZE[1] > 9


@pytest.mark.parametrize("kind", [GroundingDino, Owlv2, Sam3])
def test_a_detector_gives_the_same_boxes_inside_the_frame_each_time(kind, folders, picture):
    detector = kind(folders[kind], WORDS, threshold=0.0)
    found = detector.detect(picture)
    assert found
    assert found == kind(folders[kind], WORDS, threshold=0.0).detect(picture)
    for box in found:
        assert box.word in {"a boy", "an animal"}
        assert 0 <= box.score <= 1
        assert box.box == clip_box(box.box, SIZE)
    assert box_iou([b.box for b in found], [b.box for b in found])[np.triu_indices(len(found), 1)].max(initial=0) <= 0.5
    assert kind(folders[kind], WORDS, threshold=1.1).detect(picture) == []


@pytest.mark.parametrize("words", [(), ("a boy", " "), ("a boy. a girl",)])
def test_words_that_make_no_prompt_are_refused(words, folders):
    with pytest.raises(ValueError, match=r"segment_layers\.words is .*'a boy'"):
        GroundingDino(folders[GroundingDino], words)


def test_more_words_than_the_network_reads_are_refused(folders):
    with pytest.raises(ValueError, match=r"segment_layers\.words make \d+ tokens, Grounding DINO reads 256"):
        GroundingDino(folders[GroundingDino], ["a sea monster"] * 80)


def test_each_word_of_a_prompt_knows_its_own_tokens(folders):
    words = ("a boy", "an animal", "a sea monster")
    detector = GroundingDino(folders[GroundingDino], words)
    ids = detector._asked["input_ids"][0].tolist()
    assert [len(tokens) for tokens in detector._tokens] == [2, 3, 3]
    assert sorted(token for tokens in detector._tokens for token in tokens) == [
        n for n, token in enumerate(ids) if token not in {101, 102, 1012}
    ]


def test_sam3_asks_for_each_word_by_itself_as_one_whole_pass_of_the_network_would(folders, picture):
    detector = Sam3(folders[Sam3], WORDS, threshold=0.0)
    pixels = torch.from_numpy(to_pixels(picture, (SIDE, SIDE), HALVES))[None]
    tokenizer = AutoTokenizer.from_pretrained(folders[Sam3])
    likeliest = {}
    for word in ("a boy", "an animal"):
        tokens = tokenizer(word, padding="max_length", max_length=16, return_tensors="pt")
        with torch.inference_mode():
            found = detector._model(
                pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
            )
        scores = found.pred_logits[0].sigmoid() * found.presence_logits[0].sigmoid()
        corners = found.pred_boxes[0, int(scores.argmax())].numpy() * [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
        likeliest[word] = float(scores.max()), clip_box(tuple(corners), SIZE)
    surest = max(likeliest, key=likeliest.__getitem__)
    first = detector.detect(picture)[0]
    assert first.word == surest
    assert first.score == pytest.approx(likeliest[surest][0], rel=1e-5)
    assert first.box == pytest.approx(likeliest[surest][1], abs=1e-2)


def test_a_phrase_longer_than_sam3_reads_is_refused(folders):
    with pytest.raises(ValueError, match=r"segment_layers\.words has 'a sea .*', \d+ tokens; SAM 3 reads 16: say it"):
        Sam3(folders[Sam3], ["a boy", "a sea monster" * 8])


def test_pixels_are_those_of_the_networks_own_image_processor(picture):
    processor = GroundingDinoImageProcessorPil(size={"shortest_edge": SHORTEST, "longest_edge": LONGEST})
    theirs = processor(picture, return_tensors="np")["pixel_values"][0]
    ours = to_pixels(picture, fit(picture.shape[:2], SHORTEST, LONGEST), IMAGENET)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.03
    assert ours.dtype == np.float32


@pytest.mark.parametrize("name", list(DETECTORS))
def test_missing_weights_are_named_with_the_command_that_fetches_them(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"config\.json of .* is not in the hub's cache: .*`hf download "):
        DETECTORS.load(name, ("a boy",))


def test_a_model_behind_a_licence_says_that_it_has_to_be_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"accept its licence on its page of the hub, `hf auth login`, then `hf d"):
        DETECTORS.load("sam3", ("a boy",))


def test_automatic_masks_of_a_random_network_are_boxes_of_the_frame(tmp_path, picture, monkeypatch):
    monkeypatch.setattr("models.segment.detect.automatic.MIN_QUALITY", -9.0)
    monkeypatch.setattr("models.segment.detect.automatic.MIN_STABILITY", 0.0)
    monkeypatch.setattr("models.segment.stability.OFFSET", 0.0)
    automatic = AutomaticMasks(Sam2Network(save_sam2(tmp_path)), points_per_side=3)
    found = automatic.detect(picture)
    assert found
    assert found == automatic.detect(picture)
    for box in found:
        assert box.box == clip_box(box.box, SIZE)


def test_points_stand_in_the_middle_of_equal_cells():
    points = grid(4, SIZE)
    assert points.shape == (16, 2)
    assert points[0].tolist() == [64.0, 36.0]
    np.testing.assert_allclose(points.mean(axis=0), [256, 144])


def test_unsure_and_unstable_masks_score_nothing():
    ramp = np.tile(np.linspace(-8, 8, 64, dtype=np.float32), (64, 1))
    found = PointMasks(np.stack([20 * ramp, 20 * ramp, ramp]), np.array([0.9, 0.5, 0.9], np.float32))
    scores = scored(found)
    assert scores[0] == pytest.approx(0.9, abs=0.01)
    assert scores[1:].tolist() == [0, 0]


def test_true_characters_may_be_characters_and_the_set_may_not():
    luca, gia = (pair_masks()[0][value] for value in (LUCA, GIA))
    assert may_be_character(luca)
    assert may_be_character(gia)
    assert not may_be_character(~(luca | gia))
    ground = np.zeros_like(luca)
    ground[-60:] = True
    assert not may_be_character(ground)
    assert not may_be_character(np.zeros_like(luca))


def test_heads_and_second_looks_belong_to_the_whole_character():
    luca, gia = (pair_masks()[0][value] for value in (LUCA, GIA))
    top = np.flatnonzero(luca.any(axis=1))[0]
    head = luca & (np.arange(288)[:, None] < top + 40)
    again = cv2.erode(luca.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    kept = wholes([head, gia, again, luca])
    assert set(kept) == {1, 3}
