"""Decode each film once, find its shots and keep a few sharp, different frames of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_contracts.records import Frame, Rejected
from data_contracts.stages import ExtractFramesConfig, FilmSource
from models.pictures import Picture, encode_png, keep_bytes
from models.sheets import frames_sheet
from models.shots.cuts import with_cuts
from models.shots.film import Film, FilmFrame, fit_height, letterbox
from models.shots.quality import brightness, hash_distance, is_text_card, perceptual_hash, sharpness
from tasks.progress import report_progress
from tasks.stage import stage


@dataclass(frozen=True)
class Candidate:
    """A frame that may be kept, compressed: a shot's candidates wait in memory until its length is known."""

    number: int
    time_s: float
    png: bytes
    size: tuple[int, int]
    sharpness: float
    brightness: float
    perceptual_hash: str
    is_text: bool


@stage(Frame, version=1, by="film", sheet=frames_sheet)
def extract_frames(out: Path, films: tuple[FilmSource, ...], config: ExtractFramesConfig) -> Iterator[Frame | Rejected]:
    """Yield the frames that are spread over each shot; refuse dark, blurred, repeated and text frames."""
    for source in films:
        film = Film(source.path)
        box = letterbox(source.path)
        rows: list[Frame | Rejected] = []
        for index, (candidates, shot_end) in enumerate(shots_of(film, source, box, config)):
            rows += rows_of_shot(out, source.path.stem, index, candidates, shot_end, config)
        if film.damaged_at_s is not None:
            yield Rejected(id=f"{source.path.stem}:damage", reason="film_damaged", value=round(film.damaged_at_s, 3))
        for row in rows:
            frames = film.decoded if film.damaged_at_s is not None else max(film.decoded, film.facts.frames)
            yield row.model_copy(update={"film_frames": frames}) if isinstance(row, Frame) else row


def shots_of(
    film: Film, source: FilmSource, box: tuple[int, int, int, int], config: ExtractFramesConfig
) -> Iterator[tuple[list[Candidate], int]]:
    """Yield each shot's candidates and the film frame after its last."""
    stride, base = 1, max(1, round(config.every_s * film.facts.fps))
    start, candidates = source.from_frame, list[Candidate]()
    last = min(source.to_frame or film.facts.frames or 1, film.facts.frames or 1)
    for frame, is_cut in with_cuts(wanted_part(film, source, box, config), film.facts.fps, config.cut_threshold):
        if is_cut and candidates:
            yield candidates, frame.number
            start, candidates, stride = frame.number, [], 1
        if (frame.number - start) % stride == 0:
            candidates.append(candidate(frame))
            room = 2 * (config.min_per_shot if 2 * stride <= base else config.max_per_shot)
            if len(candidates) > room:
                # Short shots are looked at densely; as a shot grows, its candidates thin out.
                candidates, stride = candidates[::2], stride * 2
        report_progress((frame.number - source.from_frame) / max(1, last - source.from_frame), source.path.stem)
    if candidates:
        yield candidates, min(film.decoded, source.to_frame or film.decoded + 1)


def wanted_part(
    film: Film, source: FilmSource, box: tuple[int, int, int, int], config: ExtractFramesConfig
) -> Iterator[FilmFrame]:
    """Yield the frames that the project asks for, without letterbox, at working size."""
    for frame in film:
        if source.to_frame is not None and frame.number >= source.to_frame:
            return
        if frame.number >= source.from_frame:
            yield FilmFrame(frame.number, frame.time_s, fit(frame.rgb, box, config.max_height))


def candidate(frame: FilmFrame) -> Candidate:
    """Measure a frame and compress it."""
    rgb = frame.rgb
    size = (rgb.shape[1], rgb.shape[0])
    marks = (sharpness(rgb), brightness(rgb), perceptual_hash(rgb), is_text_card(rgb))
    return Candidate(frame.number, frame.time_s, encode_png(rgb), size, *marks)


def fit(rgb: Picture, box: tuple[int, int, int, int], max_height: int) -> Picture:
    """Cut the letterbox off and scale the picture down to at most `max_height` pixels of height."""
    x0, y0, x1, y1 = box
    return fit_height(rgb[y0:y1, x0:x1], max_height)


def rows_of_shot(
    out: Path, film: str, index: int, candidates: list[Candidate], end: int, config: ExtractFramesConfig
) -> Iterator[Frame | Rejected]:
    """Yield a shot's rows: candidates nearest to evenly spread moments, refused by the first rule they break."""
    start = candidates[0].number
    hashes: list[str] = []
    for chosen in spread(candidates, start, end, config):
        row_id = f"{film}:{chosen.number:06}"
        if fault := fault_of(chosen, hashes, config):
            yield Rejected(id=row_id, reason=fault[0], value=fault[1])
            continue
        hashes.append(chosen.perceptual_hash)
        yield Frame(
            id=row_id,
            film=film,
            shot=f"{film}:s{index:04}",
            frame=chosen.number,
            time_s=round(chosen.time_s, 4),
            image=keep_bytes(out, chosen.png, "png"),
            width=chosen.size[0],
            height=chosen.size[1],
            shot_start=start,
            shot_end=end,
            film_frames=end,
            sharpness=round(chosen.sharpness, 3),
            brightness=round(chosen.brightness, 3),
            perceptual_hash=chosen.perceptual_hash,
        )


def spread(candidates: list[Candidate], start: int, end: int, config: ExtractFramesConfig) -> list[Candidate]:
    """Return the candidates nearest to n evenly spread moments; n follows from the shot's length."""
    seconds = (candidates[-1].time_s - candidates[0].time_s) + config.every_s
    wanted = min(max(round(seconds / config.every_s), config.min_per_shot), config.max_per_shot)
    moments = [start + (end - start) * (n + 0.5) / wanted for n in range(wanted)]
    nearest = {min(candidates, key=lambda c: (abs(c.number - moment), c.number)).number for moment in moments}
    return [c for c in candidates if c.number in nearest]


def fault_of(frame: Candidate, hashes: list[str], config: ExtractFramesConfig) -> tuple[str, float] | None:
    """Return the reason and the number by which a frame is refused, or None."""
    if frame.brightness < config.min_brightness:
        return "too_dark", frame.brightness
    if frame.brightness > config.max_brightness:
        return "too_bright", frame.brightness
    if config.drop_text and frame.is_text:
        return "text_card", 1.0
    if frame.sharpness < config.min_sharpness:
        return "blurred", frame.sharpness
    nearest = min((hash_distance(frame.perceptual_hash, other) for other in hashes), default=65)
    if nearest <= config.max_duplicate_distance:
        return "near_duplicate", float(nearest)
    return None
