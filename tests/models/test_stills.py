"""Captioned stills, read and refused."""

import json

import numpy as np
import pytest

from data_contracts.faults import InputFault
from models.pictures import encode_png
from models.stills import read_captions, read_stills


@pytest.fixture
def folder(tmp_path):
    lines = []
    for number in (2, 0, 1):
        picture = np.full((128, 128, 3), 10 * number, np.uint8)
        (tmp_path / f"{number:06d}.jpg").write_bytes(encode_png(picture))
        lines.append(json.dumps({"name": f"{number:06d}.jpg", "caption": "a room", "kind": "room", "empty": True}))
    (tmp_path / "captions-0.jsonl").write_text("\n".join(lines[:2]) + "\n")
    (tmp_path / "captions-1.jsonl").write_text(lines[2] + "\n")
    return tmp_path


def test_the_last_stills_are_held_out(folder):
    training, held_out = read_stills(folder, last=1)
    assert [still.name for still in training.stills] == ["000000.jpg", "000001.jpg"]
    assert [still.name for still in held_out.stills] == ["000002.jpg"]
    assert training.pictures.shape == (2, 3, 128, 128)
    assert held_out.pictures.unique().tolist() == [20]


def test_too_few_stills_are_refused(folder):
    with pytest.raises(InputFault, match="3 stills, of which the last 3 are held out"):
        read_stills(folder, last=3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "captions-0.jsonl, line 3"),
        ('{"name": "../../secret.jpg", "caption": "x", "kind": "room", "empty": true}', "line 3.*name"),
    ],
)
def test_a_line_that_is_no_still_is_named(folder, line, words):
    with (folder / "captions-0.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputFault, match=f"(?s){words}"):
        read_captions(folder)


def test_a_still_of_another_size_is_refused(folder):
    (folder / "000001.jpg").write_bytes(encode_png(np.zeros((64, 128, 3), np.uint8)))
    with pytest.raises(InputFault, match="128x64; 128x128 is trained"):
        read_stills(folder, last=1)


def test_a_folder_without_captions_is_refused(tmp_path):
    with pytest.raises(InputFault, match=r"has no captions\.jsonl"):
        read_captions(tmp_path)
