"""What the labels are worth: identities, places, actions and expressions against the truth; one function a family."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from data_contracts.dataset import Dataset
from data_contracts.records import Expression, Identity, Place, Pose
from flows.measuring.truth_join import TruthJoin
from models.metrics.classes import class_scores
from models.metrics.clustering import adjusted_rand, completeness, purity
from models.metrics.figure import Figures, figure, present, share

L = TypeVar("L", str, int)
UNKNOWN = "unknown"


def identity_figures(join: TruthJoin, rows: Dataset[Identity]) -> Figures:
    """Score who is who, over layers and over tracks; a layer that shows nobody is in no character's class."""
    truth = [join.shown[join.known_layer(row.layer_id)] for row in rows]
    tracks: dict[str, list[tuple[str, int]]] = {}
    for true, row in zip(truth, rows, strict=True):
        tracks.setdefault(row.track, []).append((true, row.cluster))
    by_track = [
        (_most_common(true for true, _ in pairs), _most_common(cluster for _, cluster in pairs))
        for pairs in tracks.values()
    ]
    visible = sum(1 for name in join.shown.values() if name)
    right, named = _named_right(truth, [row.name for row in rows])
    figures = _gathering("identity", "layers", [(true, row.cluster) for true, row in zip(truth, rows, strict=True)])
    figures |= _gathering("identity_track", "tracks", by_track)
    recall_note = "share named as the truth, of all layers that show a character"
    return figures | present(
        identity_named=figure(share(right, named), named, "share named as the truth, of the named layers"),
        identity_named_recall=figure(share(right, visible), visible, recall_note),
    )


def place_figures(join: TruthJoin, rows: Dataset[Place]) -> Figures:
    """Score which plate shows which place."""
    truth = [join.picture(row.frame).place for row in rows]
    right, named = _named_right(truth, [row.name for row in rows])
    rand = adjusted_rand(truth, [row.cluster for row in rows])
    return present(
        place_ari=figure(rand, len(rows), "adjusted Rand index over plates"),
        place_named=figure(share(right, named), named, "share named as the truth, of the named plates"),
        place_named_recall=figure(share(right, len(rows)), len(rows), "share named as the truth, of all plates"),
    )


def action_figures(join: TruthJoin, rows: Dataset[Pose]) -> Figures:
    """Score the action words, over all layers: one without a pose is a miss."""
    truth = {layer: character.pose for layer, character in join.layer_truth.items()}
    return _label_figures("action", truth, {join.known_layer(row.layer_id): row.action for row in rows})


def expression_figures(join: TruthJoin, rows: Dataset[Expression]) -> Figures:
    """Score the expressions, over all layers: one without a label, such as one seen from behind, is a miss."""
    truth = {layer: character.expression for layer, character in join.layer_truth.items()}
    return _label_figures("expression", truth, {join.known_layer(row.layer_id): row.label for row in rows})


def _gathering(family: str, items: str, pairs: Sequence[tuple[str, int]]) -> Figures:
    """Return purity over all (truth, cluster) pairs, and completeness over those that show a character."""
    clusters = [cluster for _, cluster in pairs]
    seen = [(true, cluster) for true, cluster in pairs if true]
    pure = purity([true for true, _ in pairs], clusters)
    complete = completeness([true for true, _ in seen], [cluster for _, cluster in seen])
    pure_note = f"share in a cluster mostly of their own; {items}"
    complete_note = f"share in their character's largest cluster; {items} that show one"
    return present(
        **{
            f"{family}_purity": figure(pure, len(pairs), pure_note),
            f"{family}_completeness": figure(complete, len(seen), complete_note),
        }
    )


def _label_figures(family: str, truth: Mapping[str, str], labels: Mapping[str, str]) -> Figures:
    """Return precision and recall of each class; both map layers to labels, `unknown` being none."""
    known = {layer: label for layer, label in labels.items() if label != UNKNOWN}
    layers = sorted({*truth, *known})
    scores = class_scores([truth.get(layer, "") for layer in layers], [known.get(layer, "") for layer in layers])
    figures: Figures = {}
    for name, score in scores.items():
        figures |= present(
            **{
                f"{family}_{name}_precision": figure(
                    score.precision, score.predicted, f"of the layers labelled {name}"
                ),
                f"{family}_{name}_recall": figure(score.recall, score.present, f"of the layers that are {name}"),
            }
        )
    return figures


def _named_right(truth: Sequence[str], names: Sequence[str]) -> tuple[int, int]:
    """Return how many names equal the truth, and how many are not empty."""
    return sum(bool(name) and name == true for true, name in zip(truth, names, strict=True)), sum(map(bool, names))


def _most_common(values: Iterable[L]) -> L:
    """Return the value that occurs most; of equals, the smallest."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))
