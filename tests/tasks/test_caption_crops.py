"""Which crops are captioned: squares, or the shapes of buckets, of the sample film's true rows."""

from collections.abc import Iterator

import numpy as np
import pytest

from data_contracts.dataset import Dataset
from data_contracts.lora_stages import CaptionConfig
from data_contracts.records import Expression, Frame, Identity, Layer, Place, Plate, Pose, Rejected
from models.buckets import buckets
from models.framing import scaled_size
from models.pictures import read_grey
from tasks.caption_crops import Cast, Crop, cast_crops, plate_crops
from tests.models.sheet_rows import Rows

LUCA = {"type": "character", "subject": "luca", "trigger": "luca"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Rows:
    return Rows(tmp_path_factory.mktemp("rows"), every=18)


def crops_of(found: Iterator[Crop | Rejected]) -> dict[str, Crop]:
    return {crop.id: crop for crop in found if isinstance(crop, Crop)}


def crops_of_luca(rows: Rows, **changes: object) -> dict[str, Crop]:
    cast = Cast(rows.of(Identity), rows.of(Pose), rows.of(Expression), "beach")
    return crops_of(cast_crops(rows.of(Layer), rows.of(Frame), cast, CaptionConfig(**LUCA, **changes)))


def share_of_the_subject(rows: Rows, crop: Crop) -> float:
    x0, y0, x1, y1 = (round(edge) for edge in crop.box)
    return float((read_grey(rows.of(Layer).path(crop.source.mask))[y0:y1, x0:x1] > 127).mean())


def test_bodies_fill_more_of_a_crop_of_their_shape_than_of_a_square(rows):
    squares, shaped = crops_of_luca(rows), crops_of_luca(rows, buckets=True)
    assert squares.keys() == shaped.keys()
    bodies = [name for name in squares if name.endswith(":body")]
    assert len(bodies) >= 5
    of_square, of_shape = ([share_of_the_subject(rows, each[name]) for name in bodies] for each in (squares, shaped))
    assert np.mean(of_shape) > 1.15 * np.mean(of_square)
    sizes = {scaled_size(shaped[name].box, 512) for name in bodies}
    assert len(sizes) > 1
    assert sizes <= set(buckets(512))


def test_all_of_a_body_that_a_square_shows_is_shown(rows):
    squares, shaped = crops_of_luca(rows), crops_of_luca(rows, buckets=True)
    for name, crop in shaped.items():
        mask = read_grey(rows.of(Layer).path(crop.source.mask)) > 127
        seen = [np.count_nonzero(mask[round(y0) : round(y1), round(x0) : round(x1)])
                for x0, y0, x1, y1 in (crop.box, squares[name].box)]  # fmt: skip
        assert seen[0] >= seen[1], name


def test_faces_stay_square(rows):
    squares, shaped = crops_of_luca(rows), crops_of_luca(rows, buckets=True)
    faces = [name for name in squares if name.endswith(":face")]
    assert faces
    assert all(squares[name].box == shaped[name].box for name in faces)


def test_a_plate_is_one_wide_crop_instead_of_three_squares(rows):
    of = {"type": "background", "subject": rows.lists[Place][1].name, "trigger": "beach"}
    squares = crops_of(plate_crops(rows.of(Plate), rows.of(Place), CaptionConfig(**of)))
    wide = crops_of(plate_crops(rows.of(Plate), rows.of(Place), CaptionConfig(**of, buckets=True)))
    assert len(squares) == 3 * len(wide) > 0
    assert {(crop.facets.view, scaled_size(crop.box, 512)) for crop in wide.values()} == {("middle", (640, 384))}


def test_of_an_expression_the_face_alone_is_to_be_learnt(rows):
    cast = Cast(rows.of(Identity), rows.of(Pose), rows.of(Expression), "beach")
    true = {row.layer_id: row for row in rows.lists[Expression]}
    label = next(row.label for row in true.values() if row.face_box)
    config = CaptionConfig(type="expression", subject=label, trigger=label)
    crops = crops_of(cast_crops(rows.of(Layer), rows.of(Frame), cast, config))
    assert crops
    assert all(crop.face == true[crop.source.id].face_box for crop in crops.values())
    assert {crop.face for crop in crops_of_luca(rows).values()} == {None}


@pytest.mark.parametrize(("confidence", "learnt"), [(0.69, False), (0.7, True)])
def test_a_face_of_which_the_labeler_is_not_sure_teaches_no_expression(rows, confidence, learnt):
    faces = [row.model_copy(update={"confidence": confidence}) for row in rows.lists[Expression]]
    label = next(row.label for row in faces if row.face_box)
    config = CaptionConfig(type="expression", subject=label, trigger=label)
    unsure = Dataset(Expression, rows.folder, faces)
    found = list(cast_crops(rows.of(Layer), rows.of(Frame), Cast(rows.of(Identity), rows.of(Pose), unsure, ""), config))
    assert bool(crops_of(iter(found))) == learnt
    refused = [row.value for row in found if isinstance(row, Rejected) and row.reason == "unsure_expression"]
    assert set(refused) == (set() if learnt else {confidence})
