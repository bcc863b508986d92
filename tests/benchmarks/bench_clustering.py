"""Clustering of 5,000 to 100,000 embeddings: seconds, peak memory, purity and completeness; and HDBSCAN by itself.

Each size runs in a process of its own, whose peak memory is nothing else's:
`python -m tests.benchmarks.bench_clustering ours 20000` prints one as JSON.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from models.embed.cluster import NOISE, ClusterRules, cluster, principal_components
from models.embed.linkage import group_means
from models.metrics.clustering import completeness, purity

ROWS = (5_000, 10_000, 20_000, 40_000, 100_000)
ALONE = 20_000  # rows up to which HDBSCAN alone is asked
WIDTH, PER_TRACK, CAST, LOOKS = 512, 8, 12, 5
RULES = ClusterRules(min_cluster_size=4)


def film(rows: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return `(rows, 512)` unit rows in the order of a film, and who each shows.

    Eight near-duplicates a track. Nine tracks of ten show one of twelve characters, of whom two look alike, each
    from five sides; the others show somebody of the crowd, once. One row of twenty is blurred. The mean cosines are
    those of the sample film: .95 within a track, .84 within a character, .6 between two.
    """
    random = np.random.default_rng(seed)
    tracks = rows // PER_TRACK

    def directions(*shape: int) -> np.ndarray:
        drawn = random.normal(size=(*shape, WIDTH)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)

    who = random.choice(CAST, tracks, p=random.dirichlet(np.full(CAST, 2.0)))
    crowd = random.random(tracks) < 0.1
    who[crowd] = CAST + np.arange(crowd.sum())
    centres, sides = directions(CAST + int(crowd.sum())), directions(CAST + int(crowd.sum()), LOOKS)
    centres[1] = 0.6 * centres[0] + 0.8 * centres[1]
    seen = directions() * 0.77 + centres[who] * 0.46 + sides[who, random.integers(0, LOOKS, tracks)] * 0.28
    shots = np.repeat(seen + 0.26 * directions(tracks), PER_TRACK, axis=0)
    blur = np.where(random.random(len(shots)) < 0.05, 0.6, random.gamma(2.0, 0.08, len(shots))).astype(np.float32)
    vectors = shots + blur[:, None] * directions(len(shots))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, [str(one) for one in np.repeat(who, PER_TRACK)]


def measured(method: str, rows: int) -> dict[str, float]:
    vectors, truth = film(rows)
    started = time.monotonic()
    labels = cluster(vectors, RULES).labels if method == "ours" else hdbscan_alone(vectors)
    seconds = time.monotonic() - started
    return {
        "seconds": seconds,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "clusters": int(labels.max()) + 1,
        "noise": float((labels == NOISE).mean()),
        "purity": purity(truth, labels.tolist()),
        "completeness": completeness(truth, labels.tolist()),
    }


def hdbscan_alone(vectors: np.ndarray) -> np.ndarray:
    from hdbscan import HDBSCAN

    rules = {"min_cluster_size": RULES.min_cluster_size, "min_samples": RULES.min_samples}
    return HDBSCAN(**rules, core_dist_n_jobs=1).fit(principal_components(vectors, RULES.components)).labels_


def in_own_process(method: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_clustering", method, str(rows)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_the_film_is_as_alike_as_the_sample_film():
    vectors, truth = film(4_000)
    _, people = np.unique(truth, return_inverse=True)
    means, _ = group_means(vectors, people)
    cosines = means @ means.T
    large = np.flatnonzero(np.bincount(people) >= 100)
    others = ~np.eye(len(large), dtype=bool)
    assert 0.8 < np.diag(cosines)[large].mean() < 0.9
    assert 0.55 < cosines[np.ix_(large, large)][others].mean() < 0.68


@pytest.mark.timeout(3600)
def test_a_hundred_thousand_embeddings_take_minutes_and_little_memory():
    print(f"\n{'method':<14}{'rows':>8}{'s':>8}{'MB':>7}{'clusters':>10}{'noise':>7}{'purity':>8}{'completeness':>14}")
    runs = [("ours", rows) for rows in ROWS] + [("HDBSCAN alone", rows) for rows in ROWS if rows <= ALONE]
    found = {}
    for method, rows in runs:
        run = found[method, rows] = in_own_process(method, rows)
        print(
            f"{method:<14}{rows:>8}{run['seconds']:>8.1f}{run['megabytes']:>7.0f}{run['clusters']:>10}"
            f"{run['noise']:>7.2f}{run['purity']:>8.3f}{run['completeness']:>14.3f}",
            flush=True,
        )
    largest = found["ours", ROWS[-1]]
    assert largest["seconds"] < 600
    assert largest["megabytes"] < 4096
    assert largest["purity"] >= 0.99


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
