"""`AugmentedDataset` goes wherever the dataset went that it wraps."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, WeightedRandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import braingan
from braingan import AugmentedDataset, DataError, SettingsError
from braingan.augmentation.synthetic import SyntheticFile, SyntheticSet
from braingan.data.pictures import write_png
from braingan.data.preprocessing import Preprocessing

PREPARED = Preprocessing(size=32).fingerprint


def to_tensor() -> Any:
    return transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])


@pytest.fixture
def synthetic(tmp_path: Path) -> SyntheticSet:
    """Three grey images of class tumor and one of no_tumor, as `sample` writes them."""
    files = []
    for index, name in enumerate(["tumor", "tumor", "tumor", "no_tumor"]):
        path = tmp_path / "synthetic" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32), 50 * index, np.uint8)).save(path)
        files.append(SyntheticFile(path, name, index, 0, "dcgan", "f" * 64, "e" * 64))
    return SyntheticSet(tuple(files), ("no_tumor", "tumor"), Preprocessing(size=32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders of grey 32-pixel images, as under OUT/real."""
    for label, level in (("no_tumor", 20), ("tumor", 200)):
        for number in range(3):
            path = tmp_path / "real" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, torch.full((1, 32, 32), level + number, dtype=torch.uint8), {"Preprocessing": PREPARED})
    return tmp_path / "real"


class Own(Dataset[Any]):
    """Somebody's own dataset."""

    def __init__(self, items: list[tuple[Any, Any]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.items[index]


def grey(level: int = 9, size: int = 32) -> Image.Image:
    image = Image.fromarray(np.full((size, size), level, np.uint8))
    image.info["Preprocessing"] = PREPARED
    return image


def test_real_items_come_first_and_untouched(folder: Path, synthetic: SyntheticSet) -> None:
    real = ImageFolder(str(folder), transform=to_tensor())
    mixed = AugmentedDataset(real, synthetic)
    assert len(mixed) == 6 + 4
    for index in range(6):
        assert torch.equal(mixed[index][0], real[index][0])
        assert mixed[index][1] == real[index][1]
    assert mixed.targets == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert mixed.classes == real.classes
    assert mixed[-1][1] == 0
    with pytest.raises(IndexError):
        mixed[10]


def test_synthetic_items_take_the_mode_and_pass_through_the_transforms_of_the_real_ones(
    folder: Path, synthetic: SyntheticSet
) -> None:
    real = ImageFolder(str(folder), transform=to_tensor(), target_transform=lambda label: label * 10)
    mixed = AugmentedDataset(real, synthetic)
    image, label = mixed[6]
    assert image.shape == (3, 32, 32)  # ImageFolder loads RGB
    assert label == 10
    raw = AugmentedDataset(ImageFolder(str(folder)), synthetic)
    assert raw[7][0].mode == "RGB"
    assert raw[7][0].getpixel((0, 0)) == (50, 50, 50)


def test_classes_are_matched_by_name_and_not_by_order(folder: Path, synthetic: SyntheticSet) -> None:
    (folder / "tumor").rename(folder / "a_tumor_first")
    (folder / "a_tumor_first").rename(folder / "Z")
    real = Own([(grey(), 0), (grey(), 1)])
    real.classes = ["tumor", "no_tumor"]  # type: ignore[attr-defined]
    mixed = AugmentedDataset(real, synthetic)
    assert mixed.targets[2:] == [0, 0, 0, 1]
    with pytest.raises(DataError, match="synthetic images have class 'tumor', the real ones have 'Z', 'no_tumor'"):
        AugmentedDataset(ImageFolder(str(folder)), synthetic)


def test_a_dataset_without_class_names_is_matched_by_order_with_a_warning(synthetic: SyntheticSet) -> None:
    with pytest.warns(UserWarning, match="0 is 'no_tumor', 1 is 'tumor' is assumed"):
        mixed = AugmentedDataset(Own([(grey(), 0), (grey(), 1)]), synthetic)
    assert mixed.targets == [0, 1, 1, 1, 1, 0]
    with pytest.raises(DataError, match=r"labels \[0, 5\] and no class names"):
        AugmentedDataset(Own([(grey(), 0), (grey(), 5)]), synthetic)
    named = AugmentedDataset(Own([(grey(), "tumor"), (grey(), "no_tumor")]), synthetic)
    assert named.targets == ["tumor", "no_tumor", "tumor", "tumor", "tumor", "no_tumor"]


def test_assigning_a_transform_reaches_both_parts_and_leaves_the_users_dataset_alone(
    folder: Path, synthetic: SyntheticSet
) -> None:
    own = to_tensor()
    real = ImageFolder(str(folder), transform=own)
    mixed = AugmentedDataset(real, synthetic)
    mixed.transform = lambda image: image.size
    assert mixed[0][0] == mixed[9][0] == (32, 32)
    assert real.transform is own
    assert real[0][0].shape == (3, 32, 32)
    plain = Own([(grey(), 0), (grey(), 1)])
    plain.classes = ["no_tumor", "tumor"]  # type: ignore[attr-defined]
    wrapped = AugmentedDataset(plain, synthetic)
    wrapped.transform = lambda image: image.mode
    assert wrapped[0][0] == wrapped[5][0] == "L"
    assert plain[0][0].mode == "L"


def test_timms_loader_assigns_its_transform_to_both_parts(folder: Path, synthetic: SyntheticSet) -> None:
    mixed = AugmentedDataset(ImageFolder(str(folder)), synthetic)
    loader = timm.data.create_loader(
        mixed, (3, 24, 24), 5, is_training=True, use_prefetcher=False, num_workers=0, device=torch.device("cpu")
    )
    assert [tuple(images.shape) for images, _ in loader] == [(5, 3, 24, 24)] * 2


def test_a_subset_of_a_dataset_is_wrapped_like_the_dataset(folder: Path, synthetic: SyntheticSet) -> None:
    real = ImageFolder(str(folder), transform=to_tensor())
    mixed = AugmentedDataset(Subset(Subset(real, [5, 0, 3]), [0, 1]), synthetic)
    assert mixed.targets == [1, 0, 1, 1, 1, 0]
    assert mixed[2][0].shape == (3, 32, 32)
    mixed.transform = None
    assert isinstance(mixed[0][0], Image.Image)
    assert real[0][0].shape == (3, 32, 32)


def test_it_can_be_pickled_and_read_by_workers_with_a_weighted_sampler(folder: Path, synthetic: SyntheticSet) -> None:
    mixed = AugmentedDataset(ImageFolder(str(folder), transform=to_tensor()), synthetic)
    assert len(pickle.loads(pickle.dumps(mixed))) == 10
    weights = [1.0 / mixed.targets.count(label) for label in mixed.targets]
    sampler = WeightedRandomSampler(weights, 12)
    batches = list(DataLoader(mixed, batch_size=4, sampler=sampler, num_workers=2))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 32, 32)] * 3


def kinds_of(mixed: AugmentedDataset, indices: list[int]) -> Counter[tuple[Any, str]]:
    """How often each class came, and of what kind."""
    return Counter((mixed.targets[index], "real" if index < len(mixed.real) else "synthetic") for index in indices)


def test_a_sampler_draws_the_asked_share_of_synthetic_images_in_every_class(
    folder: Path, synthetic: SyntheticSet
) -> None:
    (folder / "tumor" / "0.png").unlink()
    mixed = AugmentedDataset(ImageFolder(str(folder)), synthetic)
    sampler = mixed.sampler(share=0.25, length=160)
    assert len(sampler) == 160
    assert kinds_of(mixed, list(sampler)) == {
        (0, "real"): 60, (0, "synthetic"): 20, (1, "real"): 60, (1, "synthetic"): 20,
    }  # fmt: skip
    natural = mixed.sampler(share=0.5, balanced=False, length=100)
    assert kinds_of(mixed, list(natural)) == {
        (0, "real"): 30, (0, "synthetic"): 30, (1, "real"): 20, (1, "synthetic"): 20,
    }  # fmt: skip
    assert len(mixed.sampler(share=0.5)) == len(list(mixed.sampler(share=0.5))) == len(mixed) == 9
    assert {kind for _, kind in kinds_of(mixed, list(mixed.sampler(share=0)))} == {"real"}
    assert {kind for _, kind in kinds_of(mixed, list(mixed.sampler(share=1)))} == {"synthetic"}


def test_epochs_of_a_sampler_differ_and_come_again_with_the_seed_after_pickling_too(
    folder: Path, synthetic: SyntheticSet
) -> None:
    mixed = AugmentedDataset(ImageFolder(str(folder)), synthetic)
    sampler = mixed.sampler(share=0.5, seed=4, length=12)
    epochs = [list(sampler) for _ in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = mixed.sampler(share=0.5, seed=4, length=12)
    assert [list(again) for _ in range(2)] == epochs[:2]
    kept = pickle.loads(pickle.dumps(again))
    assert [list(kept) for _ in range(2)] == epochs[2:]
    broken_off = mixed.sampler(share=0.5, seed=4, length=12)
    next(iter(broken_off))
    assert list(broken_off) == epochs[1]
    assert list(mixed.sampler(share=0.5, seed=5, length=12)) != epochs[0]


def test_a_sampler_serves_a_loader_with_workers_and_labels_that_are_names(synthetic: SyntheticSet) -> None:
    items = [(grey(level), name) for level, name in ((1, "tumor"), (2, "no_tumor"), (3, "no_tumor"))]
    mixed = AugmentedDataset(Own(items), synthetic, transform=transforms.ToTensor())
    mixed.transform = transforms.ToTensor()
    sampler = mixed.sampler(share=0.5, length=16)
    for _ in range(2):
        names = [name for _, batch in DataLoader(mixed, batch_size=4, sampler=sampler, num_workers=2) for name in batch]
        assert Counter(names) == {"tumor": 8, "no_tumor": 8}
    natural = kinds_of(mixed, list(mixed.sampler(share=0.5, balanced=False, length=60)))
    assert set(natural.values()) == {10, 20}
    assert natural["no_tumor", "synthetic"] == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"share": 1.2}, r"share 1\.2 was asked; .* 0 to 1"),
        ({"share": float("nan")}, "share nan was asked"),
        ({"share": 0.5, "length": 0}, "length 0 was asked"),
        ({"share": 0.5, "seed": -1}, "seed -1 was asked"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused_in_one_line(
    folder: Path, synthetic: SyntheticSet, options: dict[str, Any], words: str
) -> None:
    mixed = AugmentedDataset(ImageFolder(str(folder)), synthetic)
    with pytest.raises(SettingsError, match=words) as refused:
        mixed.sampler(**options)
    assert "\n" not in str(refused.value)


def test_a_share_of_no_synthetic_images_is_refused_and_none_is_drawn_from_the_real_ones(folder: Path) -> None:
    nothing = SyntheticSet((), ("no_tumor", "tumor"), Preprocessing(size=32))
    mixed = AugmentedDataset(ImageFolder(str(folder)), nothing)
    with pytest.raises(SettingsError, match=r"share 0\.5 was asked, and no class has synthetic images"):
        mixed.sampler(share=0.5)
    assert sorted(mixed.sampler(share=0)) == list(range(6))


def test_torchvision_v2_transforms_work(folder: Path, synthetic: SyntheticSet) -> None:
    chain = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)])
    mixed = AugmentedDataset(ImageFolder(str(folder), transform=chain), synthetic)
    assert mixed[0][0].shape == mixed[9][0].shape == (3, 32, 32)


def test_uint8_tensors_are_converted_to_and_float_tensors_need_a_transform(synthetic: SyntheticSet) -> None:
    named = ["no_tumor", "tumor"]
    eight = Own([(torch.zeros(3, 32, 32, dtype=torch.uint8), 0), (torch.zeros(3, 32, 32, dtype=torch.uint8), 1)])
    eight.classes = named  # type: ignore[attr-defined]
    assert AugmentedDataset(eight, synthetic)[3][0].shape == (3, 32, 32)
    floats = Own([(torch.zeros(1, 32, 32), 0), (torch.zeros(1, 32, 32), 1)])
    floats.classes = named  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"tensors \(1, 32, 32\) of torch\.float32.*pass transform="):
        AugmentedDataset(floats, synthetic)
    mixed = AugmentedDataset(floats, synthetic, transform=transforms.ToTensor(), target_transform=lambda y: -y)
    assert mixed[2][0].shape == (1, 32, 32)
    assert mixed[2][1] == -1
    assert torch.equal(mixed[0][0], floats[0][0])


@pytest.mark.parametrize("mode", ["P", "F", "I;16"])
def test_a_mode_that_cannot_be_converted_to_is_refused(synthetic: SyntheticSet, mode: str) -> None:
    odd = Own([(Image.new(mode, (32, 32)), 0)])
    odd.classes = ["no_tumor", "tumor"]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=f"PIL images of mode {mode}"):
        AugmentedDataset(odd, synthetic)


def test_an_empty_real_dataset_is_refused(synthetic: SyntheticSet) -> None:
    empty = Own([])
    empty.classes = ["no_tumor", "tumor"]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="real dataset is empty"):
        AugmentedDataset(empty, synthetic)


def test_real_images_of_another_resolution_are_warned_of_and_prepared_ones_are_not(
    folder: Path, synthetic: SyntheticSet, write_data: Callable[..., Path], tmp_path: Path, tiny: dict[str, Any]
) -> None:
    data = write_data("raw")
    with pytest.warns(UserWarning, match="real images are 40x40 pixels, synthetic ones 32x32"):
        AugmentedDataset(ImageFolder(str(data)), synthetic)
    for path in folder.rglob("*.png"):  # the same size, but nobody knows how they were made
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(path.with_suffix(".bmp"))
        path.unlink()
    with pytest.warns(UserWarning, match="real images do not say that they were cropped and normalised"):
        AugmentedDataset(ImageFolder(str(folder)), synthetic)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        braingan.augment(data, tmp_path / "out", ratio=0.5, **tiny)
        AugmentedDataset(ImageFolder(str(tmp_path / "out" / "real")), braingan.load_synthetic(tmp_path / "out"))


def test_a_dataset_that_goes_on_with_what_its_transform_gave_is_wrapped_with_a_transform_of_its_own(
    synthetic: SyntheticSet,
) -> None:
    class Tripling(Own):
        transform = staticmethod(to_tensor())
        classes: ClassVar[list[str]] = ["no_tumor", "tumor"]

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, label = self.items[index]
            return self.transform(image).repeat(3, 1, 1), label

    real = Tripling([(grey(), 0), (grey(), 1)])
    with pytest.raises(DataError, match=r"gives no images without its own transform \(.*pass transform="):
        AugmentedDataset(real, synthetic)
    chain = transforms.Compose([to_tensor(), lambda pixels: pixels.repeat(3, 1, 1)])
    mixed = AugmentedDataset(real, synthetic, transform=chain)
    assert mixed[0][0].shape == mixed[3][0].shape == (3, 32, 32)


def test_real_images_of_several_modes_are_wrapped_with_a_transform(synthetic: SyntheticSet) -> None:
    real = Own([(grey(), 0), (grey().convert("RGB"), 1)])
    real.classes = ["no_tumor", "tumor"]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="mode L, PIL images of mode RGB"):
        AugmentedDataset(real, synthetic)
    assert AugmentedDataset(real, synthetic, transform=to_tensor())[3][0].shape == (1, 32, 32)


def test_labels_that_are_not_those_of_the_items_are_left_alone(synthetic: SyntheticSet) -> None:
    real = Own([(grey(), 0), (grey(), 1), (grey(), 1)])
    real.classes = real.labels = ["no_tumor", "tumor"]  # type: ignore[attr-defined]
    assert AugmentedDataset(real, synthetic).targets == [0, 1, 1, 1, 1, 1, 0]


def test_labels_that_only_the_images_tell_are_looked_up_once(synthetic: SyntheticSet) -> None:
    class Counting(Own):
        opened = 0
        classes: ClassVar[list[str]] = ["no_tumor", "tumor"]

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            self.opened += 1
            return self.items[index]

    real = Counting([(grey(), 0), (grey(), 1)])
    mixed = AugmentedDataset(real, synthetic)
    opened = real.opened
    assert mixed.targets == mixed.targets == [0, 1, 1, 1, 1, 0]
    assert real.opened == opened + 2


def test_a_dataset_that_calls_its_transform_without_asking_is_wrapped(synthetic: SyntheticSet) -> None:
    class Trusting(Own):
        transform = staticmethod(to_tensor())
        classes: ClassVar[list[str]] = ["no_tumor", "tumor"]

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            image, label = self.items[index]
            return self.transform(image), label

    assert AugmentedDataset(Trusting([(grey(), 0), (grey(), 1)]), synthetic)[3][0].shape == (1, 32, 32)


def test_class_names_are_in_label_order_whatever_the_order_of_the_dictionary(synthetic: SyntheticSet) -> None:
    real = Own([(grey(), 0), (grey(), 1)])
    real.class_to_idx = {"tumor": 1, "no_tumor": 0}  # type: ignore[attr-defined]
    assert AugmentedDataset(real, synthetic).classes == ["no_tumor", "tumor"]
