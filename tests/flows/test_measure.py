import copy
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data_contracts.dataset import write_rows
from data_contracts.faults import InputFault
from data_contracts.records import Expression, Frame, Identity, Layer, Place, Plate, Pose
from flows.measuring.measure import Measures, check_requirements, measure, print_measures
from models.metrics.psnr import CAP_DB
from models.metrics.truth import Truth
from tasks.run_record import RunRecord, StageUse

HARBOUR = Path(__file__).parents[2] / "samples" / "harbour"
HOLD = 4
RECORDS = {
    "extract_frames": Frame,
    "segment_layers": Layer,
    "inpaint_plates": Plate,
    "cluster_places": Place,
    "identify_characters": Identity,
    "estimate_poses": Pose,
    "label_expressions": Expression,
}
PLACES = ["beach", "kitchen", "portorosso"]
PEOPLE = ["gia", "luca"]


class PerfectRun:
    """What a faultless pipeline would have left of the first picture of each shot, and one six pictures later."""

    def __init__(self, workspace: Path, scale: float = 1) -> None:
        self.workspace, self.truth, self.scale = workspace, Truth(HARBOUR), scale
        self.rows: dict[str, list] = {stage: [] for stage in RECORDS}
        for stage in RECORDS:
            (workspace / stage / "d1" / "files").mkdir(parents=True)
        starts = [0, *sorted(self.truth.boundaries)]
        ends = [*starts[1:], len(self.truth.pictures)]
        for start, end in zip(starts, ends, strict=True):
            for number in (start, start + 6):
                self._add_picture(self.truth.pictures[number], start * HOLD, end * HOLD)

    def _add_picture(self, picture, shot_start, shot_end):
        width, height = (round(side * self.scale) for side in self.truth.size)
        number = picture.frame * HOLD + 1  # any film frame of the held picture
        of = {"film": "f", "shot": f"f:s{picture.shot:04}", "frame": number, "time_s": number / 24}
        frame_id = f"f:{number:06}"
        self.add(
            "extract_frames", id=frame_id, **of, image="unread.png", width=width, height=height, shot_start=shot_start,
            shot_end=shot_end, film_frames=len(self.truth.pictures) * HOLD, sharpness=1, brightness=1,
            perceptual_hash="0" * 16,
        )  # fmt: skip
        for character in picture.characters:
            self._add_layer(picture, character, of, frame_id)
        values = self.truth.mask_values(picture)
        provenance = np.where(values > 0, 1 + (np.arange(values.shape[1]) >= values.shape[1] // 2), 0)
        self.add(
            "inpaint_plates", id=frame_id, **of, frame_id=frame_id,
            image=self.picture("inpaint_plates", f"{number}.png", self.truth.plate(picture)),
            provenance=self.picture("inpaint_plates", f"{number}-p.png", provenance.astype(np.uint8), Image.NEAREST),
            hole="unread.png", hole_share=0, neighbour_share=0, invented_share=0, sharpness=1,
        )  # fmt: skip
        place = {"cluster": PLACES.index(picture.place), "name": picture.place}
        self.add("cluster_places", id=frame_id, **of, plate_id=frame_id, **place, similarity=1, probability=1)

    def _add_layer(self, picture, character, of, frame_id):
        layer_id = f"{frame_id}:{character.index}"
        track = f"{of['shot']}:t{character.index:02}"
        mask = 255 * self.truth.masks(picture)[character.id].astype(np.uint8)
        of_layer = {"id": layer_id, **of, "layer_id": layer_id, "track": track}
        self.add(
            "segment_layers", id=layer_id, **of, frame_id=frame_id, track=track,
            mask=self.picture("segment_layers", f"{layer_id.replace(':', '-')}.png", mask), cutout="unread.png",
            box=(0, 0, 1, 1), area=0.1, sharpness=1, score=1,
        )  # fmt: skip
        who = {"cluster": PEOPLE.index(character.id), "name": character.id}
        self.add("identify_characters", **of_layer, **who, similarity=1, probability=1)
        keypoints = tuple((x * self.scale, y * self.scale, 1.0) for x, y, _ in character.keypoints)
        self.add(
            "estimate_poses", **of_layer, keypoints=keypoints, view="front", size="full",
            full_body=character.is_full_body, action=character.pose,
        )  # fmt: skip
        self.add("label_expressions", **of_layer, label=character.expression, confidence=1, face_box=None)

    def add(self, stage, **fields):
        self.rows[stage].append(RECORDS[stage](**fields))

    def picture(self, stage, name, pixels, resample=Image.BILINEAR):
        image = Image.fromarray(pixels)
        if self.scale != 1:
            image = image.resize([round(side * self.scale) for side in image.size], resample)
        image.save(self.path(stage, name), compress_level=1)
        return name

    def path(self, stage, name):
        return self.workspace / stage / "d1" / "files" / name

    def change(self, stage, where, **fields):
        """Change the rows that `where` accepts; say so if there are none."""
        rows = self.rows[stage]
        assert any(where(row) for row in rows)
        self.rows[stage] = [row.model_copy(update=fields) if where(row) else row for row in rows]

    def drop(self, where, *stages):
        for stage in stages:
            kept = [row for row in self.rows[stage] if not where(row)]
            assert len(kept) < len(self.rows[stage])
            self.rows[stage] = kept

    def record(self, *left_out):
        uses = [
            StageUse(stage=stage, label="", digest="d1", parents=(), reused=False, seconds=1)
            for stage in RECORDS
            if stage not in left_out
        ]
        other = StageUse(stage="train_lora", label="luca", digest="x", parents=(), reused=False, seconds=1)
        return RunRecord(name="r1", project="p", started_at="now", stages=[*uses, other])

    def measure(self, *left_out, film="") -> Measures:
        for stage, rows in self.rows.items():
            write_rows(self.workspace / stage / "d1" / "records.parquet", rows)
        return measure(self.workspace, self.record(*left_out), HARBOUR, film)

    def moved(self) -> dict[str, float]:
        """Return the figures that are not those of a perfect run."""
        figures = self.measure().figures
        return {name: figure.value for name, figure in figures.items() if figure.value != perfect_value(name)}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return PerfectRun(tmp_path_factory.mktemp("perfect"))


@pytest.fixture
def run(tmp_path, template):
    """Return a perfect run of its own, to be spoilt."""
    shutil.copytree(template.workspace, tmp_path, dirs_exist_ok=True)
    own = copy.copy(template)
    own.workspace, own.rows = tmp_path, {stage: list(rows) for stage, rows in template.rows.items()}
    return own


def perfect_value(name):
    if name.startswith("plate_share"):
        return {"plate_share_own": 0}.get(name)
    return {"mask_false_positive_frames": 0}.get(name, CAP_DB if name.endswith("_db") else 1)


def in_picture(number, character=""):
    return lambda row: row.frame // HOLD == number and row.id.endswith(character)


def test_perfect_run_is_perfect(run):
    measures = run.measure()
    assert (measures.film, measures.film_frames_a_picture, measures.frames) == ("f", HOLD, 26)
    for name, figure in measures.figures.items():
        if perfect_value(name) is not None:
            assert figure.value == pytest.approx(perfect_value(name)), name
    wanted = {
        "shots_precision", "shots_recall", "shots_f1", "mask_iou", "mask_iou_luca", "mask_iou_gia",
        "mask_false_positive_frames", "identity_purity", "identity_completeness", "identity_track_purity",
        "identity_track_completeness", "identity_named", "identity_named_recall", "place_ari", "place_named",
        "place_named_recall", "action_running_precision", "action_running_recall", "expression_happy_precision",
        "expression_happy_recall", "keypoint_pck", "keypoint_coverage", "plate_psnr_db", "plate_psnr_neighbour_db",
        "plate_psnr_network_db", "plate_psnr_film_db", "plate_share_neighbour", "plate_share_network",
    }  # fmt: skip
    assert wanted <= measures.figures.keys()
    assert "plate_psnr_own_db" not in measures.figures
    assert measures.figures["mask_false_positive_frames"].support == 6
    assert measures.figures["identity_purity"].support == len(run.rows["segment_layers"])
    assert Measures.model_validate(json.loads(measures.model_dump_json())) == measures


def test_other_working_height_scores_nearly_the_same(tmp_path):
    figures = PerfectRun(tmp_path, scale=1.25).measure().figures
    assert figures["mask_iou"].value > 0.97
    assert figures["keypoint_pck"].value == figures["keypoint_coverage"].value == 1
    assert figures["plate_psnr_db"].value > 35


def test_swapped_identities_move_identity_alone(run):
    run.change("identify_characters", lambda row: row.track == "f:s0004:t01", cluster=0, name="gia")
    run.change("identify_characters", lambda row: row.track == "f:s0004:t02", cluster=1, name="luca")
    of_layers = pytest.approx(1 - 4 / len(run.rows["identify_characters"]))
    of_tracks = pytest.approx(1 - 2 / len({row.track for row in run.rows["identify_characters"]}))
    assert without_plate_shares(run.moved()) == {
        "identity_purity": of_layers,
        "identity_completeness": of_layers,
        "identity_named": of_layers,
        "identity_named_recall": of_layers,
        "identity_track_purity": of_tracks,
        "identity_track_completeness": of_tracks,
    }


def test_unnamed_noise_moves_recall_and_completeness_but_not_precision(run):
    run.change("identify_characters", lambda row: row.track == "f:s0004:t01", cluster=-1, name="")
    moved = without_plate_shares(run.moved())
    assert moved.keys() == {"identity_completeness", "identity_track_completeness", "identity_named_recall"}


def test_shifted_mask_moves_its_own_iou(run):
    layer = next(row for row in run.rows["segment_layers"] if in_picture(24)(row))
    path = run.path("segment_layers", layer.mask)
    mask = np.asarray(Image.open(path))
    shifted = np.roll(mask, 10, axis=1)
    Image.fromarray(shifted).save(path)
    moved = without_plate_shares(run.moved())
    assert moved.keys() == {"mask_iou", "mask_iou_luca"}
    loss = 1 - np.count_nonzero(mask & shifted) / np.count_nonzero(mask | shifted)
    assert moved["mask_iou_luca"] == pytest.approx(1 - loss / run.measure().figures["mask_iou_luca"].support)


def test_missing_layer_is_zero(run):
    of_layer = ("segment_layers", "identify_characters", "estimate_poses", "label_expressions")
    run.drop(in_picture(84), *of_layer)
    moved = without_plate_shares(run.moved())
    assert moved.keys() == {"mask_iou", "mask_iou_gia", "keypoint_coverage"}
    figure = run.measure().figures["mask_iou_gia"]
    assert figure.value == pytest.approx(1 - 1 / figure.support)


def test_layer_where_nobody_is_counts(run):
    layer = next(row for row in run.rows["segment_layers"] if in_picture(24)(row))
    empty = next(row for row in run.rows["extract_frames"] if in_picture(0)(row))
    false = {"id": "f:false", "frame": empty.frame, "frame_id": empty.id, "shot": empty.shot}
    run.rows["segment_layers"].append(layer.model_copy(update=false))
    moved = without_plate_shares(run.moved())
    assert moved.keys() == {"mask_iou", "mask_false_positive_frames"}
    assert moved["mask_false_positive_frames"] == 1


def test_lost_shot_moves_recall(run):
    run.drop(lambda row: row.shot == "f:s0005", "extract_frames", "inpaint_plates", "cluster_places")
    moved = without_plate_shares(run.moved())
    assert moved == {"shots_recall": pytest.approx(11 / 12), "shots_f1": pytest.approx(22 / 23)}


def test_boundary_may_fall_anywhere_in_the_held_picture(run):
    run.change("extract_frames", lambda row: row.shot == "f:s0002", shot_start=60 * HOLD + 3)
    assert without_plate_shares(run.moved()) == {}
    run.change("extract_frames", lambda row: row.shot == "f:s0002", shot_start=60 * HOLD - 1)
    assert without_plate_shares(run.moved()).keys() == {"shots_precision", "shots_recall", "shots_f1"}


def test_wrong_labels_move_their_classes(run):
    run.change("estimate_poses", in_picture(24), action="walking")
    run.change("label_expressions", in_picture(24), label="unknown")
    moved = without_plate_shares(run.moved())
    assert moved.keys() == {"action_running_recall", "action_walking_precision", "expression_happy_recall"}


def test_class_that_nobody_was_given_has_no_precision(run):
    run.change("estimate_poses", lambda row: row.action == "running", action="unknown")
    figures = run.measure().figures
    assert figures["action_running_recall"].value == 0
    assert "action_running_precision" not in figures


def test_misplaced_keypoints_and_missed_bodies(run):
    pose = next(row for row in run.rows["estimate_poses"] if in_picture(24)(row))
    far = tuple((x + 100.0, y, c) for x, y, c in pose.keypoints)
    run.change("estimate_poses", in_picture(24), keypoints=far)
    moved = without_plate_shares(run.moved())
    assert moved == {"keypoint_pck": pytest.approx(1 - 17 / run.measure().figures["keypoint_pck"].support)}
    run.change("estimate_poses", in_picture(24), full_body=False)
    assert without_plate_shares(run.moved()).keys() == {"keypoint_coverage"}


def test_wrong_place_moves_place(run):
    run.change("cluster_places", in_picture(0), cluster=0, name="beach")
    assert without_plate_shares(run.moved()).keys() == {"place_ari", "place_named", "place_named_recall"}


def recolour_plates(run, source):
    """Make what came from `source` wrong by 10 grey levels in every plate."""
    for row in run.rows["inpaint_plates"]:
        plate = np.asarray(Image.open(run.path("inpaint_plates", row.image))).astype(int)
        provenance = np.asarray(Image.open(run.path("inpaint_plates", row.provenance)))
        wrong = np.where((provenance == source)[..., None], np.where(plate < 128, plate + 10, plate - 10), plate)
        Image.fromarray(wrong.astype(np.uint8)).save(run.path("inpaint_plates", row.image))


def test_what_the_films_own_pixels_are_worth_stands_apart(run):
    recolour_plates(run, source=0)
    assert without_plate_shares(run.moved()) == {"plate_psnr_film_db": pytest.approx(20 * np.log10(25.5))}


def test_plate_errors_are_told_by_source(run):
    recolour_plates(run, source=2)
    moved = run.moved()
    assert without_plate_shares(moved).keys() == {"plate_psnr_db", "plate_psnr_network_db"}
    assert moved["plate_psnr_network_db"] == pytest.approx(20 * np.log10(25.5))
    pooled = 10 * np.log10(25.5**2 / moved["plate_share_network"])
    assert moved["plate_psnr_db"] == pytest.approx(pooled)


def test_absent_stages_are_absent(run):
    figures = run.measure("inpaint_plates", "cluster_places", "estimate_poses").figures
    assert {name.split("_")[0] for name in figures} == {"shots", "mask", "identity", "expression"}
    assert {name.split("_")[0] for name in run.measure("segment_layers").figures} == {"shots", "plate", "place"}


def test_faults_of_the_input(run):
    with pytest.raises(InputFault, match="used no extract_frames"):
        run.measure("extract_frames")
    with pytest.raises(InputFault, match="no frames of film 'g'"):
        run.measure(film="g")
    run.change("estimate_poses", in_picture(24), layer_id="f:gone")
    with pytest.raises(InputFault, match="layer f:gone has labels"):
        run.measure()
    run.change("extract_frames", in_picture(0), film="g")
    with pytest.raises(InputFault, match=r"2 films \(f, g\)"):
        run.measure()
    run.change("extract_frames", lambda _: True, film="f", film_frames=1343)
    with pytest.raises(InputFault, match="1343 frames, which is no whole multiple of the 336 pictures"):
        run.measure()
    (run.workspace / "extract_frames" / "d1" / "records.parquet").unlink()
    with pytest.raises(InputFault, match="run the project again"):
        measure(run.workspace, run.record(), HARBOUR)


def test_cropped_result_is_refused(run):
    layer = run.rows["segment_layers"][0]
    Image.new("L", (512, 214)).save(run.path("segment_layers", layer.mask))
    with pytest.raises(InputFault, match="512x214 cannot be laid over a truth of 512x288"):
        run.measure()


def test_only_the_named_film_is_measured(run):
    run.rows["extract_frames"].append(run.rows["extract_frames"][0].model_copy(update={"id": "g:0", "film": "g"}))
    assert run.measure(film="f").frames == 26


def test_requirements(run):
    run.change("identify_characters", in_picture(24), name="gia")
    measures = run.measure()
    assert check_requirements(measures, ["shots_f1>=1.0", "mask_iou > 0.9", "mask_false_positive_frames<=0"]) == []
    failures = check_requirements(measures, ["identity_named>=1", "mask_iou_nino>=0.5"])
    assert len(failures) == 2
    assert failures[0].startswith("identity_named is 0.9")
    assert failures[1].startswith("mask_iou_nino was not measured")
    for malformed in ("shots_f1", "shots_f1=>1", "shots_f1>=high", ">=1", "shots_f1>=1 or so"):
        with pytest.raises(InputFault, match="cannot be read"):
            check_requirements(measures, [malformed])


@pytest.mark.parametrize("longest", ["mask_iou", "largest_share_of_a_characters_own_pixels"])
@pytest.mark.parametrize("width", [75, 80, 200])
def test_table_shows_every_figure_on_one_line(run, width, longest):
    measures = run.measure()
    wordy = measures.figures["mask_iou"].model_copy(update={"note": "all that is to be known of it, " * 4})
    measures = measures.model_copy(update={"figures": {**measures.figures, longest: wordy}})
    console = Console(record=True, width=width, file=io.StringIO())
    print_measures(measures, console)
    lines = {line.split()[0]: line.split() for line in console.export_text().splitlines() if line.split()}
    for name, figure in measures.figures.items():
        assert lines[name][1:4] == [f"{figure.value:.3f}", figure.better, str(figure.support)]


def without_plate_shares(moved):
    """Leave out the shares of sources, which the perfect run splits at the picture's middle."""
    return {
        name: value
        for name, value in moved.items()
        if not name.startswith(("plate_share_n", "plate_share_other", "plate_share_unsure"))
    }
