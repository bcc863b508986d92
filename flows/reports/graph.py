"""The run's graph, laid out for the report: a column for each stage, in the order in which results were handed on."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.run_record import StageUse

NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y, MARGIN = 100, 82, 22, 12, 4


@dataclass(frozen=True)
class Node:
    """One stage of the run, its top left corner in pixels."""

    use: StageUse
    x: int
    y: int


@dataclass(frozen=True)
class Graph:
    """Nodes, edges as SVG paths, and the size of the drawing."""

    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    width: int
    height: int


def lay_out(uses: Sequence[StageUse]) -> Graph:
    """Give each stage a place: columns by the longest way from the film, rows in the order of the run."""
    depths = column_of(uses)
    columns: dict[int, list[StageUse]] = {}
    for use in uses:
        columns.setdefault(depths[use.stage], []).append(use)
    tallest = max((len(column) for column in columns.values()), default=0)
    height = tallest * (NODE_HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    nodes = [
        Node(use, MARGIN + depth * (NODE_WIDTH + GAP_X), _top(row, len(columns[depth]), height))
        for depth in sorted(columns)
        for row, use in enumerate(columns[depth])
    ]
    edges = [_curve(parent, node) for node in nodes for parent in _parents(node, nodes)]
    width = 2 * MARGIN + len(columns) * (NODE_WIDTH + GAP_X) - GAP_X
    return Graph(tuple(nodes), tuple(edges), width, height)


def column_of(uses: Sequence[StageUse]) -> dict[str, int]:
    """Return each stage's column, one beyond its furthest parent's; uses stand after their parents."""
    names = {use.key: use.stage for use in uses}
    depths = dict.fromkeys((use.stage for use in uses), 0)
    for _ in depths:  # as often as the longest way can be: a stage's later use may push its column on
        for use in uses:
            before = [depths[names[key]] + 1 for key in use.parents if names.get(key, use.stage) != use.stage]
            depths[use.stage] = min(max([depths[use.stage], *before]), len(depths) - 1)
    used = sorted(set(depths.values()))
    return {stage: used.index(depth) for stage, depth in depths.items()}


def _top(row: int, rows: int, height: int) -> int:
    taken = rows * (NODE_HEIGHT + GAP_Y) - GAP_Y
    return (height - taken) // 2 + row * (NODE_HEIGHT + GAP_Y)


def _parents(node: Node, nodes: Sequence[Node]) -> list[Node]:
    """Find whose results went in; where two LoRAs share a result, the node of the same label."""
    found = []
    for key in dict.fromkeys(node.use.parents):
        same = [other for other in nodes if other.use.key == key]
        found += [other for other in same if other.use.label == node.use.label][:1] or same[:1]
    return found


def _curve(parent: Node, node: Node) -> str:
    x0, y0 = parent.x + NODE_WIDTH, parent.y + NODE_HEIGHT // 2
    x1, y1 = node.x, node.y + NODE_HEIGHT // 2
    bend = max(16, (x1 - x0) // 2)
    return f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"
