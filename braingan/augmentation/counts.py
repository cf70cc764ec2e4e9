"""How many synthetic images are asked for, in one place and in one form: {class: count}."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from braingan.errors import SettingsError

MOST = 1000  # beyond it, a slip of the keyboard


def synthetic_counts(labels: Iterable[int], ratio: float) -> dict[int, int]:
    """Synthetic images for each class: `ratio` for each real image of that class, rounded half up.

    Args:
        labels: of the real training images.
        ratio: 0 or more; 0.5 adds one synthetic image to two real ones within each class.

    Raises:
        SettingsError: the ratio is negative, no number or beyond reason.

    >>> synthetic_counts([0, 0, 0, 0, 1, 1], 0.5)
    {0: 2, 1: 1}
    """
    if not 0 <= ratio <= MOST:
        raise SettingsError(f"ratio {ratio} was asked; it is synthetic images per real image of a class, 0 to {MOST}")
    real = Counter(int(label) for label in labels)
    return {label: math.floor(ratio * real[label] + 0.5) for label in sorted(real)}


def balancing_counts(labels: Iterable[int]) -> dict[int, int]:
    """Synthetic images that fill every class up to the largest one.

    >>> balancing_counts([0, 0, 0, 0, 1, 1])
    {0: 0, 1: 2}
    """
    real = Counter(int(label) for label in labels)
    most = max(real.values(), default=0)
    return {label: most - real[label] for label in sorted(real)}
