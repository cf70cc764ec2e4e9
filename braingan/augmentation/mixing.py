"""Real + synthetic -> one dataset that goes wherever the real one went."""

from __future__ import annotations

import warnings
from collections.abc import Sized
from typing import Any, Literal, cast

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler, Subset

from braingan.augmentation.held_out import check_held_out
from braingan.augmentation.synthetic import SyntheticSet
from braingan.augmentation.transforms import Transform, as_it_is, with_transform
from braingan.data.pictures import from_picture
from braingan.data.sampling import EpochSampler, IndexSampler
from braingan.errors import DataError
from braingan.generation.protocol import check_seed

CONVERTIBLE = ("L", "RGB", "RGBA")
LOOKED_AT = 5  # real images that are opened to learn their mode


class AugmentedDataset(Dataset[tuple[Any, Any]]):
    """The real images, untouched, followed by the synthetic ones, as if they had been there all along.

    A drop-in for the dataset it wraps: `.targets`, `.classes`, `.class_to_idx` and a `.transform` that
    can be assigned (timm's `create_loader` does). It can be pickled, and works with DataLoader workers
    and samplers.

    Args:
        real: any map-style dataset of (image, label), such as torchvision's `ImageFolder`, a `Subset`
            of one, or your own. Item i < len(real) is `real[i]`.
        synthetic: what `load_synthetic` gives. Its images are converted to the real ones' mode, its
            classes to the real ones' labels by name, and both pass through the real ones' transforms.
        transform: for the synthetic images, instead of the real dataset's own.
        target_transform: for the synthetic labels, instead of the real dataset's own.
        held_out: the images that your model will be judged on, as a dataset of (image, label): PIL images or
            tensors, before any transform that changes the picture (a `.transform` is taken off for the check).
            Give it, and synthetic images whose generator has seen one of them, under whatever name, size or
            encoding, are refused; what `real` itself shares with it is only warned of.
        allow_leakage: warn instead of refusing.

    Raises:
        DataError: the classes do not match, or it cannot be told what the real images are.
        LeakageError: the generator of the synthetic images has seen held-out images, or some of these are
            synthetic.

    Warns:
        UserWarning: the two parts differ in resolution, or the real images do not say that they were
            prepared alike, which gives synthetic images away; or the real dataset has no class names,
            so that labels were matched by order.
    """

    def __init__(
        self,
        real: Dataset[Any],
        synthetic: SyntheticSet,
        *,
        transform: Transform = None,
        target_transform: Transform = None,
        held_out: Dataset[Any] | None = None,
        allow_leakage: bool = False,
    ) -> None:
        self.real = real
        self.synthetic = synthetic
        self._base = _base_of(real)
        self._own = hasattr(self._base, "transform")
        self._on_top: Transform = None
        self._transform = transform if transform is not None else getattr(self._base, "transform", None)
        own_target = getattr(self._base, "target_transform", None)
        self._target_transform = target_transform if target_transform is not None else own_target
        self._length = len(cast(Sized, real))
        self._decoded: list[Any] | None = None  # labels that only opening every image tells
        self._labels = self._match_classes()
        self.leakage = synthetic.leakage
        for line in self.leakage:
            warnings.warn(f"the synthetic images were made with --allow-leakage: {line}", stacklevel=2)
        if held_out is not None:
            check_held_out(synthetic, held_out, real, allow_leakage=allow_leakage)
        looked_at = self._look_at_real(explicit=transform is not None)
        self._mode = self._common_mode(looked_at, explicit=transform is not None)
        self._warn_of_differences(looked_at)

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return sorted(self.class_to_idx, key=lambda name: self.class_to_idx[name])

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label, as the real dataset has it."""
        return self._class_to_idx

    @property
    def targets(self) -> list[Any]:
        """All labels, before `target_transform`: first the real ones, then the synthetic ones."""
        return [*self._real_targets(), *(self._labels[file.class_name] for file in self.synthetic.files)]

    @property
    def transform(self) -> Transform:
        """What images pass through. Assigning it reaches both parts, and leaves your dataset object alone."""
        return self._transform

    @transform.setter
    def transform(self, transform: Transform) -> None:
        if self._own:
            self.real, self._base = with_transform(self.real, transform)
        else:
            self._on_top = transform
        self._transform = transform

    def sampler(self, *, share: float, balanced: bool = True, seed: int = 0, length: int | None = None) -> Sampler[int]:
        """A sampler for `DataLoader(mixed, sampler=...)` that says how often synthetic images are seen.

        Real and synthetic images of a class are two pools. From each, every image comes once before any comes again,
        in an order shuffled anew each time. A class that has only one kind of images is drawn from these. Each
        iteration goes on with the sequence that the seed decides; it can be pickled, and goes on after that as well.

        Args:
            share: 0 to 1, of the draws of each class that are synthetic, however many synthetic images there are.
            balanced: take the classes in turn. Otherwise they come as often as among the real images, and a class
                that has none of these does not come.
            seed: of the shuffles, 0 or more.
            length: indices in an iteration; by default as many as there are images.

        Raises:
            SettingsError: the share is not within 0 to 1, or above 0 where no class that is drawn has synthetic
                images; the seed is negative, or the length less than 1.
        """
        check_seed(seed)
        numbers: dict[Any, int] = {}  # labels may be names
        labels = torch.tensor([numbers.setdefault(label, len(numbers)) for label in self.targets])
        synthetic = torch.arange(len(self)) >= self._length
        how: Literal["balanced", "natural"] = "balanced" if balanced else "natural"
        indices = IndexSampler(labels, how, seed=seed, synthetic=synthetic, share=share)
        return EpochSampler(indices, len(self) if length is None else length)

    def __len__(self) -> int:
        return self._length + len(self.synthetic)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside of {len(self)} images")
        if index < self._length:
            if self._on_top is None:
                return cast(tuple[Any, Any], self.real[index])
            image, label = self.real[index]
            return self._on_top(image), label
        file = self.synthetic.files[index - self._length]
        image = _convert(self.synthetic[index - self._length][0], self._mode)
        label = self._labels[file.class_name]
        return (
            self._transform(image) if self._transform else image,
            self._target_transform(label) if self._target_transform else label,
        )

    def _match_classes(self) -> dict[str, int]:
        """Class name of the synthetic images -> label of the real ones."""
        used = sorted({file.class_name for file in self.synthetic.files})
        named = getattr(self._base, "class_to_idx", None)
        if named is None and (classes := getattr(self._base, "classes", None)) is not None:
            named = {name: label for label, name in enumerate(classes)}
        if named is None:
            named = self._match_by_order()
        unknown = [name for name in used if name not in named]
        if unknown:
            raise DataError(
                f"the synthetic images have class {unknown[0]!r}, the real ones have {', '.join(map(repr, named))}; "
                "rename the classes of one part"
            )
        self._class_to_idx = dict(named)
        return {name: named[name] for name in used}

    def _match_by_order(self) -> dict[Any, int]:
        labels = sorted({_plain(label) for label in self._real_targets()})
        names = self.synthetic.classes
        if all(isinstance(label, str) for label in labels):
            return {label: label for label in labels}
        if not labels or min(labels) < 0 or max(labels) >= len(names):
            raise DataError(
                f"the real dataset has labels {labels[:8]} and no class names, the synthetic images have "
                f"{', '.join(map(repr, names))}; set `real.classes` to the names in label order"
            )
        matched = ", ".join(f"{label} is {name!r}" for label, name in enumerate(names))
        warnings.warn(
            f"the real dataset has no class names: {matched} is assumed; set its `classes` to be sure", stacklevel=4
        )
        return {name: label for label, name in enumerate(names)}

    def _real_targets(self) -> list[Any]:
        """Labels of the real images; where only the images tell, all are opened, once."""
        told = _targets_of(self.real)
        if told is not None:
            return told
        if self._decoded is None:
            self._decoded = [_plain(cast(Any, self.real)[index][1]) for index in range(self._length)]
        return self._decoded

    def _look_at_real(self, *, explicit: bool) -> list[Any]:
        """Some of the real images, as they are before any transform; none where that cannot be and need not be had."""
        if not self._length:
            raise DataError("the real dataset is empty; it needs at least one image")
        # Not None: a dataset of somebody's own may call its transform without asking.
        raw = with_transform(self.real, as_it_is)[0] if self._own else self.real
        step = max(1, self._length // LOOKED_AT)
        try:
            return [raw[index][0] for index in range(0, self._length, step)][:LOOKED_AT]
        except Exception as error:  # what it does with its own transform's result need not work on a bare picture
            if not self._own:
                raise
            if explicit:
                return []
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(
                f"the real dataset gives no images without its own transform ({reason}), so that it cannot be told "
                "what synthetic ones have to be; pass transform= for these"
            ) from error

    def _common_mode(self, looked_at: list[Any], *, explicit: bool) -> str:
        """The mode into which synthetic images are converted."""
        modes = {_mode_of(image) for image in looked_at}
        if len(modes) == 1 and (mode := modes.pop()) is not None:
            return mode
        if explicit:  # the given transform knows what to make of a picture
            return "L" if self.synthetic.preprocessing.channels == 1 else "RGB"
        kinds = ", ".join(sorted({_describe(image) for image in looked_at}))
        raise DataError(
            f"the real images are {kinds}, into which synthetic PNGs cannot be converted without guessing; "
            "give a dataset of PIL images in mode L or RGB with its own `transform`, or pass transform="
        )

    def _warn_of_differences(self, looked_at: list[Any]) -> None:
        preprocessing = self.synthetic.preprocessing
        expected = (preprocessing.size, preprocessing.size)
        advice = (
            "a classifier can tell them apart by that alone. Use the real images that `braingan augment` wrote "
            "under OUT/real, which are prepared in the same way"
        )
        sizes = {_size_of(image) for image in looked_at} - {None, expected}
        pictures = [image for image in looked_at if isinstance(image, Image.Image)]
        if sizes:
            found = ", ".join(f"{width}x{height}" for width, height in sorted(filter(None, sizes))[:3])
            warnings.warn(
                f"real images are {found} pixels, synthetic ones {expected[0]}x{expected[1]}, cropped and "
                f"normalised: {advice}",
                stacklevel=3,
            )
        elif any(image.info.get("Preprocessing") != preprocessing.fingerprint for image in pictures):
            warnings.warn(
                f"real images do not say that they were cropped and normalised as the synthetic ones were: {advice}",
                stacklevel=3,
            )


def _base_of(dataset: Any) -> Any:
    """The dataset below any `Subset`s."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def _targets_of(dataset: Any) -> list[Any] | None:
    """Labels before any target transform, where the dataset tells them."""
    if isinstance(dataset, Subset):
        every = _targets_of(dataset.dataset)
        return None if every is None else [every[index] for index in dataset.indices]
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if isinstance(values, Sized) and len(values) == len(dataset):  # or it is something else, such as class names
            return [_plain(value) for value in values]  # type: ignore[attr-defined]
    return None


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label


def _mode_of(image: Any) -> str | None:
    """A PIL mode, or "tensor1"/"tensor3" for uint8 tensors; None where it cannot be told."""
    if isinstance(image, Image.Image):
        return image.mode if image.mode in CONVERTIBLE else None
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] in {1, 3}:
        return f"tensor{image.shape[0]}"
    return None


def _size_of(image: Any) -> tuple[int, int] | None:
    """(width, height), where it can be told."""
    if isinstance(image, Image.Image):
        return image.size
    return (image.shape[-1], image.shape[-2]) if isinstance(image, Tensor) and image.ndim >= 2 else None


def _describe(image: Any) -> str:
    if isinstance(image, Image.Image):
        return f"PIL images of mode {image.mode}"
    if isinstance(image, Tensor):
        return f"tensors {tuple(image.shape)} of {image.dtype}"
    return f"of type {type(image).__name__}"


def _convert(image: Image.Image, mode: str) -> Any:
    if mode.startswith("tensor"):
        return from_picture(image.convert("L" if mode == "tensor1" else "RGB"))
    return image if image.mode == mode else image.convert(mode)
