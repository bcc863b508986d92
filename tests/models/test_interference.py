"""Planted interference is found, with its sign and size; what is not there is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.composition import ALL, BASE, FEWEST_SEEDS, Change, Effect, only, pair, without
from data_contracts.results import Finding, LoraWeight, StackPicture
from models.metrics.interference import effects, paired_change, redundant, scores_of, verdicts
from models.metrics.weight_choice import best_in_draws, joint_score, weight_interval

NAMES = ("luca", "portorosso", "happy")
SEEDS = tuple(range(1, 13))


def picture(variant: str, seed: int, scores: dict[str, float]) -> StackPicture:
    return StackPicture(
        id=f"{seed}:{variant}", variant=variant, weights=(LoraWeight(lora="luca", weight=1),), prompt="p", seed=seed,
        image="a.png", changed=0.0, findings=tuple(Finding(lora=k, probability=v) for k, v in scores.items()),
    )  # fmt: skip


def planted(disturbance: float, seeds: tuple[int, ...] = SEEDS) -> list[StackPicture]:
    """A stack in which portorosso takes `disturbance` from luca, and every LoRA adds 0.4 to its own score."""
    rng = np.random.default_rng(3)
    rows = []
    for seed in seeds:
        level = dict(zip(NAMES, rng.uniform(0.2, 0.4, 3), strict=True))  # what the seed itself is good for
        sets = {BASE: ()} | {only(name): (name,) for name in NAMES} | {ALL: NAMES}
        sets |= {without(out): tuple(name for name in NAMES if name != out) for out in NAMES}
        sets |= {pair("luca", "portorosso"): ("luca", "portorosso")}
        for variant, inside in sets.items():
            scores = {name: level[name] + 0.4 * (name in inside) + rng.uniform(-0.01, 0.01) for name in NAMES}
            if {"luca", "portorosso"} <= set(inside):
                scores["luca"] -= disturbance
            rows.append(picture(variant, seed, scores))
    return rows


def test_a_planted_disturbance_is_found_in_the_stack_and_in_the_pair():
    found = {(each.of, each.by, each.where): each.change for each in effects(scores_of(planted(0.3)), NAMES)}
    for where in ("stack", "pair"):
        change = found["luca", "portorosso", where]
        assert change.mean == pytest.approx(-0.3, abs=0.02)
        assert change.is_lower
        assert change.low <= change.mean <= change.high < -0.25
    assert not found["portorosso", "luca", "stack"].is_lower
    assert found["happy", "happy", "stack"].mean == pytest.approx(0.4, abs=0.02)
    assert found["luca", "luca", "alone"].is_higher
    assert ("happy", "happy", "pair") not in found
    assert ("happy", "luca", "pair") not in found  # it was not drawn


def test_verdicts_name_who_disturbs_whom_and_nobody_else():
    found = effects(scores_of(planted(0.3)), NAMES)
    lines = verdicts(found, ())
    assert any(line.startswith("portorosso lowers luca's score by 0.3") for line in lines)
    assert "nothing disturbs happy, as far as 12 seeds can tell" in lines
    assert "nothing disturbs luca, as far as 12 seeds can tell" not in lines
    assert sum("lowers" in line for line in lines) == 1
    quiet = verdicts(effects(scores_of(planted(0.0)), NAMES), ())
    assert not any("lowers" in line for line in quiet)


def test_from_few_seeds_nobody_is_blamed():
    rows = planted(0.3, SEEDS[: FEWEST_SEEDS - 1])
    lines = verdicts(effects(scores_of(rows), NAMES), ())
    assert lines == (f"{FEWEST_SEEDS - 1} seeds are too few to say who disturbs whom: draw at least {FEWEST_SEEDS}",)


def test_a_change_in_which_all_seeds_agree_needs_no_interval():
    sure = paired_change(np.ones(8), np.zeros(8))
    assert (sure.mean, sure.low, sure.high) == (1, None, None)
    assert sure.is_higher
    assert not sure.is_lower
    same = paired_change(np.ones(8), np.ones(8))
    assert not same.is_higher
    assert not same.is_lower


def own(lora: str, where: str, mean: float) -> Effect:
    change = Change(mean=mean, low=mean - 0.05, high=mean + 0.05, seeds=8)
    return Effect(of=lora, by=lora, where=where, change=change)


def test_two_that_do_the_same_are_redundant_and_not_two_that_only_share_directions():
    twins = [own(name, where, mean) for name in ("a", "b") for where, mean in (("alone", 0.5), ("stack", 0.01))]
    (found,) = redundant(twins, {("a", "b"): 0.9})
    assert found.loras == ("a", "b")
    assert verdicts([], [found]) == ("a and b do the same, 90% of their changes are common: leave one of them out",)
    assert redundant(twins, {("a", "b"): 0.2}) == ()
    needed = [own(name, where, 0.5) for name in ("a", "b") for where in ("alone", "stack")]
    assert redundant(needed, {("a", "b"): 0.9}) == ()
    untaught = [own(name, where, 0.01) for name in ("a", "b") for where in ("alone", "stack")]
    assert redundant(untaught, {("a", "b"): 0.9}) == ()  # neither does anything


def test_pictures_that_nobody_judged_have_no_effects():
    assert effects(scores_of([picture(name, 1, {}) for name in (BASE, ALL, without("luca"))]), NAMES) == ()


SCORES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(SCORES)
def test_the_other_way_round_only_the_sign_is_another(pairs):
    after, before = np.array(pairs).T
    there, back = paired_change(after, before), paired_change(before, after)
    assert there.mean == -back.mean
    assert (there.low is None) == (back.low is None)
    if there.low is not None:
        assert there.low == pytest.approx(-back.high, abs=1e-3)
    assert there.is_lower == back.is_higher


@settings(max_examples=30, deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_does_not_matter(pairs, random):
    rows = [
        picture(variant, seed, {"luca": score})
        for seed, both in enumerate(pairs)
        for variant, score in zip((ALL, without("luca")), both, strict=True)
    ]
    expected = effects(scores_of(rows), ("luca",))
    random.shuffle(rows)
    assert effects(scores_of(rows), ("luca",)) == expected


def test_the_joint_score_is_high_only_where_all_are_there():
    def score(*values: float) -> float:
        return joint_score([Finding(lora=str(n), probability=value) for n, value in enumerate(values)])

    assert score(0.9, 0.9) == pytest.approx(0.9)
    assert score(1, 0) == 0
    assert score(0.25, 1) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="without findings"):
        score()


def test_the_best_trial_is_sure_where_it_wins_every_seed_and_not_where_seeds_disagree():
    assert set(best_in_draws(np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))) == {1}
    assert set(best_in_draws(np.array([[0.5, 0.5], [0.5, 0.5]]))) == {0}  # equals: the first
    even = best_in_draws(np.array([[1.0, 0.0] * 4, [0.0, 1.0] * 4]))
    assert 0.2 < even.mean() < 0.8
    weights = np.array([0.4, 0.9])
    assert weight_interval(weights, even) == (0.4, 0.9)
    assert weight_interval(weights, np.ones(100, dtype=np.int64)) == (0.9, 0.9)
