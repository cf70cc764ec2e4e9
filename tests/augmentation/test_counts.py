"""The one meaning of --ratio."""

import pytest

from braingan import SettingsError, synthetic_counts
from braingan.augmentation.counts import balancing_counts


def test_ratio_is_synthetic_per_real_within_each_class() -> None:
    labels = [0] * 10 + [1] * 3
    assert synthetic_counts(labels, 0.5) == {0: 5, 1: 2}
    assert synthetic_counts(labels, 2) == {0: 20, 1: 6}
    assert synthetic_counts(labels, 0) == {0: 0, 1: 0}


def test_balancing_fills_every_class_up_to_the_largest() -> None:
    assert balancing_counts([0] * 10 + [1] * 3 + [2] * 10) == {0: 0, 1: 7, 2: 0}


@pytest.mark.parametrize("ratio", [-0.1, float("nan"), float("inf"), 1e308])
def test_a_ratio_that_cannot_be_is_refused(ratio: float) -> None:
    with pytest.raises(SettingsError, match="0 to 1000"):
        synthetic_counts([0, 1], ratio)
