"""The stage that captions: what it sends of plates and of the cast, and what it keeps when a captioner fails."""

import json

import numpy as np
import pytest

from data_contracts.dataset import Dataset, read_rows
from data_contracts.faults import StageFault
from data_contracts.lora_stages import CaptionConfig
from data_contracts.records import Expression, Frame, Identity, Layer, Place, Plate, Pose, Rejected
from models.caption.asking import ATTEMPTS
from models.pictures import keep_picture
from tasks.caption_images import caption_images, release_captioner
from tests.models.chat_servers import MODEL, Reply, fake_server, in_turn, said, seen_in
from tests.small_project import ROOT

SAILS = {"details": ["boats at the quay"]}
AT_ONCE = {"Retry-After": "0"}
TOKENIZER = ROOT / "models" / "diffusion" / "lite_base" / "weights" / "tokenizer"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch):
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    release_captioner()
    yield
    release_captioner()


def plates(folder, shots: int, each: int) -> tuple[Dataset[Plate], Dataset[Place]]:
    """Return plates of one place, `each` a shot, all different, square and small."""
    (folder / "files").mkdir()
    rows, places = [], []
    for number in range(shots * each):
        name = keep_picture(folder / "files", np.full((32, 32, 3), number, np.uint8))
        moment = {"film": "film", "shot": f"film:s{number // each:04}", "frame": number, "time_s": number / 24}
        files = {"image": name, "provenance": name, "hole": name}
        shares = {"hole_share": 0, "neighbour_share": 0, "invented_share": 0, "sharpness": 1}
        rows.append(Plate(id=f"film:f{number}:plate", **moment, frame_id=f"film:f{number}", **files, **shares))
        plate = {"plate_id": rows[-1].id, "cluster": 0, "name": "quay", "similarity": 1, "probability": 1}
        places.append(Place(id=f"film:f{number}:place", **moment, **plate))
    return Dataset(Plate, folder, rows), Dataset(Place, folder, places)


def caption_quay(workspace, data, address: str, **more: object):
    config = CaptionConfig(backend="openai-server", server=address, model=MODEL, type="background", subject="quay",
                           trigger="quay", **more)  # fmt: skip
    frames: Dataset[Frame] = Dataset(Frame, workspace, [])
    return caption_images(workspace, data[0], None, frames, data[1], None, None, None, TOKENIZER, (), config)


def test_finished_shots_are_kept_when_the_server_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "plates").mkdir()
    data = plates(tmp_path / "plates", shots=3, each=4)
    with fake_server(lambda number, _: said(SAILS) if number < 6 else Reply(500, "gone", AT_ONCE)) as server:
        with pytest.raises(StageFault, match="500 Internal Server Error: gone, 6 times"):
            caption_quay(tmp_path, data, server.address, batch=2)
        (folder,) = (tmp_path / "caption_images").iterdir()
        assert [path.name for path in (folder / "parts").glob("*s????.parquet")] == ["film-s0000.parquet"]
        server.requests.clear()
        server.replies = in_turn(said(SAILS))
        captions = caption_quay(tmp_path, data, server.address, batch=2)
        assert len(server.requests) == 8
    assert len(captions) == 12
    assert {caption.text for caption in captions} == {"quay, empty scene, boats at the quay"}
    assert set(server.keys) == {"Bearer sk-secret"}
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(kept) >= 8
    assert not any(b"sk-secret" in data for data in kept)


def test_a_picture_without_a_readable_answer_is_refused_and_the_rest_goes_on(tmp_path):
    (tmp_path / "plates").mkdir()
    data = plates(tmp_path / "plates", shots=1, each=9)

    def one_babbles(_, asked):
        return said("hm") if seen_in(asked)[0, 0, 0] == 4 else said(SAILS)

    with fake_server(one_babbles) as server:
        captions = caption_quay(tmp_path, data, server.address)
    assert len(captions) == 8
    (refused,) = read_rows(captions.folder / "rejected.parquet", Rejected)
    assert (refused.id, refused.reason) == ("film:f4:plate:c0", "unreadable_answer")


def test_a_model_that_never_answers_readably_fails_with_its_first_shot(tmp_path):
    (tmp_path / "plates").mkdir()
    data = plates(tmp_path / "plates", shots=2, each=8)
    with fake_server(in_turn(said("hm"))) as server:
        with pytest.raises(StageFault, match="openai-server gave no readable answer for any of 8 pictures"):
            caption_quay(tmp_path, data, server.address)
        assert len(server.requests) == 8 * ATTEMPTS


def test_of_a_character_body_and_face_are_sent_and_what_is_measured_is_kept(tmp_path):
    files = tmp_path / "cast" / "files"
    files.mkdir(parents=True)
    picture = np.random.default_rng(1).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    image, mask = keep_picture(files, picture), keep_picture(files, np.full((90, 160), 255, np.uint8))
    moment = {"film": "film", "shot": "film:s0000", "frame": 3, "time_s": 0.125}
    of_frame = {"image": image, "width": 160, "height": 90, "shot_start": 0, "shot_end": 9, "film_frames": 9}
    frame = Frame(id="f", **moment, **of_frame, sharpness=1, brightness=9, perceptual_hash="0" * 16)
    layer = Layer(id="l", **moment, frame_id="f", track="t", mask=mask, cutout=image, box=(20, 10, 60, 70), area=0.2,
                  sharpness=1, score=1)  # fmt: skip
    of_layer = {**moment, "layer_id": "l", "track": "t"}
    luca = Identity(id="i", **of_layer, cluster=0, name="luca", similarity=1, probability=1)
    pose = Pose(id="p", **of_layer, keypoints=((1, 1, 1),) * 17, view="front", size="full", full_body=True,
                action="running")  # fmt: skip
    face = Expression(id="e", **of_layer, label="unknown", confidence=0, face_box=(30, 12, 56, 38))
    rows = [(Layer, layer), (Frame, frame), (Identity, luca), (Pose, pose), (Expression, face)]
    layers, frames, names, poses, faces = (Dataset(record, files.parent, [row]) for record, row in rows)
    places: Dataset[Place] = Dataset(Place, files.parent, [])
    told = {"action": "Crawling", "expression": "surprised", "place": "on a pier", "details": ["holding a net"]}
    with fake_server(in_turn(said(told))) as server:
        config = CaptionConfig(backend="openai-server", server=server.address, model=MODEL, type="character",
                               subject="luca", trigger="luca", described_as={"luca": "a boy in blue"})  # fmt: skip
        captions = caption_images(tmp_path, layers, None, frames, places, names, poses, faces, TOKENIZER, (), config)
    assert {caption.id: caption.text for caption in captions} == {
        "l:body": "luca, running, surprised expression, on a pier, full body, front view, holding a net",
        "l:face": "luca, crawling, surprised expression, on a pier, close-up, front view, holding a net",
    }
    wanted = {cut(picture, caption.box).tobytes() for caption in captions}
    assert {seen_in(asked).tobytes() for asked in server.requests} == wanted
    assert not any("a boy in blue" in json.dumps(asked) for asked in server.requests)


def cut(picture: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    x0, y0, x1, y1 = (round(edge) for edge in box)
    return picture[y0:y1, x0:x1]


def test_others_than_the_subject_are_captioned_without_its_trigger_where_regularisation_is_wanted(tmp_path):
    (tmp_path / "plates").mkdir()
    shown, places = plates(tmp_path / "plates", shots=2, each=2)
    there = [row.model_copy(update={"name": "quay" if row.shot.endswith("0") else "mill"}) for row in places]
    of = {"type": "background", "subject": "quay", "trigger": "quay", "described_as": {"mill": "an old mill"}}
    inputs = (
        shown,
        None,
        Dataset(Frame, tmp_path, []),
        Dataset(Place, tmp_path, there),
        None,
        None,
        None,
        TOKENIZER,
        (),
    )
    alone = caption_images(tmp_path, *inputs, CaptionConfig(**of))
    assert {row.role for row in alone} == {"subject"}
    both = caption_images(tmp_path, *inputs, CaptionConfig(**of, regularisation=True))
    assert {(row.role, row.text, row.facets.place) for row in both} == {
        ("subject", "quay, empty scene", "quay"),
        ("regularisation", "empty scene, in an old mill", "mill"),
    }
