"""Another transform for a dataset, without touching the caller's object."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch.utils.data import Subset
from torchvision.datasets.vision import StandardTransform

Transform = Callable[[Any], Any] | None


def with_transform(dataset: Any, transform: Transform) -> tuple[Any, Any]:
    """A shallow copy (its files and labels are shared) with another transform, and the copy's base."""
    twin = copy.copy(dataset)
    if isinstance(dataset, Subset):
        twin.dataset, base = with_transform(dataset.dataset, transform)
        return twin, base
    twin.transform = transform
    if getattr(twin, "transforms", None) is not None:  # torchvision's joint form of the same
        twin.transforms = StandardTransform(transform, getattr(twin, "target_transform", None))
    return twin, twin
