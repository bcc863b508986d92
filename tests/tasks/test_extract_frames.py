"""Frames out of real films: shots, letterbox, damage, parts, text."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from data_contracts.dataset import read_rows
from data_contracts.records import Rejected
from data_contracts.stages import ExtractFramesConfig, FilmSource
from models.pictures import read_rgb
from models.shots.film import Film, UnreadableFilm, film_facts, letterbox
from models.shots.quality import is_text_card
from tasks.extract_frames import extract_frames
from tasks.shards import journal_of

SAMPLE = Path(__file__).parents[2] / "samples" / "harbour" / "harbour.mp4"


def write_film(path: Path, pictures: list[np.ndarray], fps: int = 12) -> Path:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "g": "12"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def sample_frames() -> list[np.ndarray]:
    return [frame.rgb for frame in Film(SAMPLE) if frame.number < 400 and frame.number % 4 == 0]


def test_all_shots_of_the_sample_film_are_found(tmp_path):
    frames = extract_frames(tmp_path, (FilmSource(path=SAMPLE),), ExtractFramesConfig(max_height=144))
    starts = sorted({frame.shot_start for frame in frames})
    assert starts == [0, 96, 240, 336, 456, 576, 648, 744, 864, 936, 1056, 1152, 1224]
    assert {frame.film_frames for frame in frames} == {1344}
    assert all(frame.height == 144 and frame.width == 256 for frame in frames)
    assert all(frame.time_s == pytest.approx(frame.frame / 24, abs=0.05) for frame in frames)
    assert min(len(group) for group in frames.groups("shot").values()) >= 3


def test_a_part_of_a_film_keeps_the_films_own_numbers(tmp_path):
    source = FilmSource(path=SAMPLE, from_frame=300, to_frame=420)
    frames = extract_frames(tmp_path, (source,), ExtractFramesConfig(max_height=96))
    assert sorted({frame.shot_start for frame in frames}) == [300, 336]
    assert all(300 <= frame.frame < 420 for frame in frames)


def test_black_bars_are_cut_off(tmp_path, sample_frames):
    barred = []
    for picture in sample_frames[60:84]:
        canvas = np.zeros((384, 512, 3), np.uint8)
        canvas[48:336] = picture
        barred.append(canvas)
    film = write_film(tmp_path / "barred.mp4", barred)
    x0, y0, x1, y1 = letterbox(film)
    assert (x0, x1) == (0, 512)
    assert abs(y0 - 48) <= 2
    assert abs(y1 - 336) <= 2


def test_a_film_torn_in_the_middle_is_used_up_to_there(tmp_path, sample_frames):
    whole = write_film(tmp_path / "whole.mp4", sample_frames[:100])
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    frames = extract_frames(tmp_path / "work", (FilmSource(path=torn),), ExtractFramesConfig(max_height=96))
    damage = [r for r in read_rows(frames.folder / "rejected.parquet", Rejected) if r.reason == "film_damaged"]
    assert len(damage) == 1
    assert 1.0 < damage[0].value < 8.0
    assert max(frame.time_s for frame in frames) <= damage[0].value + 0.1
    assert len(frames) > 5


def test_dark_and_repeated_frames_are_refused_with_their_numbers(tmp_path, sample_frames):
    pictures = [sample_frames[0]] * 12 + [np.full_like(sample_frames[0], 4)] * 12 + sample_frames[60:72]
    film = write_film(tmp_path / "film.mp4", pictures)
    frames = extract_frames(tmp_path / "work", (FilmSource(path=film),), ExtractFramesConfig(every_s=0.2))
    refused = read_rows(frames.folder / "rejected.parquet", Rejected)
    assert {"too_dark", "near_duplicate"} <= {row.reason for row in refused}
    assert all(row.value is not None and row.value < 16 for row in refused if row.reason == "too_dark")


def test_text_cards_are_told_from_story(sample_frames):
    import cv2

    card = np.full((360, 640, 3), 20, np.uint8)
    for line in range(6):
        cv2.putText(card, "A NAME OF SOMEBODY", (180, 60 + 45 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (240,) * 3, 1)
    assert is_text_card(card)
    assert not any(is_text_card(picture) for picture in sample_frames[::10])


def test_kept_pictures_are_the_films_own(tmp_path):
    source = FilmSource(path=SAMPLE, from_frame=240, to_frame=336)
    frames = extract_frames(tmp_path, (source,), ExtractFramesConfig(max_height=1080))
    truth = {frame.number: frame.rgb for frame in Film(SAMPLE) if 240 <= frame.number < 336}
    for frame in frames:
        assert np.array_equal(read_rgb(frames.path(frame.image)), truth[frame.frame])


def test_what_is_no_film_is_said(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    with pytest.raises(UnreadableFilm, match=r"text\.mp4 is not a film"):
        film_facts(text)


def test_a_film_is_never_held_in_memory():
    code = (
        "import resource, sys; from pathlib import Path; from models.shots.film import Film\n"
        "film = Film(Path(sys.argv[1]))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "marks = [peak() for frame in film if frame.number % 300 == 299]\n"
        "sys.exit(marks[-1] - marks[0] > 60_000)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(SAMPLE)], check=False).returncode == 0


def test_without_a_film_only_that_film_is_gone(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (72, 96, 3), dtype=np.uint8) for _ in range(24)]
    films = tuple(
        FilmSource(path=write_film(tmp_path / f"{name}.mp4", pictures[:n])) for name, n in (("a", 12), ("b", 24))
    )
    config = ExtractFramesConfig(max_height=72, min_sharpness=0, max_duplicate_distance=-1)
    both = extract_frames(tmp_path / "work", films, config)
    alone = extract_frames(tmp_path / "work", films[1:], config)
    assert alone.rows == both.where("film", "b").rows
    assert alone.path(alone.rows[0].image).samefile(both.path(alone.rows[0].image))
    (entry,) = journal_of(alone.folder)
    assert entry["from"] == both.folder.name
