"""Another transform for a dataset, without touching the caller's object."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch.utils.data import ConcatDataset, Subset

Transform = Callable[[Any], Any] | None


def with_transform(dataset: Any, transform: Transform) -> tuple[Any, Any]:
    """A shallow copy (its files and labels are shared) with another transform, and the copy's base."""
    twin = copy.copy(dataset)
    if isinstance(dataset, Subset):
        twin.dataset, base = with_transform(dataset.dataset, transform)
        return twin, base
    twin.transform = transform
    if getattr(twin, "transforms", None) is not None:  # torchvision's joint form of the same
        from torchvision.datasets.vision import StandardTransform  # takes as long to import as torch itself

        twin.transforms = StandardTransform(transform, getattr(twin, "target_transform", None))
    return twin, twin


def without_transform(dataset: Any) -> Any:
    """A shallow copy whose items are as they are, as far as datasets and torch's wrappers of them tell."""
    if isinstance(dataset, ConcatDataset):
        return ConcatDataset([without_transform(part) for part in dataset.datasets])
    if isinstance(dataset, Subset):
        return Subset(without_transform(dataset.dataset), dataset.indices)
    return with_transform(dataset, as_it_is)[0] if hasattr(dataset, "transform") else dataset


def as_it_is(image: Any) -> Any:
    """For datasets that call their transform without asking whether there is one."""
    return image
