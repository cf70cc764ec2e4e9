"""Batches are the same wherever the images are."""

from __future__ import annotations

import torch
from torch import Tensor

from braingan.data.sampling import IndexSampler
from braingan.engine.images import ImageStore, fits

CPU = torch.device("cpu")


def images_and_labels() -> tuple[Tensor, Tensor]:
    """Twelve images, three of each four being of class 0."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=random)
    return images, (torch.arange(12) % 4 == 3).long()


def store(*, resident: bool) -> ImageStore:
    """A store of these."""
    images, labels = images_and_labels()
    return ImageStore(images, labels, IndexSampler(labels, "balanced", seed=3), CPU, resident=resident)


def test_resident_and_streamed_images_give_equal_batches() -> None:
    there, streamed = store(resident=True), store(resident=False)
    for number in range(6):
        for one, other in zip(there.batch(number, 5), streamed.batch(number, 5), strict=True):
            assert torch.equal(one, other)


def test_a_batch_depends_on_its_number_alone() -> None:
    one, other = store(resident=True), store(resident=True)
    for number in (7, 0, 3):
        one.batch(number, 5)
    assert torch.equal(one.batch(2, 5)[0], other.batch(2, 5)[0])


def test_images_come_with_their_own_labels_as_numbers_from_minus_one_to_one() -> None:
    images, labels = images_and_labels()
    sampler = IndexSampler(labels, "balanced", seed=3)
    batch, y = ImageStore(images, labels, sampler, CPU).batch(1, 6)
    chosen = sampler.batch(1, 6)
    assert torch.equal(batch, images[chosen].float() / 127.5 - 1)
    assert y.tolist() == labels[chosen].tolist() == [0, 1] * 3
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_the_parts_of_a_batch_make_the_whole() -> None:
    whole, y = store(resident=False).batch(4, 6)
    parts = [store(resident=False).batch(4, 6, part) for part in (slice(0, 3), slice(3, 6))]
    assert torch.equal(torch.cat([images for images, _ in parts]), whole)
    assert torch.equal(torch.cat([labels for _, labels in parts]), y)


def test_a_batch_may_be_larger_than_the_set() -> None:
    images, y = store(resident=True).batch(0, 30)
    assert images.shape == (30, 3, 8, 8)
    assert y.sum() == 15


def test_host_memory_is_where_images_live_without_a_gpu() -> None:
    images, _ = images_and_labels()
    assert fits(images, CPU)
