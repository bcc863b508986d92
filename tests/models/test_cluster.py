import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.embed import EMBEDDERS
from models.embed.cluster import (
    NOISE,
    PART_ROWS,
    Clustering,
    ClusterRules,
    NameMatch,
    centroids,
    cluster,
    dense_fragments,
    merge_named,
    name_clusters,
    vote_by_track,
    without_loose,
)
from models.embed.crop import masked_crop
from models.embed.linkage import unite
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


def test_strangers_who_are_each_others_nearest_are_no_cluster():
    vectors = np.random.default_rng(2).normal(size=(300, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rules = ClusterRules(min_cluster_size=4)
    fragments, _ = dense_fragments(vectors, rules)
    assert (fragments != NOISE).any()
    assert cluster(vectors, rules).labels.tolist() == [NOISE] * 300
    assert without_loose(vectors, fragments, -1.0).tolist() == fragments.tolist()


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


def nearest_pair_first(vectors: np.ndarray, fragments: np.ndarray, limit: float) -> list[frozenset[int]]:
    """Return the groups of average linkage by its definition: the two most alike of all become one, again and again."""
    groups = [frozenset(np.flatnonzero(fragments == one).tolist()) for one in set(fragments.tolist()) - {NOISE}]
    groups += [frozenset([row]) for row in np.flatnonzero(fragments == NOISE).tolist()]
    cosines = vectors.astype(np.float64) @ vectors.T
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
        cosine, i, j = max((cosines[np.ix_([*groups[i]], [*groups[j]])].mean(), i, j) for i, j in pairs)
        if cosine < limit:
            break
        groups[j] |= groups.pop(i)
    return groups


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 24), st.integers(2, 8), st.floats(-0.3, 0.9), st.integers(0, 10_000))
def test_uniting_many_pairs_at_once_is_average_linkage(count, width, limit, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, width)) + random.normal(size=width)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    fragments = random.integers(-1, 6, count)
    labels = unite(vectors, fragments, limit)
    found = {frozenset(np.flatnonzero(labels == label).tolist()) for label in labels}
    assert found == set(nearest_pair_first(vectors, fragments, limit))


def test_equal_rows_become_one_however_many():
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 50, axis=0)
    labels = unite(vectors, np.full(150, NOISE), 0.5)
    assert [set(part) for part in labels.reshape(3, 50).tolist()] == [{0}, {50}, {100}]


def test_more_rows_than_hdbscan_sees_at_a_time_give_the_same_clusters():
    scenes = directions(7, 1500, spread=0.05).reshape(7, 30, 50, 40).swapaxes(0, 1)  # scene, character, row
    vectors = np.ascontiguousarray(scenes.reshape(-1, 40))
    truth = np.tile(np.repeat(np.arange(7), 50), 30)
    assert len(vectors) > 2 * PART_ROWS
    labels = cluster(vectors).labels
    assert [len(set(labels[truth == one].tolist())) for one in range(7)] == [1] * 7
    assert sorted(set(labels.tolist())) == list(range(7))
