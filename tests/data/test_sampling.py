import math
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Literal

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from braingan.data.sampling import IndexSampler
from braingan.errors import SettingsError

How = Literal["balanced", "natural"]
LABELS = torch.tensor([0] * 10 + [1] * 4 + [2] * 3)
MIXED = torch.tensor([0] * 6 + [1] * 2 + [0] * 3 + [1] * 20)  # eight real images, then synthetic ones
SYNTHETIC = torch.arange(31) >= 8


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


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("balanced", [9, 10, 14, 6, 11, 16, 0, 12, 15, 2, 13, 15, 1, 10, 16, 4, 12, 14, 7, 11, 16, 5, 13, 15]),
        ("natural", [10, 13, 3, 16, 11, 8, 12, 15, 1, 2, 14, 0, 9, 4, 7, 6, 5, 3, 7, 12, 6, 15, 14, 11]),
    ],
)
def test_what_is_drawn_without_a_share_never_changes(how: How, expected: list[int]) -> None:
    assert drawn(IndexSampler(LABELS, how, seed=3), steps=4, size=6) == expected  # published numbers rest on it
    told = IndexSampler(LABELS, how, seed=3, synthetic=LABELS > 0, share=None)
    assert drawn(told, steps=4, size=6) == expected


@given(
    kinds=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=25),
    percent=st.integers(0, 100),
    seed=st.integers(0, 3),
    how=st.sampled_from(["balanced", "natural"]),
)
def test_every_class_has_its_share_after_any_number_of_draws_and_no_image_comes_too_early(
    kinds: list[tuple[int, bool]], percent: int, seed: int, how: How
) -> None:
    labels, synthetic = torch.tensor([kind[0] for kind in kinds]), torch.tensor([kind[1] for kind in kinds])
    shown = set(labels.tolist()) if how == "balanced" else set(labels[~synthetic].tolist())
    assume(shown and (percent == 0 or any(label in shown and mark for label, mark in kinds)))
    sampler = IndexSampler(labels, how, seed=seed, synthetic=synthetic, share=percent / 100)
    turns, marked, seen = Counter[int](), Counter[int](), defaultdict[tuple[int, bool], Counter[int]](Counter)
    for index in drawn(sampler, steps=20, size=9):
        label, mark = kinds[index]
        pool = [other for other, kind in enumerate(kinds) if kind == (label, mark)]
        turns[label] += 1
        marked[label] += mark
        seen[label, mark][index] += 1
        share = Fraction(percent, 100) if (label, not mark) in kinds else Fraction(mark)
        assert abs(marked[label] - share * turns[label]) < 1
        assert max(seen[label, mark].values()) - min(seen[label, mark][other] for other in pool) <= 1
    assert set(turns) <= shown
    if how == "balanced":
        assert max(turns.values()) - min(turns[label] for label in shown) <= 1


@pytest.mark.parametrize("share", [0.5, 0.35, 1 / 3, 0.07])
def test_all_classes_together_have_the_share_after_every_round(share: float) -> None:
    sampler = IndexSampler(MIXED, "balanced", seed=0, synthetic=SYNTHETIC, share=share)
    marks = SYNTHETIC[drawn(sampler, steps=100, size=2)].cumsum(0).tolist()
    assert marks[1::2] == [math.floor(Fraction(str(share)) * 2 * rounds + Fraction(1, 2)) for rounds in range(1, 101)]


def test_natural_classes_come_as_often_as_among_the_real_images_whatever_there_is_of_synthetic_ones() -> None:
    indices = drawn(IndexSampler(MIXED, "natural", seed=0, synthetic=SYNTHETIC, share=0.5), steps=10, size=8)
    for start in range(0, 80, 8):
        assert Counter(MIXED[indices[start : start + 8]].tolist()) == {0: 6, 1: 2}
    assert Counter((int(MIXED[index]), bool(SYNTHETIC[index])) for index in indices) == {
        (0, False): 30, (0, True): 30, (1, False): 10, (1, True): 10,
    }  # fmt: skip
    shown = [MIXED[indices[start : start + 8]].tolist() for start in range(0, 80, 8)]
    assert len({tuple(order) for order in shown}) > 1


def test_a_class_that_has_one_kind_of_images_is_drawn_from_these() -> None:
    labels, synthetic = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 1, 1, 1]).bool()
    indices = drawn(IndexSampler(labels, "balanced", seed=0, synthetic=synthetic, share=0.25), steps=10, size=12)
    assert Counter(labels[indices].tolist()) == {0: 40, 1: 40, 2: 40}
    assert sum(index in {1, 2} for index in indices) == 10


def test_a_share_of_nought_draws_what_the_real_images_alone_would_give() -> None:
    with_synthetic = IndexSampler(MIXED, "balanced", seed=5, synthetic=SYNTHETIC, share=0)
    alone = IndexSampler(MIXED[:8], "balanced", seed=5)
    assert drawn(with_synthetic, steps=9, size=7) == drawn(alone, steps=9, size=7)
    assert min(drawn(IndexSampler(MIXED, "balanced", seed=5, synthetic=SYNTHETIC, share=1), steps=9, size=7)) >= 8


@pytest.mark.parametrize("how", ["balanced", "natural"])
def test_any_step_alone_is_the_same_step_with_a_share_too(how: How) -> None:
    def sampler() -> IndexSampler:
        return IndexSampler(MIXED, how, seed=3, synthetic=SYNTHETIC, share=0.4)

    one = sampler()
    batches = [one.batch(step, 7) for step in range(12)]
    for step in (11, 0, 5, 4):
        assert torch.equal(sampler().batch(step, 7), batches[step])
        assert torch.equal(one.batch(step, 7), batches[step])


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match=f"share {share} was asked; .* 0 to 1"):
        IndexSampler(MIXED, "balanced", seed=0, synthetic=SYNTHETIC, share=share)


def test_a_share_of_synthetic_images_that_are_not_there_is_refused() -> None:
    for synthetic in (None, torch.zeros(31, dtype=torch.bool)):
        with pytest.raises(SettingsError, match=r"share 0\.5 was asked, and no class has synthetic images"):
            IndexSampler(MIXED, "balanced", seed=0, synthetic=synthetic, share=0.5)
    with pytest.raises(SettingsError, match="no class has synthetic images"):  # class 1 has no real image to count
        IndexSampler(torch.tensor([0, 1]), "natural", seed=0, synthetic=torch.tensor([False, True]), share=0.5)
