"""The order of examples: batches of one shape, always full, and everybody as often as it should be."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.seeds import seeded_generator
from models.trainers.order import batch_of, slots_of

TALL, SQUARE, WIDE = (4, 10, 6), (4, 8, 8), (4, 6, 10)
SETS = st.lists(st.tuples(st.sampled_from([TALL, SQUARE, WIDE]), st.integers(1, 4)), min_size=1, max_size=9)
SEEDS = st.integers(0, 2**31 - 1)


@settings(deadline=None)
@given(examples=SETS, size=st.integers(1, 4), seed=SEEDS, cycle=st.integers(0, 2))
def test_everything_is_shown_as_often_as_its_repeats(examples, size: int, seed: int, cycle: int):
    shapes, repeats = zip(*examples, strict=True)
    slots = slots_of(shapes, repeats)
    total = sum(repeats)
    batches = [batch_of(slots, size, cycle * total + number, seed) for number in range(total)]
    assert all(len(batch) == size for batch in batches)
    assert all(len({shapes[example] for example in batch}) == 1 for batch in batches)
    shown = Counter(example for batch in batches for example in batch)
    assert shown == {example: size * count for example, count in enumerate(repeats)}


@settings(deadline=None)
@given(examples=SETS, size=st.integers(1, 4), seed=SEEDS)
def test_each_pass_over_a_bucket_shows_its_examples_as_often_as_their_repeats(examples, size: int, seed: int):
    shapes, repeats = zip(*examples, strict=True)
    slots = slots_of(shapes, repeats)
    batches = [batch_of(slots, size, number, seed) for number in range(2 * sum(repeats))]
    for mine in slots:
        shown = [example for batch in batches if batch[0] in mine for example in batch]
        assert len(shown) == 2 * size * len(mine)
        for start in range(0, len(shown), len(mine)):
            assert Counter(shown[start : start + len(mine)]) == Counter(mine)


@settings(deadline=None)
@given(examples=SETS, size=st.integers(1, 4), seed=SEEDS)
def test_buckets_take_turns_by_their_size(examples, size: int, seed: int):
    """However early a run ends, no bucket is far from its share."""
    shapes, repeats = zip(*examples, strict=True)
    slots = slots_of(shapes, repeats)
    had = Counter(dict.fromkeys(shapes, 0))
    for number in range(2 * sum(repeats)):
        had[shapes[batch_of(slots, size, number, seed)[0]]] += 1
        for mine in slots:
            share = (number + 1) * len(mine) / sum(repeats)
            assert abs(had[shapes[mine[0]]] - share) < 1 + len(slots)


@settings(deadline=None)
@given(examples=SETS, size=st.integers(1, 4), number=st.integers(0, 60), seed=SEEDS)
def test_without_other_shapes_the_order_is_a_shuffle_of_each_pass(examples, size: int, number: int, seed: int):
    """What the order was before there were buckets, written out: runs on squares alone stay the same to the bit."""
    repeats = [count for _, count in examples]
    plain = [example for example, count in enumerate(repeats) for _ in range(count)]
    expected = []
    for position in range(number * size, (number + 1) * size):
        order = seeded_generator(seed, "order", position // len(plain))
        expected.append(plain[int(torch.randperm(len(plain), generator=order)[position % len(plain)])])
    assert batch_of(slots_of([SQUARE] * len(repeats), repeats), size, number, seed) == expected


def test_another_pass_and_another_seed_are_another_order():
    slots = slots_of([SQUARE] * 12, [1] * 12)
    orders = {tuple(batch_of(slots, 12, number, seed)) for number in range(3) for seed in range(3)}
    assert len(orders) == 9
