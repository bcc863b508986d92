"""Which examples are in which batch: counted, never carried, so that a resumed run goes on as the uninterrupted one.

A batch is of one bucket. Batches are always full: a bucket's passes follow upon one another, and where one ends within
a batch, the next begins in it. kohya's sd-scripts leave the last batch of a pass small, so that its pictures, alone in
their step, weigh up to `batch` times as much as the others. Buckets take turns by the number of their pictures.
"""

from collections.abc import Sequence

import torch

from models.seeds import seeded_generator

Slots = Sequence[Sequence[int]]
"""For each bucket its examples, each as often as one pass over the bucket shows it."""


def slots_of(shapes: Sequence[tuple[int, ...]], repeats: Sequence[int]) -> Slots:
    """Return the slots of examples of these shapes; what has the same shape is in the same bucket."""
    return [
        [example for example, own in enumerate(shapes) if own == shape for _ in range(repeats[example])]
        for shape in sorted(set(shapes))
    ]


def batch_of(slots: Slots, size: int, number: int, seed: int) -> list[int]:
    """Return the examples of batch `number`, counted from 0 over the whole run, `size` of them, all of one bucket.

    Each pass over a bucket shows every example as often as its repeats, in a new order. As many batches as there are
    slots, `size` passes over everything, show every example exactly `size` times as often as its repeats.
    """
    bucket, earlier = _turn(slots, number, seed)
    mine = slots[bucket]
    examples = []
    for place in range(earlier * size, (earlier + 1) * size):
        order = seeded_generator(seed, "order", place // len(mine))
        examples.append(mine[int(torch.randperm(len(mine), generator=order)[place % len(mine)])])
    return examples


def _turn(slots: Slots, number: int, seed: int) -> tuple[int, int]:
    """Return the bucket that a batch is of, and how many batches the bucket has had before.

    In each cycle of as many batches as there are slots, a bucket of n slots has n turns, one in each n-th of the cycle.
    """
    cycle, place = divmod(number, sum(map(len, slots)))
    generator = seeded_generator(seed, "turns", cycle)
    due = [(torch.arange(len(each)) + torch.rand(len(each), generator=generator)) / len(each) for each in slots]
    owners = torch.cat([torch.full((len(each),), bucket) for bucket, each in enumerate(slots)])
    turns = owners[torch.cat(due).argsort(stable=True)]
    bucket = int(turns[place])
    return bucket, cycle * len(slots[bucket]) + int((turns[:place] == bucket).sum())
