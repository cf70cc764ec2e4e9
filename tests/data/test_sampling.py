from collections import Counter
from typing import Literal

import pytest
import torch

from braingan.data.sampling import IndexSampler

How = Literal["balanced", "natural"]
LABELS = torch.tensor([0] * 10 + [1] * 4 + [2] * 3)


def drawn(sampler: IndexSampler, steps: int, size: int) -> list[int]:
    return torch.cat([sampler.batch(step, size) for step in range(steps)]).tolist()


def test_every_image_comes_once_before_any_comes_twice() -> None:
    indices = drawn(IndexSampler(LABELS, "natural", seed=0), steps=51, size=5)
    for start in range(0, len(indices), 17):
        assert sorted(indices[start : start + 17]) == list(range(17))


@pytest.mark.parametrize("size", [1, 5, 30])
def test_balanced_classes_are_seen_equally_often(size: int) -> None:
    indices = drawn(IndexSampler(LABELS, "balanced", seed=0), steps=30, size=size)
    seen = Counter(LABELS[indices].tolist())
    assert max(seen.values()) - min(seen.values()) <= 1
    assert set(seen) == {0, 1, 2}


def test_within_a_balanced_class_every_image_comes_once_before_any_comes_twice() -> None:
    indices = drawn(IndexSampler(LABELS, "balanced", seed=0), steps=20, size=6)
    for label, pool in ((0, range(10)), (1, range(10, 14)), (2, range(14, 17))):
        of_class = [index for index in indices if LABELS[index] == label]
        for start in range(0, len(of_class) - len(pool) + 1, len(pool)):
            assert sorted(of_class[start : start + len(pool)]) == list(pool)


@pytest.mark.parametrize("how", ["balanced", "natural"])
def test_a_batch_may_be_larger_than_the_set(how: How) -> None:
    batch = IndexSampler(LABELS, how, seed=0).batch(0, 60)
    assert (batch.shape, batch.dtype) == ((60,), torch.int64)
    assert set(batch.tolist()) == set(range(17))


@pytest.mark.parametrize("how", ["balanced", "natural"])
def test_any_step_alone_is_the_same_step_as_after_others(how: How) -> None:
    one = IndexSampler(LABELS, how, seed=3)
    batches = [one.batch(step, 7) for step in range(12)]
    for step in (11, 0, 5, 4):
        assert torch.equal(IndexSampler(LABELS, how, seed=3).batch(step, 7), batches[step])
        assert torch.equal(one.batch(step, 7), batches[step])


@pytest.mark.parametrize("how", ["balanced", "natural"])
def test_every_epoch_and_every_seed_has_its_own_order(how: How) -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    epochs = drawn(IndexSampler(labels, how, seed=0), steps=2, size=20)
    assert epochs[:20] != epochs[20:]
    assert epochs[:20] != list(range(20))
    assert drawn(IndexSampler(labels, how, seed=1), steps=1, size=20) != epochs[:20]


def test_the_state_of_other_random_numbers_does_not_matter() -> None:
    torch.manual_seed(0)
    first = IndexSampler(LABELS, "natural", seed=0).batch(0, 17)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(IndexSampler(LABELS, "natural", seed=0).batch(0, 17), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_need_not_begin_at_nought() -> None:
    batch = IndexSampler(torch.tensor([7, 2, 7, 2, 2]), "balanced", seed=0).batch(0, 4)
    assert len(set(batch.tolist()) & {0, 2}) == len(set(batch.tolist()) & {1, 3, 4}) == 2
