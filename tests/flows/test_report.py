import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_contracts.records import Rejected
from flows.reports.graph import NODE_HEIGHT, NODE_WIDTH, column_of, lay_out
from flows.reports.pages import duration
from flows.reports.pictures import embed
from flows.reports.report import Found, found_by_lora, reasons_of, variants_of, write_report
from models.sheets import composition_sheet, lora_sheet
from tasks.run_record import StageUse
from tests.flows.report_run import Workspace
from tests.models.sheet_rows import drawn_lora_rows, evaluation_rows, lora_rows, stack_rows, validated_lora_rows

SHARP = [Rejected(id=f"f{n}", reason="too_blurred", value=float(n)) for n in (3, 1, 8)]
DAMAGE = Rejected(id="harbour", reason="film_damaged", value=34.5)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.anchors, self.tags, self.words = [], [], set(), set(), []
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.anchors.add(values.get("id"))
        if tag == "img":
            self.images.append(values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


def noise(width=400, height=300):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def whole_run(workspace, *, judged=False):
    loras = lora_rows(workspace.folder / "rows" / "a")
    stack = stack_rows(workspace.folder / "rows" / "b", ("luca", "run"), (1, 2), judged=judged)
    frames = workspace.finish("extract_frames", [], refused=[*SHARP, DAMAGE], sheet=noise())
    layers = workspace.finish("segment_layers", [], parents=[frames], reused=True, sheet=noise())
    trained = workspace.finish("train_lora", loras, label="luca", parents=[layers], sheet=lora_sheet(loras))
    workspace.finish("compose_loras", stack, parents=[trained], sheet=composition_sheet(stack))
    workspace.run.state = "finished"
    return workspace


def test_the_report_is_one_file_without_anything_from_outside(workspace):
    path = write_report(whole_run(workspace).folder, workspace.run, "harbour: all")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert path == workspace.folder / "reports" / workspace.run.name / "report.html"
    assert (workspace.folder / "report.html").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 15_000_000
    assert not page.tags & {"script", "link", "iframe"}
    assert "url(" not in text
    assert "http" not in re.sub(r"data:[^\"]+", "", text)
    assert all(link.removeprefix("#") in page.anchors for link in page.links)
    assert len(page.links) == 4


def test_every_picture_is_a_jpeg_with_words(workspace):
    text = write_report(whole_run(workspace).folder, workspace.run, "t").read_text()
    page = Page(text)
    assert len(page.images) == text.count("<figcaption>") == 4
    assert "lazy" not in text  # pages are printed whole, and nothing is spared where the data is in the page
    for image in page.images:
        head, _, data = image["src"].partition(",")
        assert head == "data:image/jpeg;base64"
        size = Image.open(io.BytesIO(base64.b64decode(data))).size
        assert size == (int(image["width"]), int(image["height"]))
        assert len(image["alt"]) > 20


def test_what_came_out_and_what_was_refused_is_said(workspace):
    text = Page(write_report(whole_run(workspace).folder, workspace.run, "harbour: all").read_text()).text
    for words in (
        "luca boy",
        "0.1532",
        "train_lora/",
        "too blurred",
    ):
        assert words in text
    assert "all 2" not in text
    assert re.search(r"too blurred\s+3\s+1\s+3\s+8", text)
    assert "harbour could be read only to second 34.5" in text.replace("  ", " ")
    assert "only luca" in text
    assert "1 min 23 s" in text


def test_the_report_names_an_embedding_beside_a_lora_and_one_alone(workspace):
    (row,) = lora_rows(workspace.folder / "rows" / "e")
    words = row.model_copy(update={"embedding": "words.safetensors"})
    workspace.finish("train_lora", [words], label="luca")
    alone = workspace.finish("train_lora", [words.model_copy(update={"weights": None})], label="gia")
    text = Page(write_report(workspace.folder, workspace.run, "t").read_text()).text
    assert text.count("/files/words.safetensors") == 2
    assert text.count(f"/files/{row.weights}") == 1
    assert f"{alone.key}/files/None" not in text


def test_the_report_says_what_held_out_pictures_showed(workspace):
    text = Page(write_report(whole_run(workspace).folder, workspace.run, "t").read_text()).text
    assert "Held-out loss" not in text
    loras = validated_lora_rows(workspace.folder / "rows" / "c")
    workspace.finish("train_lora", loras, label="gia")
    text = Page(write_report(workspace.folder, workspace.run, "t").read_text()).text
    assert "300 of 400 0.1532 0.9000 to 0.5500 (learnt: 0.4000)" in text
    assert "0.1532 not measured" in text
    assert "Copies" not in text
    workspace.finish("train_lora", drawn_lora_rows(workspace.folder / "rows" / "d"), label="pia")
    text = Page(write_report(workspace.folder, workspace.run, "t").read_text()).text
    assert "(learnt: 0.4000) 0.325 to 0.660 0 of 2" in text


def test_the_report_says_what_was_found(workspace):
    text = Page(write_report(whole_run(workspace, judged=True).folder, workspace.run, "t").read_text()).text
    assert "luca run all 2 Mean change" in text
    assert "all luca 0.8, run 0.8 2 100% 50% 50%" in text


def test_the_sets_of_weights_say_what_was_found_in_their_pictures(tmp_path):
    stack = stack_rows(tmp_path, ("luca", "run"), (1, 2, 3, 4), judged=True)
    by_name = {variant.name: variant for variant in variants_of(stack.rows)}
    assert by_name["base"].found == {"luca": 0, "run": 0}
    assert by_name["all"].found == {"luca": 1, "run": 0.5}
    assert (by_name["all"].pictures, by_name["all"].all_found) == (4, 0.5)
    assert by_name["without luca"].all_found == 0
    unjudged = variants_of(stack_rows(tmp_path, ("luca",), (1,)).rows)
    assert (unjudged[0].found, unjudged[0].all_found) == ({}, None)


def test_the_report_says_what_each_lora_adds(workspace):
    whole_run(workspace)
    workspace.finish("evaluate_lora", evaluation_rows(workspace.folder / "rows" / "c", judged=True), label="luca")
    text = Page(write_report(workspace.folder, workspace.run, "t").read_text()).text
    assert "Found without it Found with it Steps" in text
    assert re.search(r"luca character luca boy\s+0%\s+50% of 4", text)


def test_what_was_found_is_counted_for_each_lora_that_was_judged(tmp_path):
    assert found_by_lora(evaluation_rows(tmp_path / "a", judged=True).rows) == {"luca": Found(0, 0.5, 4)}
    assert found_by_lora(evaluation_rows(tmp_path / "b").rows) == {}


def test_a_failed_run_shows_its_error_and_what_is_done(workspace):
    frames = workspace.finish("extract_frames", [], sheet=noise())
    workspace.note("segment_layers", parents=[frames])
    workspace.run.state, workspace.run.error = "failed", "segment_layers: nothing was kept <at all>"
    text = write_report(workspace.folder, workspace.run, "t").read_text()
    assert "nothing was kept &lt;at all&gt;" in text
    page = Page(text)
    assert "Not finished: Segment layers" in page.text
    assert len(page.images) == 1


def test_a_run_that_has_done_nothing_has_a_report(workspace):
    assert "0 stages" in Page(write_report(workspace.folder, workspace.run, "t").read_text()).text


def test_runs_that_end_at_the_same_moment_do_not_tear_each_others_report(workspace):
    runs = [workspace.run.model_copy(update={"name": f"run-{number}"}) for number in range(40)]
    with ThreadPoolExecutor(4) as writers:
        paths = list(writers.map(lambda run: write_report(workspace.folder, run, run.name), runs))
    assert all(path.is_file() for path in paths)
    assert "0 stages" in Page((workspace.folder / "report.html").read_text()).text


def test_a_result_that_two_loras_share_is_shown_once(workspace):
    frames = workspace.finish("extract_frames", [], label="a", sheet=noise())
    workspace.run.stages.append(frames.model_copy(update={"label": "b"}))
    page = Page(write_report(workspace.folder, workspace.run, "t").read_text())
    assert len(page.images) == 1
    assert "The same result as “Extract frames: a”" in page.text


def test_words_of_the_film_cannot_become_markup(workspace):
    workspace.finish("extract_frames", [], label="<script>alert(1)</script>")
    text = write_report(workspace.folder, workspace.run, "<i>t</i>").read_text()
    assert not Page(text).tags & {"script", "i", "b"}


def test_pictures_are_shrunk_until_they_fit(tmp_path):
    paths = [tmp_path / f"{n}.jpg" for n in range(3)]
    for path in paths:
        noise(1200, 900).save(path, quality=95)
    found = embed(paths, 400_000)
    assert sum(len(each.uri) for each in found.values()) <= 400_000
    assert len({each.width for each in found.values()}) == 1
    assert embed(paths[:1])[paths[0]].width == 1200
    with pytest.raises(ValueError, match="3 pictures take"):
        embed(paths, 1000)


def test_reasons_say_the_range_of_the_deciding_numbers():
    rows = [*SHARP, Rejected(id="x", reason="not_a_whole_body")]
    (blurred, body) = reasons_of(rows)
    assert (blurred.name, blurred.items, blurred.values) == ("too_blurred", 3, (1, 3, 8))
    assert (body.items, body.values) == (1, None)


def test_durations():
    assert [duration(s) for s in (0.04, 59.9, 200, 7500)] == [
        "0.0 s",
        "59.9 s",
        "3 min 20 s",
        "2 h 5 min",
    ]


@given(st.lists(st.lists(st.integers(0, 30), max_size=3), min_size=1, max_size=14))
def test_every_stage_stands_right_of_its_parents_and_none_overlap(parents):
    uses = []
    for n, wanted in enumerate(parents):
        keys = tuple(sorted({uses[k % n].key for k in wanted})) if n else ()
        uses.append(StageUse(stage=f"s{n}", label="", digest=f"{n}", parents=keys, reused=False, seconds=0))
    columns = column_of(uses)
    for use in uses:
        assert all(columns[key.partition("/")[0]] < columns[use.stage] for key in use.parents)
    graph = lay_out(uses)
    boxes = [(node.x, node.y) for node in graph.nodes]
    assert len(boxes) == len(uses)
    for n, (x, y) in enumerate(boxes):
        assert 0 <= x <= graph.width - NODE_WIDTH
        assert 0 <= y <= graph.height - NODE_HEIGHT
        assert all(abs(x - u) >= NODE_WIDTH or abs(y - v) >= NODE_HEIGHT for u, v in boxes[:n])
