"""Any dataset of held-out images, against what the generator of some synthetic images has seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from braingan.augmentation.leaks import refuse_leak
from braingan.augmentation.synthetic import SyntheticSet
from braingan.augmentation.transforms import without_transform
from braingan.data.decoding import simple_mode
from braingan.data.records import ImageSet
from braingan.data.views import VIEW, view_of
from braingan.duplicates.seen import find_leak, some_names
from braingan.duplicates.twins import Looks
from braingan.errors import DataError

SOURCE = "Source-SHA256"  # text chunk of a prepared real image: the content of the file that it was made from


def check_held_out(synthetic: SyntheticSet, held_out: Dataset[Any], real: Dataset[Any], *, allow_leakage: bool) -> None:
    """Refuse synthetic images whose generator has seen held-out images.

    Args:
        synthetic: the images.
        held_out: a map-style dataset of (image, label).
        real: the real training images: what these share with `held_out` is the data's doing.
        allow_leakage: warn instead.

    Raises:
        LeakageError: see above; or a held-out image says of itself that it is synthetic, or is of a patient whose
            slices were edited.
        DataError: items that are no images.
    """
    views, own = [], []
    for number, image in enumerate(_images(held_out)):
        views.append(view_of(_pixels(image)))
        if str(getattr(image, "info", {}).get("Synthetic", "")).lower() == "true":
            own.append(_name(held_out, number))
    remedy = "take them out"
    if own:
        _refuse(f"leak: {len(own)} held-out images are synthetic ({some_names(own)})", remedy, allow=allow_leakage)
    shown = {name for file in synthetic.files for name in (file.canvas_patient, file.mask_source_patient) if name}
    of_them = [_name(held_out, number) for number in range(len(views)) if _patient(held_out, number) in shown]
    if of_them:
        what = f"leak: the synthetic images show the patients of {len(of_them)} held-out images ({some_names(of_them)})"
        _refuse(what, "make synthetic images from the training images alone", allow=allow_leakage)
    if synthetic.seen is None:
        raise DataError("the synthetic images do not say what their generator has seen; load them with load_synthetic")
    looks = _looks(views)
    if not synthetic.seen.among(looks).any():
        return
    found = find_leak(synthetic.seen, looks, _training_looks(real))
    names = [_name(held_out, int(number)) for number in np.flatnonzero(found.leaked)]
    if names:
        what = f"leak: the generator of the synthetic images was trained on {len(names)} held-out images"
        remedy = "make synthetic images from the training images alone"
        _refuse(f"{what} ({some_names(names)})", remedy, allow=allow_leakage)
    elif found.shared.any():
        shared = [_name(held_out, int(number)) for number in np.flatnonzero(found.shared)]
        warnings.warn(
            f"{len(shared)} held-out images ({some_names(shared)}) show the same picture as real training images: "
            "that is the data's doing, not the generator's",
            stacklevel=4,
        )


def _refuse(what: str, remedy: str, *, allow: bool) -> None:
    for line in refuse_leak(what, remedy, allow_leakage=allow):
        warnings.warn(line, stacklevel=5)


def _training_looks(real: Dataset[Any]) -> Looks:
    """Looks of the training images, with the hash of the file that each was prepared from where it says so."""
    views, hashes = [], []
    for image in _images(real):
        views.append(view_of(_pixels(image)))
        hashes.append(str(getattr(image, "info", {}).get(SOURCE, "")))
    return replace(_looks(views), hashes=hashes)


def _looks(views: list[np.ndarray]) -> Looks:
    return Looks(np.stack(views) if views else np.zeros((0, VIEW, VIEW), np.uint8), [""] * len(views))


def _images(dataset: Dataset[Any]) -> Iterator[Any]:
    """The images of a dataset, without its transform where that can be taken off."""
    plain, own = without_transform(dataset), cast(Any, dataset)
    if len(own) and plain is not own:
        try:
            plain[0]
        except Exception:  # what it does with its own transform's result need not work on a bare picture
            own[0]
            warnings.warn(
                "images could only be compared as their dataset's transform leaves them: where it crops or turns, a "
                "leak may go unseen; give a dataset of plain images", stacklevel=5,
            )  # fmt: skip
            plain = own
    for number in range(len(own)):
        yield plain[number][0]


def _pixels(image: Any) -> np.ndarray:
    """(height, width, channels) float32, from a PIL image or a tensor (C, H, W)."""
    if isinstance(image, Image.Image):
        pixels = np.asarray(simple_mode(image), np.float32)
        return pixels[:, :, None] if pixels.ndim == 2 else pixels
    if isinstance(image, Tensor) and image.ndim in {2, 3}:
        values = image.detach().float().cpu().numpy()
        return values[:, :, None] if image.ndim == 2 else values.transpose(1, 2, 0)
    raise DataError(f"held_out gives {type(image).__name__}; PIL images or tensors (C, H, W) can be checked")


def _patient(dataset: Any, number: int) -> str | None:
    """The patient of an item where the dataset tells."""
    if isinstance(dataset, Subset):
        return _patient(dataset.dataset, dataset.indices[number])
    if isinstance(dataset, ImageSet) and dataset.has_patients:
        return dataset.records[number].group
    return None


def _name(dataset: Any, number: int) -> str:
    """The file of an item where the dataset tells, else its number."""
    if isinstance(dataset, Subset):
        return _name(dataset.dataset, dataset.indices[number])
    if isinstance(dataset, ImageSet):
        return dataset.records[number].file
    if samples := getattr(dataset, "samples", None):
        return str(samples[number][0])
    return f"item {number}"
