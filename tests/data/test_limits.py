"""Learning from less than there is: just so much is kept, of training only, and less is part of more."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest

from braingan.data.limits import Limits, limit
from braingan.data.preparation import PreparedSet
from braingan.errors import BrainganError, SettingsError, SplitError

Maker = Callable[..., PreparedSet]


@pytest.fixture
def prepared(prepared_of: Maker) -> PreparedSet:
    """Ten patients with three slices of each class, and two with healthy slices only."""
    members = [(f"p{number}", label) for number in range(10) for label in ("normal", "tumor") for _ in range(3)]
    return prepared_of([*members, *[(f"p{number}", "normal") for number in (10, 11) for _ in range(3)]])


@pytest.fixture
def train(prepared: PreparedSet) -> list[int]:
    """Places of the images of all but two patients."""
    return [place for place, record in enumerate(prepared.source.records) if record.group not in {"p0", "p10"}]


def classes_of(prepared: PreparedSet, places: list[int]) -> Counter[str]:
    return Counter(prepared.source.classes[prepared.source.records[place].label] for place in places)


def patients_of(prepared: PreparedSet, places: list[int], label: str | None = None) -> set[str]:
    records = [prepared.source.records[place] for place in places]
    return {own.group for own in records if label in (None, prepared.source.classes[own.label])}


def test_just_so_many_images_of_a_class_are_kept_and_all_of_the_others(prepared: PreparedSet, train: list[int]) -> None:
    kept, left_out = limit(prepared, train, Limits(images={"tumor": 7}), seed=0)
    assert classes_of(prepared, kept) == {"tumor": 7, "normal": 30}
    assert classes_of(prepared, left_out) == {"tumor": 20}
    assert sorted(kept + left_out) == train
    assert (kept, left_out) == (sorted(kept), sorted(left_out))
    assert len(patients_of(prepared, kept, "tumor")) > 3  # single images, not whole patients


def test_of_just_so_many_patients_all_images_of_a_class_are_kept(prepared: PreparedSet, train: list[int]) -> None:
    kept, _ = limit(prepared, train, Limits(patients={"tumor": 4}), seed=0)
    assert classes_of(prepared, kept) == {"tumor": 12, "normal": 30}
    assert len(patients_of(prepared, kept, "tumor")) == 4
    assert len(patients_of(prepared, kept, "normal")) == 10


def test_just_so_many_patients_are_kept_with_all_of_their_images(prepared: PreparedSet, train: list[int]) -> None:
    kept, left_out = limit(prepared, train, Limits(train_patients=5), seed=0)
    assert len(patients_of(prepared, kept)) == 5
    assert not patients_of(prepared, kept) & patients_of(prepared, left_out)


def test_limits_hold_together(prepared: PreparedSet, train: list[int]) -> None:
    limits = Limits(images={"tumor": 4, "normal": 5}, patients={"tumor": 2}, train_patients=6)
    kept, _ = limit(prepared, train, limits, seed=1)
    assert classes_of(prepared, kept) == {"tumor": 4, "normal": 5}
    assert len(patients_of(prepared, kept, "tumor")) <= 2
    assert len(patients_of(prepared, kept)) <= 6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "sizes",
    [
        [Limits(images={"tumor": count}) for count in (2, 5, 11, 27)],
        [Limits(patients={"tumor": count}) for count in (1, 3, 8, 9)],
        [Limits(train_patients=count) for count in (3, 4, 7, 10)],
    ],
    ids=["images", "patients", "train_patients"],
)
def test_what_a_smaller_limit_keeps_is_part_of_what_a_larger_one_keeps(
    prepared: PreparedSet, train: list[int], sizes: list[Limits], seed: int
) -> None:
    kept = [set(limit(prepared, train, limits, seed=seed)[0]) for limits in sizes]
    assert kept == sorted(kept, key=len)
    assert all(less < more for less, more in itertools.pairwise(kept))


def test_a_seed_decides_which(prepared: PreparedSet, train: list[int]) -> None:
    limits = Limits(images={"tumor": 7})
    assert limit(prepared, train, limits, seed=0) == limit(prepared, train, limits, seed=0)
    assert limit(prepared, train, limits, seed=0) != limit(prepared, train, limits, seed=1)


@pytest.mark.parametrize(
    ("limits", "error", "words"),
    [
        (
            Limits(images={"tumour": 3}),
            SettingsError,
            "a limit for class 'tumour' was asked; the data have n",
        ),
        (Limits(images={"tumor": 28}), SplitError, "28 training images of class 'tumor' were asked, and there are 27"),
        (Limits(patients={"tumor": 10}), SplitError, "10 training patients of class 'tumor' .* there are 9"),
        (Limits(train_patients=11), SplitError, "11 training patients were asked, and there are 10"),
    ],
)
def test_more_than_there_is_is_refused_in_one_line(
    prepared: PreparedSet, train: list[int], limits: Limits, error: type[BrainganError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        limit(prepared, train, limits, seed=0)
    assert "\n" not in str(caught.value)


def test_limits_that_leave_a_class_without_images_are_refused(prepared: PreparedSet, train: list[int]) -> None:
    records = prepared.source.records
    two = [place for place in train if (records[place].group, records[place].label) in {("p1", 1), ("p11", 0)}]
    with pytest.raises(SplitError, match=r"the limits leave no training image of class '(tumor|normal)'"):
        limit(prepared, two, Limits(train_patients=1), seed=0)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(images={"tumor": 0}), "--limit tumor=0 was asked; 1 or more work"),
        (Limits(patients={"tumor": -1}), "--limit-patients tumor=-1 was asked; 1 or more work"),
        (Limits(train_patients=0), "--train-patients 0 was asked; 1 or more work"),
    ],
)
def test_a_limit_that_keeps_nothing_is_refused(limits: Limits, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        limits.check_numbers()


def test_no_limits_are_no_limits() -> None:
    assert not Limits()
    assert Limits(train_patients=3)
    assert Limits(images={"tumor": 3})
