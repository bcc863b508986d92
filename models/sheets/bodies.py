"""Sheets of what characters do: poses as skeletons, expressions as faces."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from PIL import Image, ImageDraw

from data_contracts.dataset import Dataset
from data_contracts.records import Expression, Frame, Keypoint, Layer, Pose
from models.sheets.drawing import BLUE, FAINT, INK, ORANGE, PAPER, Colour, Picture, Size, clock, read
from models.sheets.page import Page, Section, Tile, draw_page

G = TypeVar("G", Pose, Expression)
Box = tuple[float, float, float, float]
SURE = 0.3  # less sure keypoints are not drawn, and their limbs neither
HEAD_SHARE = 0.35  # of a character's height, shown where no face was found
LIMBS: tuple[tuple[int, int], ...] = (  # pairs of COCO keypoints; odd ones are the character's left
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (11, 12), (5, 11), (6, 12)),
    *((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)),
)


def poses_sheet(poses: Dataset[Pose], layers: Dataset[Layer], frames: Dataset[Frame]) -> Picture | None:
    """Show each character with the skeleton that was found, by action."""
    sections = []
    for action, rows in _last_unknown(poses.groups("action")):
        tiles = [
            Tile(_skeleton(row, layers.by_id[row.layer_id], frames), f"{row.view} · {row.size}")
            for row in rows
            if row.layer_id in layers.by_id
        ]
        whole = sum(row.full_body for row in rows)
        sections.append(Section(tiles, action, f"{len(rows)} poses, {whole} with head and feet"))
    legend = ((BLUE, "left limbs"), (ORANGE, "right limbs"), ((120, 124, 132), "across the body"))
    note = f"keypoints below a confidence of {SURE} are left out"
    return draw_page(Page("Poses", "poses", note, aspect=1.25, columns=(6, 8), legend=legend), sections)


def expressions_sheet(
    expressions: Dataset[Expression], layers: Dataset[Layer], frames: Dataset[Frame]
) -> Picture | None:
    """Show faces by label; where no face was found, the top of the character."""
    sections = []
    for label, rows in _last_unknown(expressions.groups("label")):
        tiles = [
            Tile(_face(row, layers.by_id[row.layer_id], frames), f"{row.confidence:.2f} · {clock(row.time_s)}")
            for row in rows
            if row.layer_id in layers.by_id
        ]
        mean = sum(row.confidence for row in rows) / len(rows)
        faces = sum(row.face_box is not None for row in rows)
        sections.append(Section(tiles, label, f"{len(rows)} heads, {faces} with a face · mean confidence {mean:.2f}"))
    page = Page("Expressions", "heads", "below each: confidence · time", aspect=1.0, columns=(7, 8, 10))
    return draw_page(page, sections)


def draw_skeleton(picture: Picture, points: Sequence[Keypoint]) -> None:
    """Draw limbs and joints into the picture; points are `(x, y, confidence)` in its pixels."""
    draw = ImageDraw.Draw(picture)
    thick = max(2, picture.height // 60)
    dot = thick - 0.5
    for first, second in LIMBS:
        a, b = points[first], points[second]
        if min(a[2], b[2]) >= SURE:
            draw.line((a[0], a[1], b[0], b[1]), fill=INK, width=thick + 2)
            draw.line((a[0], a[1], b[0], b[1]), fill=_side(first, second), width=thick)
    for x, y, confidence in points:
        if confidence >= SURE:
            draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill=PAPER, outline=INK)


def _side(first: int, second: int) -> Colour:
    if first % 2 == 1 and second % 2 == 1:
        return BLUE
    if first % 2 == 0 and second % 2 == 0 and first > 0:
        return ORANGE
    return (190, 194, 202)


def _last_unknown(groups: dict[str, Dataset[G]]) -> list[tuple[str, Dataset[G]]]:
    return sorted(groups.items(), key=lambda group: (group[0] == "unknown", -len(group[1]), group[0]))


def _crop(frames: Dataset[Frame], layer: Layer, box: Box, size: Size) -> tuple[Picture, float, float, float]:
    """Cut the box out of the layer's frame, widened to the tile's proportions; return it with x0, y0 and its scale."""
    frame = frames.by_id.get(layer.frame_id)
    if frame is None:
        return Image.new("RGB", size, FAINT), box[0], box[1], 1.0
    width = max(box[2] - box[0], (box[3] - box[1]) * size[0] / size[1], 1.0)
    height = width * size[1] / size[0]
    x0, y0 = (box[0] + box[2] - width) / 2, (box[1] + box[3] - height) / 2
    corners = (x0, y0, x0 + width, y0 + height)
    picture = read(frames.path(frame.image)).transform(
        size, Image.Transform.EXTENT, corners, Image.Resampling.BICUBIC, fillcolor=FAINT
    )
    return picture, x0, y0, size[0] / width


def _skeleton(pose: Pose, layer: Layer, frames: Dataset[Frame]) -> Callable[[Size], Picture]:
    def draw(size: Size) -> Picture:
        sure = [point for point in pose.keypoints if point[2] >= SURE]
        xs = [layer.box[0], layer.box[2], *(point[0] for point in sure)]
        ys = [layer.box[1], layer.box[3], *(point[1] for point in sure)]
        air = 0.06 * max(max(xs) - min(xs), max(ys) - min(ys))
        box = (min(xs) - air, min(ys) - air, max(xs) + air, max(ys) + air)
        picture, x0, y0, scale = _crop(frames, layer, box, size)
        draw_skeleton(picture, [((x - x0) * scale, (y - y0) * scale, c) for x, y, c in pose.keypoints])
        return picture

    return draw


def _face(row: Expression, layer: Layer, frames: Dataset[Frame]) -> Callable[[Size], Picture]:
    x0, y0, x1, y1 = (float(edge) for edge in layer.box)
    box = (x0, y0, x1, y0 + HEAD_SHARE * (y1 - y0))
    if row.face_box is not None:
        side = max(row.face_box[2] - row.face_box[0], row.face_box[3] - row.face_box[1])
        air = 0.3 * side
        box = (row.face_box[0] - air, row.face_box[1] - air, row.face_box[2] + air, row.face_box[3] + air)
    return lambda size: _crop(frames, layer, box, size)[0]
