import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embed import EMBEDDERS
from models.embed.cluster import (
    NOISE,
    Clustering,
    ClusterRules,
    NameMatch,
    centroids,
    cluster,
    merge_named,
    name_clusters,
    vote_by_track,
)
from models.embed.crop import masked_crop
from tests.models.sample_film import plates, rows


def directions(count: int, copies: int, spread: float = 0.02, seed: int = 0) -> np.ndarray:
    """Return `copies` noisy unit rows around each of `count` axes."""
    random = np.random.default_rng(seed)
    vectors = np.repeat(np.eye(count, 40), copies, axis=0) + random.normal(0, spread, (count * copies, 40))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_characters_of_several_shots_are_two_pure_clusters():
    chosen = [row for shot in (3, 4, 7, 10) for row in rows(shot)]
    embedder = EMBEDDERS.load("efficientnet-lite0+colour")
    vectors = embedder.embed([masked_crop(row.image, row.alpha) for row in chosen])
    tracks = [row.track for row in chosen]
    votes = vote_by_track(cluster(vectors), tracks)
    assert {votes["4-luca"], votes["7-luca"], votes["10-luca"]} == {0}
    assert {votes["3-gia"], votes["4-gia"]} == {1}


def test_places_are_clusters_across_cameras():
    shots = {5: "beach", 3: "beach", 11: "kitchen", 7: "kitchen", 0: "portorosso", 1: "portorosso"}
    pictures = [(str(shot), picture) for shot in shots for picture in plates(shot)]
    vectors = EMBEDDERS.load("efficientnet-lite0+colour").embed([picture for _, picture in pictures])
    votes = vote_by_track(cluster(vectors), [shot for shot, _ in pictures])
    assert votes["5"] == votes["3"]
    assert votes["11"] == votes["7"]
    assert votes["0"] == votes["1"]
    assert len(set(votes.values()) - {NOISE}) == 3


def test_clusters_are_numbered_by_size_and_repeatable():
    vectors = np.concatenate([directions(1, 10), directions(3, 30)[30:]])
    one, other = cluster(vectors), cluster(vectors)
    assert one.labels.tobytes() == other.labels.tobytes()
    assert one.probabilities.tobytes() == other.probabilities.tobytes()
    assert one.labels.tolist() == [2] * 10 + [0] * 30 + [1] * 30


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_rows_are_one_cluster(count):
    found = cluster(directions(1, count) if count else np.zeros((0, 40), np.float32))
    assert found.labels.tolist() == [0] * count
    assert len(found.probabilities) == count


def test_an_outlier_stays_noise():
    vectors = np.concatenate([directions(2, 20), np.eye(40, dtype=np.float32)[39:]])
    found = cluster(vectors)
    assert found.labels[-1] == NOISE
    assert found.probabilities[-1] == 0
    assert sorted(set(found.labels.tolist())) == [NOISE, 0, 1]


def test_a_track_votes_as_one_and_may_abstain():
    found = Clustering(np.array([0, 0, 1, -1, -1, 1]), np.array([0.9, 0.8, 1.0, 0.0, 0.0, 0.5]))
    assert vote_by_track(found, ["a", "a", "a", "b", "b", "b"]) == {"a": 0, "b": NOISE}
    with pytest.raises(ValueError, match=r"shorter|longer"):
        vote_by_track(found, ["a"])


def test_names_need_likeness_and_a_lead():
    luca, gia, between, stranger = directions(4, 1, spread=0)
    twin = (luca + gia) / np.sqrt(2)
    means = {0: luca, 1: luca, 2: gia, 3: twin, 4: stranger}
    matches = name_clusters(means, {"luca": luca[None], "gia": np.stack([between, gia])}, min_similarity=0.7)
    assert {label: match.name for label, match in matches.items()} == {0: "luca", 1: "luca", 2: "gia"}
    assert matches[0].margin == pytest.approx(1.0)
    labels = np.array([0, 1, 2, 3, NOISE])
    assert merge_named(labels, matches).tolist() == [0, 0, 2, 3, NOISE]
    assert merge_named(labels, {2: NameMatch("gia", 1.0, 1.0)}).tolist() == labels.tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 1000))
def test_every_cluster_is_large_enough_and_has_a_centroid(count, size, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = cluster(vectors, ClusterRules(min_cluster_size=size))
    labels = found.labels[found.labels != NOISE]
    assert all((labels == label).sum() >= min(size, count) for label in set(labels.tolist()))
    assert set(centroids(vectors, found.labels)) == set(labels.tolist())
    assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
