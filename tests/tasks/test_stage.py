"""The stage engine on toy bodies: reuse, shards, rejects, faults, locks. No Prefect server is needed."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from data_contracts.config import StageConfig
from data_contracts.dataset import Dataset, read_rows, write_rows
from data_contracts.digest import digest_of
from data_contracts.faults import StageFault
from data_contracts.manifest import Manifest
from data_contracts.records import Record, Rejected
from tasks.stage import stage


class Number(Record):
    shot: str
    value: int


class DoubleConfig(StageConfig):
    factor: int = 2
    above: int = 100


calls: list[str] = []


@stage(Number, version=1, by="shot")
def double(out: Path, numbers: Dataset[Number], config: DoubleConfig) -> Iterator[Number | Rejected]:
    calls.append(numbers.rows[0].shot)
    for row in numbers:
        if row.value < 0:
            msg = "the body broke"
            raise RuntimeError(msg)
        if row.value > config.above:
            yield Rejected(id=row.id, reason="too_large", value=row.value)
        else:
            yield Number(id=f"{row.id}:x", shot=row.shot, value=row.value * config.factor)


class WriteConfig(StageConfig):
    """No knobs."""


class Written(Number):
    file: str


@stage(Written, version=1, by="shot")
def write(out: Path, numbers: Dataset[Number], config: WriteConfig) -> Iterator[Written | Rejected]:
    for row in numbers:
        calls.append(row.shot)
        (out / f"{row.value}.txt").write_text(str(row.value))
        yield Written(**row.model_dump(), file=f"{row.value}.txt")


class OfFilm(Record):
    film: str
    shot: str
    others: int = 0


@stage(OfFilm, version=1, by="shot", of_film=("film_frames",))
def neighbours(
    out: Path, frames: Dataset[OfFilm], film_frames: Dataset[OfFilm], config: StageConfig
) -> Iterator[OfFilm | Rejected]:
    calls.append(frames.rows[0].shot)
    yield frames.rows[0].model_copy(update={"others": len(film_frames)})


def numbers(*values: int, shots: int = 3) -> Dataset[Number]:
    rows = [Number(id=f"n{i}", shot=f"film:s{i % shots}", value=value) for i, value in enumerate(values)]
    return Dataset(Number, Path("unused"), rows)


@pytest.fixture(autouse=True)
def _fresh_calls():
    calls.clear()


def test_rows_come_out_in_the_order_of_their_shards(tmp_path):
    result = double(tmp_path, numbers(1, 2, 3, 4), DoubleConfig())
    assert [row.value for row in result] == [2, 8, 4, 6]
    assert calls == ["film:s0", "film:s1", "film:s2"]


def test_a_finished_stage_is_reused(tmp_path):
    first = double(tmp_path, numbers(1, 2, 3), DoubleConfig())
    again = double(tmp_path, numbers(1, 2, 3), DoubleConfig())
    assert again.rows == first.rows
    assert len(calls) == 3


def test_the_log_says_what_came_of_each_stage(tmp_path, caplog):
    for _ in range(2):
        double(tmp_path, numbers(1, 700, 3), DoubleConfig())
    assert [record.message for record in caplog.records] == [
        "double: 2 kept, 1 refused, 0 s",
        "double: 2 kept, 1 refused, reused",
    ]


def test_another_configuration_is_another_result(tmp_path):
    double(tmp_path, numbers(1), DoubleConfig())
    assert double(tmp_path, numbers(1), DoubleConfig(factor=3)).rows[0].value == 3
    assert len(list((tmp_path / "double").iterdir())) == 2


def test_limits_of_acceptance_do_not_change_the_digest(tmp_path):
    double(tmp_path, numbers(1, 500), DoubleConfig())
    double(tmp_path, numbers(1, 500), DoubleConfig(max_rejected_share=0.9, may_be_empty=True))
    assert len(calls) == 2


def test_a_broken_shard_leaves_the_finished_ones(tmp_path):
    broken = numbers(1, 2, -3)
    with pytest.raises(RuntimeError, match="broke"):
        double(tmp_path, broken, DoubleConfig())
    (folder,) = (tmp_path / "double").iterdir()
    assert not (folder / "manifest.json").exists()
    assert sorted(p.name for p in (folder / "parts").glob("*s?.parquet")) == ["film-s0.parquet", "film-s1.parquet"]
    with pytest.raises(RuntimeError, match="broke"):
        double(tmp_path, broken, DoubleConfig())
    assert calls == ["film:s0", "film:s1", "film:s2", "film:s2"]


def test_rejects_keep_reason_number_and_shard(tmp_path):
    result = double(tmp_path, numbers(1, 700), DoubleConfig())
    (refused,) = read_rows(result.folder / "rejected.parquet", Rejected)
    assert (refused.reason, refused.value, refused.shard) == ("too_large", 700, "film-s1")
    manifest = Manifest.load(result.folder)
    assert manifest is not None
    assert manifest.counts.rejected == {"too_large": 1}
    assert manifest.content_digest == result.content_digest


def test_an_empty_result_is_an_error_unless_it_may_be(tmp_path):
    with pytest.raises(StageFault, match=r"double: nothing was kept of 1 refused items \(too_large\)"):
        double(tmp_path, numbers(700), DoubleConfig())
    assert len(double(tmp_path, numbers(700), DoubleConfig(may_be_empty=True))) == 0
    assert len(calls) == 1


def test_too_many_rejects_are_an_error(tmp_path):
    with pytest.raises(StageFault, match="67% of the items were refused"):
        double(tmp_path, numbers(1, 700, 800), DoubleConfig(max_rejected_share=0.5))


def test_two_callers_compute_a_result_once(tmp_path):
    results = []
    callers = [
        threading.Thread(target=lambda: results.append(double(tmp_path, numbers(1, 2, 3), DoubleConfig())))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [r.content_digest for r in results] == [results[0].content_digest] * 4
    assert sorted(calls) == ["film:s0", "film:s1", "film:s2"]


def test_the_journal_names_each_shard_once(tmp_path):
    result = double(tmp_path, numbers(1, 2, 3), DoubleConfig())
    lines = (result.folder / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["shard"] for line in lines] == ["film-s0", "film-s1", "film-s2"]


def test_a_file_counts_by_its_content_not_its_name(tmp_path):
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    one.write_bytes(b"film")
    other.write_bytes(b"film")
    assert digest_of(one) == digest_of(other)
    other.write_bytes(b"filn")
    assert digest_of(one) != digest_of(other)


def test_a_file_name_may_not_leave_its_dataset(tmp_path):
    with pytest.raises(ValueError, match="leaves its dataset"):
        Dataset(Number, tmp_path, []).path("../../secret")


@given(st.lists(st.integers(-(2**40), 2**40)))
def test_rows_survive_parquet(values):
    import tempfile

    rows = tuple(Number(id=str(i), shot="ä", value=value) for i, value in enumerate(values))
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.parquet", rows)
        assert read_rows(Path(folder) / "rows.parquet", Number) == rows


@given(st.permutations(list(range(6))))
def test_the_content_digest_depends_on_rows_and_their_order(order):
    rows = [Number(id=str(i), shot="s", value=i) for i in range(6)]
    shuffled = Dataset(Number, Path("elsewhere"), [rows[i] for i in order])
    same = shuffled.content_digest == Dataset(Number, Path("here"), rows).content_digest
    assert same == (list(order) == list(range(6)))


def test_the_stage_engine_needs_neither_torch_nor_a_server():
    code = "import sys, tasks.stage; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@stage(Number, version=1, by="shot")
def fill_disk(out: Path, numbers: Dataset[Number], config: StageConfig) -> Iterator[Number | Rejected]:
    calls.append(numbers.rows[0].shot)
    for row in numbers:
        (out / row.id).write_bytes(bytes(200_000))
        yield row


def test_a_full_disk_is_said_and_what_is_finished_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(StageFault, match=r"fill_disk: the disk that holds workspace 'disk' is full"):
            fill_disk(disk, numbers(1, 2, 3), StageConfig())
        finished = len(list(disk.glob("fill_disk/*/parts/film-s?.parquet")))
        assert 0 < finished < 3
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert len(fill_disk(disk, numbers(1, 2, 3), StageConfig())) == 3
        assert len(calls) == 3 + 1  # only the shard that broke was begun twice
    finally:
        # Lazily: until garbage is collected, the fault's frames keep files on the disk open.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_where_something_is_computed_does_not_change_the_digest():
    class Served(StageConfig):
        server: str = Field(default="", json_schema_extra={"digest": False})
        model: str = ""

    assert digest_of(Served(server="http://a")) == digest_of(Served(server="http://b"))
    assert digest_of(Served(model="a")) != digest_of(Served(model="b"))


def test_a_shard_that_another_result_has_finished_is_linked_not_computed(tmp_path):
    first = write(tmp_path, numbers(1, 2, 3), WriteConfig())
    calls.clear()
    again = write(tmp_path, numbers(1, 2, 30), WriteConfig())
    assert calls == ["film:s2"]
    assert [row.value for row in again] == [1, 2, 30]
    for row in again.rows[:2]:
        assert again.path(row.file).read_text() == str(row.value)
        assert again.path(row.file).samefile(first.path(row.file))
    entries = [json.loads(line) for line in (again.folder / "journal.jsonl").read_text().splitlines()]
    assert [entry.get("from") for entry in entries] == [first.folder.name, first.folder.name, None]


def test_refused_rows_of_a_linked_shard_carry_its_name_here(tmp_path):
    double(tmp_path, numbers(500, 1), DoubleConfig(max_rejected_share=0.9))
    again = double(tmp_path, numbers(500, 2), DoubleConfig(max_rejected_share=0.9))
    assert [(row.id, row.shard) for row in read_rows(again.folder / "rejected.parquet", Rejected)] == [
        ("n0", "film-s0")
    ]


def test_a_shard_whose_files_are_gone_is_computed_again(tmp_path):
    first = write(tmp_path, numbers(1, 2, 3), WriteConfig())
    calls.clear()
    (first.folder / "parts" / "film-s0.parquet").unlink()
    write(tmp_path, numbers(1, 2, 30), WriteConfig())
    assert calls == ["film:s0", "film:s2"]


def test_an_input_of_the_film_is_cut_to_it(tmp_path):
    rows = [OfFilm(id=f"{film}{n}", film=film, shot=f"{film}:s{n}") for film in "ab" for n in range(2)]
    frames = Dataset(OfFilm, tmp_path, rows)
    assert [row.others for row in neighbours(tmp_path, frames, frames, StageConfig())] == [2, 2, 2, 2]
    calls.clear()
    without = frames.select(lambda row: row.film == "a")
    assert len(neighbours(tmp_path, without, without, StageConfig())) == 2
    assert calls == []
