"""`AugmentedDataset(held_out=...)`: whatever the held-out dataset is, what the generator has seen is recognised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import braingan
from braingan import AugmentedDataset, LeakageError
from braingan.augmentation.synthetic import SyntheticSet
from braingan.data.views import view_of
from braingan.duplicates.seen import Seen, find_leak
from braingan.duplicates.twins import Looks

Options = dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms of different patients: `mine` to train on, `theirs` to test on; and synthetic sets of both."""
    root = tmp_path_factory.mktemp("study")
    options: Options = {"size": 32, "steps": 2, "batch_size": 4,
                        "hyperparameters": {"base_channels": 4, "latent_size": 8}}  # fmt: skip
    for seed, name in enumerate(("mine", "theirs")):
        braingan.phantom(root / name, patients=6, slices=3, size=96, seed=seed)
        braingan.augment(root / name, root / f"{name}-augmented", ratio=0.5, **options)
    return root


@pytest.fixture
def real(study: Path) -> ImageFolder:
    return ImageFolder(str(study / "mine-augmented" / "real"))


@pytest.fixture
def leaky(study: Path) -> SyntheticSet:
    return braingan.load_synthetic(study / "theirs-augmented")


@pytest.fixture
def honest(study: Path) -> SyntheticSet:
    return braingan.load_synthetic(study / "mine-augmented")


def images(study: Path, name: str) -> list[Any]:
    found = braingan.read_images(study / name)
    return [found[number] for number in range(len(found))]


class Own(Dataset[Any]):
    """Somebody's own dataset, which calls its transform without asking whether there is one."""

    def __init__(self, items: list[Any], transform: Callable[[Any], Any]) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        image, label = self.items[number]
        return self.transform(image), label


WILD = transforms.Compose([transforms.RandomRotation(45), transforms.RandomResizedCrop(32), transforms.ToTensor()])


def test_a_dataset_that_calls_its_transform_without_asking_is_looked_at_without_it(
    study: Path, real: ImageFolder, leaky: SyntheticSet, honest: SyntheticSet
) -> None:
    held_out = Own(images(study, "theirs"), WILD)
    with pytest.raises(LeakageError, match=r"leak: .* was trained on 18 held-out images"):
        AugmentedDataset(real, leaky, held_out=held_out)
    assert len(AugmentedDataset(real, honest, held_out=held_out)) > len(real)


def test_what_lies_inside_torchs_wrappers_is_looked_at_without_its_transforms(
    study: Path, real: ImageFolder, leaky: SyntheticSet
) -> None:
    items = images(study, "theirs")
    parts = ConcatDataset([Subset(Own(items[:9], WILD), range(9)), Own(items[9:], WILD)])
    with pytest.raises(LeakageError, match="was trained on 18 held-out images"):
        AugmentedDataset(real, leaky, held_out=parts)


def test_16_bit_images_are_recognised(study: Path, tmp_path: Path, real: ImageFolder, leaky: SyntheticSet) -> None:
    for number, (image, label) in enumerate(images(study, "theirs")):
        path = tmp_path / "deep" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 200).save(path)
    with pytest.raises(LeakageError, match="was trained on 18 held-out images"):
        AugmentedDataset(real, leaky, held_out=braingan.read_images(tmp_path / "deep"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_transparent_pixels_hide_disguises_nothing(
    study: Path, real: ImageFolder, leaky: SyntheticSet, mode: str
) -> None:
    items = []
    for image, label in images(study, "theirs"):
        grey = np.asarray(image.convert("L"))
        noise = np.random.default_rng(label).integers(0, 256, grey.shape, np.uint8)  # nobody sees it
        shown = Image.fromarray(np.where(grey > 12, grey, noise)).convert(mode)
        shown.putalpha(Image.fromarray((grey > 12).astype(np.uint8) * 255))
        items.append((shown, label))
    with pytest.raises(LeakageError, match="was trained on 18 held-out images"):
        AugmentedDataset(real, leaky, held_out=items)  # type: ignore[arg-type]


def test_an_honest_generator_is_not_blamed_where_real_is_the_prepared_copy_of_shared_pictures(
    study: Path, real: ImageFolder, honest: SyntheticSet
) -> None:
    with pytest.warns(UserWarning, match="18 held-out images .* that is the data's doing"):
        AugmentedDataset(real, honest, held_out=braingan.read_images(study / "mine"))


def test_leakage_that_was_allowed_is_told_and_kept(study: Path, real: ImageFolder, honest: SyntheticSet) -> None:
    marked = SyntheticSet(tuple(honest.files), tuple(honest.classes), honest.preprocessing, honest.seen, ("leak: 3",))
    with pytest.warns(UserWarning, match="were made with --allow-leakage: leak: 3"):
        assert AugmentedDataset(real, marked).leakage == ("leak: 3",)


def test_the_very_file_leaks_even_where_training_shows_the_same_picture(study: Path) -> None:
    image = np.asarray(images(study, "theirs")[0][0].convert("L"), np.float32)[:, :, None]
    views = np.stack([view_of(image)])
    held_out, twin = Looks(views, ["a" * 64]), Looks(views, ["b" * 64])
    assert find_leak(Seen.of(held_out), held_out, twin).leaked.tolist() == [True]
    assert find_leak(Seen.of(twin), held_out, twin).leaked.tolist() == [False]
    assert find_leak(Seen.of(twin), held_out, twin).shared.tolist() == [True]


def test_an_image_that_shows_nothing_blames_nobody() -> None:
    blank = Looks(np.zeros((1, 64, 64), np.uint8), ["c" * 64])
    assert find_leak(Seen.of(blank), blank, Looks(np.zeros((0, 64, 64), np.uint8), [])).leaked.tolist() == [False]


def test_tensors_are_recognised(study: Path, real: ImageFolder, leaky: SyntheticSet) -> None:
    tensors = [(torch.from_numpy(np.asarray(image.convert("L"))[None] / 255), label)
               for image, label in images(study, "theirs")]  # fmt: skip
    with pytest.raises(LeakageError, match="was trained on 18 held-out images"):
        AugmentedDataset(real, leaky, held_out=tensors)  # type: ignore[arg-type]


class Tripling(Dataset[Any]):
    """Goes on with what its transform gave."""

    def __init__(self, items: list[Any]) -> None:
        self.items, self.transform = items, transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = self.items[index]
        return self.transform(image).repeat(3, 1, 1), label


def test_a_dataset_that_needs_its_transform_is_compared_with_it_and_warned_of(
    study: Path, real: ImageFolder, leaky: SyntheticSet
) -> None:
    held_out = Tripling(images(study, "theirs"))
    with pytest.warns(UserWarning, match="as their dataset's transform leaves them"), pytest.raises(LeakageError):
        AugmentedDataset(real, leaky, held_out=held_out)
