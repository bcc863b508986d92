import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from data_contracts.dataset import Dataset
from data_contracts.records import Caption, Example, Expression, Frame, Identity, Layer, Place, Plate, Pose
from data_contracts.results import Evaluation, LoraFile, LoraWeight, StackPicture, WayPicture, WeightTrial
from data_contracts.stages import FilmSource
from models import sheets
from models.sheets.bodies import draw_skeleton
from models.sheets.drawing import GREEN, MAGENTA, clock, evenly, fit, font, wrap
from models.sheets.drawn import shown
from models.sheets.film import origins, overlay
from models.sheets.page import HEIGHT, MARGIN, WIDTH, Page, Section, Tile, draw_page, rows_by_section
from models.sheets.training import smooth
from tests.models.sheet_rows import (
    HARBOUR,
    Rows,
    drawn_lora_rows,
    evaluation_rows,
    lora_rows,
    stack_rows,
    validated_lora_rows,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Rows:
    return Rows(tmp_path_factory.mktemp("rows"), every=18)


def film_sheets(rows: Rows) -> dict[str, Image.Image | None]:
    frames, layers, plates = rows.of(Frame), rows.of(Layer), rows.of(Plate)
    return {
        "frames": sheets.frames_sheet(frames, [FilmSource(path=HARBOUR / "harbour.mp4")]),
        "layers": sheets.layers_sheet(layers, frames),
        "plates": sheets.plates_sheet(plates, frames, layers),
        "places": sheets.places_sheet(rows.of(Place), plates),
        "identities": sheets.identities_sheet(rows.of(Identity), layers),
        "poses": sheets.poses_sheet(rows.of(Pose), layers, frames),
        "expressions": sheets.expressions_sheet(rows.of(Expression), layers, frames),
        "captions": sheets.captions_sheet(rows.of(Caption), layers, frames, None, HARBOUR),
        "examples": sheets.examples_sheet(rows.of(Example), rows.of(Caption), frames, layers),
    }


def test_every_sheet_of_the_film_is_a_bounded_rgb_picture_and_the_same_each_time(rows):
    first, second = film_sheets(rows), film_sheets(rows)
    for name, sheet in first.items():
        assert sheet is not None, name
        assert sheet.mode == "RGB"
        assert sheet.width == WIDTH
        assert 100 < sheet.height <= HEIGHT + 40, name
        assert np.asarray(sheet).std() > 10, f"{name} is nearly empty"
        assert sheet.tobytes() == second[name].tobytes(), name


def test_sheets_without_rows_are_none(tmp_path):
    def none(kind):
        return Dataset(kind, tmp_path, ())

    frames, layers, plates = none(Frame), none(Layer), none(Plate)
    assert sheets.frames_sheet(frames, []) is None
    assert sheets.layers_sheet(layers, frames) is None
    assert sheets.plates_sheet(plates, frames, layers) is None
    assert sheets.places_sheet(none(Place), plates) is None
    assert sheets.identities_sheet(none(Identity), layers) is None
    assert sheets.poses_sheet(none(Pose), layers, frames) is None
    assert sheets.expressions_sheet(none(Expression), layers, frames) is None
    assert sheets.captions_sheet(none(Caption), layers) is None
    assert sheets.examples_sheet(none(Example)) is None
    assert sheets.lora_sheet(none(LoraFile)) is None
    assert sheets.evaluation_sheet(none(Evaluation)) is None
    assert sheets.composition_sheet(none(StackPicture)) is None
    assert sheets.stacking_sheet(none(WayPicture)) is None


def test_the_lora_sheet_shows_curve_and_samples(tmp_path):
    sheet = sheets.lora_sheet(lora_rows(tmp_path), "examples", tmp_path)
    assert sheet is not None
    assert sheet.height > 500


def test_the_lora_sheet_marks_the_chosen_step_on_the_validations(tmp_path):
    def green(sheet):
        return int((np.abs(np.asarray(sheet).astype(int) - (27, 122, 67)).max(axis=2) < 12).sum())

    plain, validated = (
        sheets.lora_sheet(lora_rows(tmp_path / "a")),
        sheets.lora_sheet(validated_lora_rows(tmp_path / "b")),
    )
    assert green(validated) > green(plain) + 100
    assert abs(plain.height - validated.height) < 20  # both curves side by side


def test_what_validations_drew_is_shown_by_caption_and_step(tmp_path):
    plain = sheets.lora_sheet(validated_lora_rows(tmp_path / "a"))
    loras = drawn_lora_rows(tmp_path / "b")
    drawn = sheets.lora_sheet(loras)
    assert (drawn.mode, drawn.width) == ("RGB", WIDTH)
    assert drawn.height > plain.height + 300  # a row for each caption
    assert shown(list(range(0, 1200, 100)), loras.rows[0].model_copy(update={"chosen_step": 500})) == [
        0, 200, 300, 500, 600, 800, 900, 1100,
    ]  # fmt: skip
    assert 300 in shown([0, 100, 200, 300, 400], loras.rows[0])


def test_what_was_found_is_green_below_its_picture(tmp_path):
    def green(sheet):
        pixels = np.asarray(sheet).astype(int)
        return int(((pixels[..., 1] > 120) & (pixels[..., 0] < 80) & (pixels[..., 2] < 120)).sum())

    plain = sheets.composition_sheet(stack_rows(tmp_path / "a", ("luca", "run"), (1, 2)))
    judged = sheets.composition_sheet(stack_rows(tmp_path / "a", ("luca", "run"), (1, 2), judged=True))
    assert green(judged) > green(plain) + 200
    assert judged.height >= plain.height


def test_the_composition_grid_has_a_column_for_each_variant_and_a_row_for_each_seed(tmp_path):
    small = sheets.composition_sheet(stack_rows(tmp_path / "a", ("luca",), (1,)))
    wide = sheets.composition_sheet(stack_rows(tmp_path / "b", ("a", "b", "c", "d"), (1, 2, 3)))
    assert small.width == WIDTH
    assert wide.width > 10 * 136  # ten variants, none smaller than the smallest cell
    assert sheets.evaluation_sheet(evaluation_rows(tmp_path / "c"), "lora").width == WIDTH


def test_origins_are_coloured_by_class():
    plate = Image.new("RGB", (3, 1), (100, 100, 100))
    classes = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    own, neighbour, network = np.asarray(origins(plate, classes))[0].astype(int)
    assert np.ptp(own) < 10
    assert neighbour.argmax() == np.argmax(GREEN)
    assert network.argmax() == np.argmax(MAGENTA)


def test_an_overlay_changes_only_what_the_mask_covers():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    before = Image.new("RGB", (40, 40), (90, 90, 90))
    changed = np.any(np.asarray(overlay(before, Image.fromarray(mask), (255, 0, 0))) != 90, axis=-1)
    assert changed[10:30, 10:30].all()
    assert not changed[:8].any()
    assert not changed[:, 33:].any()


def test_unsure_keypoints_are_not_drawn():
    blank = Image.new("RGB", (60, 60), (255, 255, 255))
    draw_skeleton(blank, [(5.0 + n, 8.0 + 2 * n, 0.1) for n in range(17)])
    assert np.asarray(blank).min() == 255


def test_the_running_mean_ends_with_what_there_is():
    assert smooth(np.array([1.0, 3.0, 5.0, 9.0]), 3).tolist() == [2.0, 3.0, 17 / 3, 7.0]
    assert smooth(np.array([1.0, 3.0]), 1).tolist() == [1.0, 3.0]


def test_clock():
    assert [clock(0), clock(4.56), clock(62.5), clock(599.99)] == ["0:00.0", "0:04.6", "1:02.5", "10:00.0"]


@given(st.integers(0, 300), st.integers(1, 60))
def test_even_samples_keep_both_ends_and_the_order(total, count):
    chosen = evenly(range(total), count)
    assert len(chosen) == min(total, count)
    assert chosen == sorted(set(chosen))
    if count > 1 and total:
        assert (chosen[0], chosen[-1]) == (0, total - 1)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.integers(1, 10), st.integers(1, 20))
def test_rows_stay_within_the_budget_and_waste_none(counts, columns, budget):
    rows = rows_by_section(counts, columns, budget)
    assert sum(rows) <= max(budget, 1)
    assert all(0 < has <= -(-count // columns) for has, count in zip(rows, counts, strict=False))
    if sum(rows) < budget:
        assert all(has * columns >= count for has, count in zip(rows, counts, strict=True))


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.floats(0.2, 2), st.integers(0, 4))
def test_a_page_never_grows_beyond_its_bound(counts, aspect, text_lines):
    def blank(size):
        return Image.new("RGB", (1, 1))

    sections = [Section([Tile(blank, "x")] * count, f"group {n}") for n, count in enumerate(counts)]
    sheet = draw_page(Page("Title", "tiles", aspect=aspect, columns=(6, 8), text_lines=text_lines), sections)
    assert sheet.width == WIDTH
    assert sheet.height <= HEIGHT


def test_a_heading_that_is_too_long_leaves_the_margin_free():
    section = Section([Tile(lambda size: Image.new("RGB", size), "")], heading="a town street, " * 20, note="12 tiles")
    sheet = np.asarray(draw_page(Page("Title", "tiles", "", 0.5, (4,), 1), [section]))
    assert (sheet[:, -MARGIN:] == sheet[0, -1]).all(axis=2).mean() > 0.99  # but for the rule above the heading
    assert (sheet[:, :-MARGIN] != 255).any()


@given(st.text(max_size=200), st.integers(20, 300), st.integers(1, 5))
def test_wrapped_text_fits(text, width, most):
    lines = wrap(text, width, font(13), most)
    assert len(lines) <= most
    assert all(font(13).getlength(line) <= width for line in lines)


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_fitted_picture_lies_within_its_box(width, height):
    fitted = fit(Image.new("RGB", (width, height)), (120, 90))
    assert fitted.width <= 120
    assert fitted.height <= 90


def trial(number: int, *weights: float, recommended: bool = False) -> WeightTrial:
    scores = tuple(round(0.2 + 0.1 * number + 0.02 * seed, 4) for seed in range(4))
    named = tuple(LoraWeight(lora=lora, weight=weight) for lora, weight in zip(("luca", "town"), weights, strict=True))
    return WeightTrial(
        id=f"{number:03}", origin="proposed" if number else "configured", weights=named, seeds=(1, 2, 3, 4),
        scores=scores, score=sum(scores) / 4, found=(0.5, 0.5), best_in=float(recommended), recommended=recommended,
    )  # fmt: skip


def test_the_search_for_weights_is_seen_lora_by_lora(tmp_path):
    tried = [trial(0, 1.0, 0.8), trial(1, 0.5, 0.9), trial(2, 0.7, 1.0, recommended=True)]
    sheet = sheets.weights_sheet(Dataset(WeightTrial, tmp_path, tried))
    assert sheet.width == WIDTH
    assert (np.asarray(sheet).reshape(-1, 3) == ImageColor.getrgb("#1b7a43")).all(1).any()
    worse = [each.model_copy(update={"recommended": each.id == "001"}) for each in tried]
    assert sheets.weights_sheet(Dataset(WeightTrial, tmp_path, worse)).tobytes() != sheet.tobytes()
    assert sheets.weights_sheet(Dataset(WeightTrial, tmp_path, [])) is None
