"""The contract of a backend in one call, so that a plugin's own test is one line."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from braingan.data.pictures import to_float
from braingan.data.records import ImageSpec
from braingan.errors import BackendError, SettingsError
from braingan.generation.protocol import Generator, GeneratorBackend, TrainingData, TrainingRun
from braingan.generation.registry import hyperparameters_of
from braingan.generation.samples import EditingGenerator, check_learnable, draw_samples, edits_real_slices, labels_made

TOLERANCE = 1e-3  # in [-1, 1]: below one grey level


def check_backend(backend: GeneratorBackend, *, size: int = 32, channels: int = 1, steps: int = 2) -> None:
    """Train a backend for a moment on made-up images and check all that braingan relies on.

    Args:
        backend: as `create_backend` gives it.
        size: of the images; one that the backend can make.
        channels: of the images.
        steps: of the training.

    Raises:
        BackendError: names the first part of the contract that is broken.
    """
    spec = ImageSpec(size, channels, ("no_tumor", "tumor"))
    _require(dataclasses.is_dataclass(backend), "is no dataclass: its fields are its hyper-parameters")
    _require(
        type(backend)(**hyperparameters_of(backend)) == backend,
        "is not equal to a backend made from its own hyper-parameters",
    )
    _check_refuses(backend)
    backend.check(spec)
    data = _training_data(spec)
    made = check_learnable(backend, type(backend).__name__, data)
    kept = data.images.clone()
    generator = _fit(backend, data, steps, state_kept=True)
    _require(bool(torch.equal(kept, data.images)), "changed the training images that it was handed")
    _require(labels_made(generator) == made, f"said that it makes labels {made}; its generator says otherwise")
    labels = torch.tensor([made[number % len(made)] for number in (0, 1, 1, 0, 1)])
    images = generator.sample(labels, seed=3)
    _check_images(images, spec, len(labels))
    _check_sampling(generator, labels, images, made)
    _check_samples(generator, labels, images, data)
    _check_repeats(backend, data, steps, generator)
    _check_storage(backend, spec, generator, labels, images)
    _check_small(backend, spec)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise BackendError(f"check_backend: the backend {message}")


def _training_data(spec: ImageSpec, count: int = 12) -> TrainingData:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *spec.shape), dtype=torch.uint8, generator=random)
    labels = torch.arange(count) % len(spec.classes)
    masks = torch.zeros(count, spec.size, spec.size, dtype=torch.bool)
    masks[labels == 1, spec.size // 4 : spec.size // 2, spec.size // 4 : spec.size // 2] = True
    return TrainingData(images, labels, spec, masks=masks)


def _fit(backend: GeneratorBackend, data: TrainingData, steps: int, *, state_kept: bool = False) -> Generator:
    before = torch.random.get_rng_state()
    with _folder() as folder:
        generator = backend.fit(data, TrainingRun(folder, steps=steps, batch_size=4, seed=1))
    if state_kept:
        _require(torch.equal(before, torch.random.get_rng_state()), "moved the caller's random state while training")
    _require(generator.spec == data.spec, f"gave a generator of {generator.spec}, asked was {data.spec}")
    return generator


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _check_images(images: Tensor, spec: ImageSpec, count: int) -> None:
    _require(
        tuple(images.shape) == (count, *spec.shape), f"gave images of {tuple(images.shape)}, not {(count, *spec.shape)}"
    )
    _require(images.dtype == torch.float32, f"gave images of {images.dtype}, not torch.float32")
    _require(images.device.type == "cpu", f"gave images on {images.device}, not on the CPU")
    _require(bool(torch.isfinite(images).all()), "gave pixels that are not finite")
    low, high = float(images.min()), float(images.max())
    _require(low >= -1.0001 and high <= 1.0001, f"gave pixels from {low:.2f} to {high:.2f}; [-1, 1] was asked")


def _check_sampling(generator: Generator, labels: Tensor, images: Tensor, made: tuple[int, ...]) -> None:
    same = _close_to(images)
    _require(same(generator.sample(labels, seed=3)), "does not give the same images for the same seed")
    _require(not same(generator.sample(labels, seed=4)), "gives the same images for another seed")
    alone = torch.cat([generator.sample(labels[i : i + 1], seed=3, first=i) for i in range(len(labels))])
    _require(same(alone), "gives other images one by one than all at once: image i may depend on (seed, i, label) only")
    others = labels.clone()
    others[:-1] = torch.tensor([made[(made.index(label) + 1) % len(made)] for label in others[:-1].tolist()])
    last = generator.sample(others, seed=3)[-1:]
    _require(_close_to(images[-1:])(last), "lets an image depend on the labels of the others")
    none = generator.sample(labels[:0], seed=3)
    _require(tuple(none.shape) == (0, *images.shape[1:]), "cannot give no images at all")


def _check_samples(generator: Generator, labels: Tensor, images: Tensor, data: TrainingData) -> None:
    """What an editing generator says of its images."""
    drawn = draw_samples(generator, labels, seed=3)
    _require(_close_to(images)(drawn.images), "gives other images with masks than without")
    edits = edits_real_slices(generator)
    _require(edits == (drawn.canvases is not None),
             f"says edits_real_slices={edits} of images {'without' if edits else 'with'} canvases")  # fmt: skip
    if drawn.masks is not None:
        shape = (len(labels), *images.shape[2:])
        found = f"{tuple(drawn.masks.shape)} {drawn.masks.dtype}"
        _require(tuple(drawn.masks.shape) == shape and drawn.masks.dtype == torch.bool,
                 f"gave masks of {found}, not {shape} torch.bool")  # fmt: skip
        _require(bool(drawn.masks.flatten(1).any(1).all()), "gave an empty mask")
    if drawn.canvases is None:
        return
    _require(isinstance(generator, EditingGenerator), "edits training images, and has no `sized` or `makes`")
    if drawn.masks is None or drawn.mask_sources is None:
        raise BackendError("check_backend: the backend edits training images, and gives no masks")
    count = len(data.images)
    inside = [
        bool(((low <= each) & (each < count)).all()) for low, each in ((0, drawn.canvases), (-1, drawn.mask_sources))
    ]
    _require(all(inside), "names training images that there are not")
    canvases = to_float(data.images[drawn.canvases])
    kept = ((drawn.images - canvases).abs() < TOLERANCE).all(1) & ~drawn.masks
    most = kept.flatten(1).sum(1) * 2 > (~drawn.masks).flatten(1).sum(1)
    _require(bool(most.all()), "names canvases that its images were not made from")


def _close_to(expected: Tensor) -> Callable[[Tensor], bool]:
    return lambda found: found.shape == expected.shape and bool((found - expected).abs().max() < TOLERANCE)


def _check_repeats(backend: GeneratorBackend, data: TrainingData, steps: int, generator: Generator) -> None:
    again = _fit(backend, data, steps).state_dict()
    first = generator.state_dict()
    same = first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)
    _require(same, "does not learn the same from the same data and seed")


def _check_storage(
    backend: GeneratorBackend, spec: ImageSpec, generator: Generator, labels: Tensor, images: Tensor
) -> None:
    state = generator.state_dict()
    plain = all(isinstance(value, Tensor) and value.is_contiguous() for value in state.values())
    _require(plain, "gave a state_dict with values that are no contiguous tensors")
    before = torch.random.get_rng_state()
    with _folder() as folder:
        try:
            save_file(state, folder / "model.safetensors")
        except RuntimeError as error:  # tensors that share memory, say
            raise BackendError(f"check_backend: the state_dict cannot be stored: {error}") from error
        stored = load_file(folder / "model.safetensors")
    loaded = backend.load(spec, stored)
    _require(torch.equal(before, torch.random.get_rng_state()), "moved the caller's random state while loading")
    _require(
        _close_to(images)(loaded.sample(labels, seed=3)), "gives other images after its state was stored and loaded"
    )


def _check_refuses(backend: GeneratorBackend) -> None:
    """`check` refuses with `SettingsError`, or accepts; it never fails in another way."""
    for size in (8, 31, 1000):
        try:
            backend.check(ImageSpec(size, 1, ("one",)))
        except SettingsError as error:
            _require(str(size) in str(error), f"refuses size {size} without naming it")
        except Exception as error:
            raise BackendError(
                f"check_backend: check() of size {size} raised {type(error).__name__}: {error}"
            ) from error


def _check_small(backend: GeneratorBackend, spec: ImageSpec) -> None:
    """A set smaller than a batch, and a single step, work."""
    generator = _fit(backend, _training_data(spec, count=2), steps=1)
    _check_images(generator.sample(torch.tensor(labels_made(generator)[-1:]), seed=0), spec, 1)
