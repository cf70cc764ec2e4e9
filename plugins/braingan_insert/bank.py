"""The training images that tumours are put into, and those that the tumours come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from braingan import SettingsError, TrainingData


@dataclass(frozen=True)
class Bank:
    """Healthy slices (canvases) and tumour slices, with their numbers in the training set.

    Attributes:
        canvases: (N, C, H, W) uint8.
        canvas_numbers: (N,) int64.
        tumors: (M, C, H, W) uint8, slices with a tumour.
        masks: (M, H, W) bool, none of them empty.
        labels: (M,) int64.
        tumor_numbers: (M,) int64.
    """

    canvases: Tensor
    canvas_numbers: Tensor
    tumors: Tensor
    masks: Tensor
    labels: Tensor
    tumor_numbers: Tensor

    @classmethod
    def of(cls, data: TrainingData, healthy: str) -> Self:
        """Sort training images into both parts.

        Args:
            data: with masks.
            healthy: the class of the canvases; empty for the one class without any mask.

        Raises:
            SettingsError: there is no healthy class, or it cannot be told, or there are no masks.
        """
        masks = data.masks
        if masks is None or not bool(masks.any()):
            raise SettingsError("tumours were to be inserted, and no training image has a tumour mask")
        marked = masks.flatten(1).any(1)
        canvas_label = healthy_label(data, marked, healthy)
        canvas = torch.nonzero(data.labels == canvas_label).flatten()
        if not len(canvas):
            raise SettingsError(
                f"tumours are inserted into {data.spec.classes[canvas_label]!r}, and none is in training"
            )
        tumor = torch.nonzero((data.labels != canvas_label) & marked).flatten()
        return cls(data.images[canvas], canvas, data.images[tumor], masks[tumor], data.labels[tumor], tumor)

    @property
    def makes(self) -> tuple[int, ...]:
        """The labels of the tumours."""
        return tuple(torch.unique(self.labels).tolist())

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` takes, in types that safetensors holds."""
        return {f"bank.{field.name}": getattr(self, field.name).contiguous() for field in fields(self)}

    @classmethod
    def from_tensors(cls, state: Mapping[str, Tensor]) -> Self:
        """From what `tensors` gave; a `KeyError` where something is missing."""
        return cls(**{field.name: state[f"bank.{field.name}"] for field in fields(cls)})


def healthy_label(data: TrainingData, marked: Tensor, healthy: str) -> int:
    """The label of the images without tumour; `marked` (N,) bool have one. Other arguments and errors as `Bank.of`."""
    classes = data.spec.classes
    with_masks = set(torch.unique(data.labels[marked]).tolist())
    without = [label for label in range(len(classes)) if label not in with_masks]
    if healthy:
        if healthy not in classes:
            raise SettingsError(f"healthy={healthy!r} was given; the data have {', '.join(map(repr, classes))}")
        if classes.index(healthy) in with_masks:
            raise SettingsError(f"healthy={healthy!r} was given, and images of that class have tumour masks")
        return classes.index(healthy)
    if not without:
        raise SettingsError(
            f"tumours are inserted into healthy slices, and each of the classes {', '.join(map(repr, classes))} has "
            "tumour masks: there is no healthy class (never take one from elsewhere: the scanner gives it away)"
        )
    if len(without) > 1:
        raise SettingsError(
            f"the classes {', '.join(repr(classes[label]) for label in without)} have no tumour masks; which one is "
            "healthy? `--hyperparameters healthy=NAME` says so"
        )
    return without[0]
