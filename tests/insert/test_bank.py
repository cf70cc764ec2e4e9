"""Which training images are canvases, which are tumours, and what cannot be sorted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from braingan import ImageSpec, SettingsError, TrainingData
from braingan.generation.samples import check_learnable
from braingan_insert import Insert
from braingan_insert.bank import Bank


def made_up(classes: tuple[str, ...], masked: tuple[int, ...], count: int = 12) -> TrainingData:
    """Images in turn of each class; every image of the classes `masked` has a mask."""
    images = torch.randint(0, 256, (count, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % len(classes)
    masks = torch.zeros(count, 32, 32, dtype=torch.bool)
    masks[torch.isin(labels, torch.tensor(masked)), 10:16, 10:16] = True
    return TrainingData(images, labels, ImageSpec(32, 1, classes), masks=masks)


def test_canvases_are_the_healthy_slices_and_each_part_knows_its_numbers_in_the_training_set() -> None:
    data = made_up(("glioma", "healthy", "meningioma"), (0, 2))
    bank = Bank.of(data, "")
    assert bank.canvas_numbers.tolist() == [1, 4, 7, 10]
    assert bank.makes == (0, 2)
    assert torch.equal(bank.canvases, data.images[bank.canvas_numbers])
    assert torch.equal(bank.tumors, data.images[bank.tumor_numbers])
    assert torch.equal(bank.labels, data.labels[bank.tumor_numbers])
    assert data.masks is not None
    assert torch.equal(bank.masks, data.masks[bank.tumor_numbers])


def test_a_slice_of_a_tumour_class_without_a_mask_is_neither_canvas_nor_tumour() -> None:
    data = made_up(("healthy", "tumor"), (1,))
    assert data.masks is not None
    masks = data.masks.clone()
    masks[5] = False
    bank = Bank.of(replace(data, masks=masks), "")
    assert 5 not in [*bank.canvas_numbers.tolist(), *bank.tumor_numbers.tolist()]
    assert bank.masks.flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("classes", "masked", "healthy", "words"),
    [
        (("a", "b"), (), "", "no training image has a tumour mask"),
        (("a", "b"), (0, 1), "", "each of the classes 'a', 'b' has tumour masks: there is no healthy class"),
        (("a", "b", "c"), (1,), "", "the classes 'a', 'c' have no tumour masks; which one is healthy?"),
        (("a", "b", "c"), (1,), "d", "healthy='d' was given; the data have 'a', 'b', 'c'"),
        (("a", "b", "c"), (1,), "b", "healthy='b' was given, and images of that class have tumour masks"),
    ],
)
def test_what_cannot_be_sorted_is_refused_in_one_line(
    classes: tuple[str, ...], masked: tuple[int, ...], healthy: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words.replace("?", r"\?")) as raised:
        Bank.of(made_up(classes, masked), healthy)
    assert "\n" not in str(raised.value)


def test_a_training_part_without_healthy_slices_is_refused() -> None:
    data = made_up(("healthy", "tumor"), (1,))
    assert data.masks is not None
    tumors = data.labels == 1
    part = replace(data, images=data.images[tumors], labels=data.labels[tumors], masks=data.masks[tumors])
    with pytest.raises(SettingsError, match="inserted into 'healthy', and none is in training"):
        Bank.of(part, "")


def test_a_class_whose_folder_would_be_that_of_the_masks_is_refused() -> None:
    with pytest.raises(SettingsError, match="class 'masks' would lie in one folder with the masks of the others"):
        check_learnable(Insert(), "insert", made_up(("healthy", "masks"), (1,)))


def test_of_two_classes_without_masks_the_healthy_one_can_be_named() -> None:
    bank = Bank.of(made_up(("unsure", "tumor", "healthy"), (1,)), "healthy")
    assert bank.canvas_numbers.tolist() == [2, 5, 8, 11]
    assert bank.makes == (1,)


def test_a_stored_bank_is_the_same() -> None:
    bank = Bank.of(made_up(("healthy", "tumor"), (1,)), "")
    again = Bank.from_tensors(bank.tensors())
    assert all(torch.equal(value, again.tensors()[name]) for name, value in bank.tensors().items())
    with pytest.raises(KeyError, match="masks"):
        Bank.from_tensors({key: value for key, value in bank.tensors().items() if key != "bank.masks"})
