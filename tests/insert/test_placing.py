"""Where tumours come to lie, of which outline and how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from braingan import SettingsError
from braingan.data.preprocessing import foreground_mask
from braingan_insert.bank import Bank
from braingan_insert.placing import NORMALS, Placer, Places


def drawn(placer: Placer, count: int = 48, seed: int = 0) -> Places:
    """Places for tumours of the classes that there are, in turn."""
    makes = torch.tensor(placer.bank.makes)
    normals = torch.randn(count, NORMALS, generator=torch.Generator().manual_seed(seed))
    return placer.draw(makes[torch.arange(count) % len(makes)], normals)


def depth_of(image: Tensor) -> np.ndarray:
    """Distance of each pixel to the outside of the head, 0 there; the image's border is outside, too."""
    head = ndimage.binary_fill_holes(foreground_mask(image.permute(1, 2, 0).float().numpy()))
    return np.asarray(ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1])


def areas(places: Places) -> Tensor:
    return places.masks.sum((1, 2, 3))


def circle(x: float, y: float, radius: float, side: int = 32) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    return (columns - x).square() + (rows - y).square() < radius**2


def made_up(masks: Tensor, canvases: int = 12) -> Bank:
    """Alike heads: discs of radius 13, with texture; tumours where the masks say."""
    head = 120 * circle(16, 16, 13).float()
    random = torch.Generator().manual_seed(0)
    noisy = head + 20 * torch.rand(canvases + len(masks), 1, 32, 32, generator=random) * (head > 0)
    noisy[canvases:, 0][masks & (head > 0)] = 240
    images = noisy.to(torch.uint8)
    ones = torch.ones(len(masks), dtype=torch.int64)
    numbers = torch.arange(canvases + len(masks))
    return Bank(images[:canvases], numbers[:canvases], images[canvases:], masks, ones, numbers[canvases:])


@pytest.mark.parametrize("match_level", [True, False])
def test_black_slices_are_no_canvases(match_level: bool) -> None:
    bank = made_up(circle(16, 16, 4)[None])
    dark = replace(bank, canvases=bank.canvases.clone())
    dark.canvases[3:] = torch.randint(0, 4, dark.canvases[3:].shape, dtype=torch.uint8)
    assert set(drawn(Placer(dark, match_level=match_level)).canvases.tolist()) == {0, 1, 2}
    with pytest.raises(SettingsError, match="tumours are inserted into healthy slices, and all of these are black"):
        drawn(Placer(replace(dark, canvases=torch.zeros_like(dark.canvases)), match_level=match_level))


@pytest.mark.parametrize(("variation", "tumor_size"), [(1.0, 1.0), (3.0, 1.0), (1.0, 0.25), (1.0, 4.0), (0.0, 1.0)])
def test_outlines_are_never_empty_and_lie_as_far_inside_the_head_as_training_tumours_do(
    bank: Bank, variation: float, tumor_size: float
) -> None:
    places = drawn(Placer(bank, variation=variation).sized(tumor_size))
    kept = [depth_of(image)[mask.numpy()].min() for image, mask in zip(bank.tumors, bank.masks, strict=True)]
    edge = np.quantile(kept, 0.25)
    assert edge > 1  # or the test would say nothing
    assert ((places.masks == 0) | (places.masks == 1)).all()
    assert (areas(places) >= 1).all()
    for canvas, mask in zip(places.canvases.tolist(), places.masks, strict=True):
        depth = depth_of(bank.canvases[canvas])
        assert depth[mask[0].numpy() > 0].min() >= min(edge, depth.max() / 2)


def test_training_tumours_that_touch_the_heads_edge_do_not_let_others_lie_in_the_air() -> None:
    masks = torch.stack([circle(3 + number % 4, 16, 3) for number in range(8)])  # half of them reach out of the head
    bank = made_up(masks)
    places = drawn(Placer(bank, variation=2.0))
    for canvas, mask in zip(places.canvases.tolist(), places.masks, strict=True):
        assert depth_of(bank.canvases[canvas])[mask[0].numpy() > 0].min() > 0


def test_place_i_depends_on_its_numbers_and_its_label_alone(bank: Bank) -> None:
    random = torch.Generator().manual_seed(1)
    labels, normals = torch.ones(20, dtype=torch.int64), torch.randn(20, NORMALS, generator=random)
    whole = Placer(bank).draw(labels, normals)
    for part in (slice(0, 1), slice(7, 8), slice(13, 20)):
        alone = Placer(bank).draw(labels[part], normals[part])
        assert all(torch.equal(getattr(alone, name), getattr(whole, name)[part]) for name in vars(whole))


def test_the_larger_the_tumours_asked_the_larger_the_outlines(bank: Bank) -> None:
    small, plain, large = (areas(drawn(Placer(bank).sized(size))).median() for size in (0.5, 1.0, 2.0))
    assert small * 1.5 < plain
    assert plain * 1.5 < large


def test_tumours_that_come_to_next_to_nothing_stay_small_and_where_they_should_be() -> None:
    masks = torch.stack([circle(12, 14 + number % 3, 2) for number in range(8)])
    places = drawn(Placer(made_up(masks)).sized(0.25))
    assert areas(places).max() <= masks.flatten(1).sum(1).min()
    middles = [np.mean(np.argwhere(mask[0].numpy() > 0), axis=0) for mask in places.masks]
    assert all(abs(row - 15) < 8 and min(abs(column - 12), abs(column - 20)) < 8 for row, column in middles)


def test_without_variation_outlines_are_training_masks_where_they_were_cut_to_the_room(bank: Bank) -> None:
    placer = Placer(bank, variation=0)
    places = drawn(placer)
    for mask, source, canvas in zip(places.masks, places.sources.tolist(), places.canvases.tolist(), strict=True):
        outline, room = bank.masks[source], placer.room_of(canvas)
        assert any(torch.equal(mask[0] > 0, shown & room) for shown in (outline, outline.flip(-1)))


def test_with_variation_outlines_differ_from_all_training_masks_and_from_each_other(bank: Bank) -> None:
    places = drawn(Placer(bank))
    known = {mask.numpy().tobytes() for shown in (bank.masks, bank.masks.flip(-1)) for mask in shown}
    found = {(mask[0] > 0).numpy().tobytes() for mask in places.masks}
    assert len(found) > 40
    assert len(found & known) < 3


def test_canvases_are_at_levels_at_which_there_are_tumours() -> None:
    masks = torch.stack([circle(14 + number % 4, 16, 3) for number in range(8)])
    bank = made_up(masks, canvases=30)
    canvases = bank.canvases.clone()
    canvases[15:] = canvases[15:] * circle(16, 10, 5).byte()  # the top of the head: small, and elsewhere
    bank = replace(bank, canvases=canvases)
    assert drawn(Placer(bank)).canvases.max() < 15
    assert drawn(Placer(bank, match_level=False)).canvases.max() >= 15


def test_outlines_are_of_tumours_of_the_class_that_is_asked(bank: Bank) -> None:
    other = replace(bank, labels=torch.arange(len(bank.labels)) % 2 * 2)
    places = drawn(Placer(other))
    assert torch.equal(other.labels[places.sources], torch.arange(48) % 2 * 2)


def top_left(
    canvas: np.ndarray, room: np.ndarray, label: int, masks: np.ndarray, random: np.random.Generator
) -> object:
    """Where to put a tumour: a square of random width around the middle of the room."""
    assert (canvas.dtype, room.dtype, masks.dtype) == (np.uint8, np.bool_, np.bool_)
    assert canvas.shape[1:] == room.shape == masks.shape[1:]
    assert masks.any(axis=(1, 2)).all()
    mask, width = np.zeros_like(room), random.integers(2, 8)
    mask[15 : 15 + width, 15 : 15 + width] = True
    return mask


def test_a_function_of_ones_own_chooses_outline_and_place(bank: Bank) -> None:
    placer = Placer(bank, mask_sampler=top_left)  # type: ignore[arg-type]
    places = drawn(placer)
    assert places.masks[:, 0, 15:17, 15:17].all()
    assert not places.masks[:, 0, :15].any()
    assert len(areas(places).unique()) > 3
    assert (places.sources == -1).all()
    assert torch.equal(drawn(placer, 16).masks, places.masks[:16])


WRONG: dict[str, Callable[..., object]] = {
    "of another size": lambda canvas, room, *others: np.ones((3, 3), bool),
    "empty": lambda canvas, room, *others: np.zeros_like(room),
    "of numbers": lambda canvas, room, *others: room * 255,
    "a list": lambda canvas, room, *others: room.tolist(),
    "a tensor": lambda canvas, room, *others: torch.from_numpy(room),
    "nothing": lambda *given: None,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mask_that_is_none_is_refused_in_one_line(bank: Bank, what: str) -> None:
    with pytest.raises(SettingsError, match=r"the mask sampler gave .*\(32, 32\)") as raised:
        drawn(Placer(bank, mask_sampler=WRONG[what]), 2)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_places_are_spread_over_canvases_and_tumours(bank: Bank) -> None:
    places = drawn(Placer(bank), 200)
    assert len(places.canvases.unique()) >= 8
    assert len(places.sources.unique()) >= len(bank.masks) / 2
