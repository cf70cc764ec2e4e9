"""The seam, and the window in which networks see a tumour."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from braingan_insert.blending import corners_of, cut, cut_masks, put_back, soften, window_side


def square(top: int, left: int, width: int, side: int = 64) -> Tensor:
    mask = torch.zeros(1, 1, side, side)
    mask[:, :, top : top + width, left : left + width] = 1
    return mask


@pytest.mark.parametrize("side", [32, 64, 256])
def test_a_softened_mask_is_whole_in_the_mask_nothing_far_away_and_never_steep(side: int) -> None:
    mask = square(side // 4, side // 4, side // 2, side)
    opacity = soften(mask, side)
    assert opacity.shape == mask.shape
    assert (opacity.min(), opacity.max()) == (0, pytest.approx(1))
    assert opacity[mask > 0].min() > 0.75
    reach = max(4, side * 4 // 64) + 1
    assert (opacity[:, :, : side // 4 - reach] == 0).all()
    steepest = (opacity[:, :, 1:] - opacity[:, :, :-1]).abs().max()
    assert steepest < (0.15 if side == 256 else 0.45)


def test_a_mask_at_the_images_edge_is_not_softened_there() -> None:
    assert soften(square(0, 20, 20), 64)[0, 0, 0, 30] == pytest.approx(1)


def test_a_window_holds_nearly_all_tumours_with_their_soft_edges() -> None:
    masks = torch.cat([square(20, 20, width)[:, 0] > 0 for width in (4, 10, 16)])
    window = window_side(masks, 8)
    assert window % 8 == 0
    assert 16 + 2 * 4 <= window < 64
    assert window_side(torch.ones(2, 64, 64, dtype=torch.bool), 8) == 64
    whole = masks[:, None].float()
    corners = corners_of(whole, window)
    assert torch.equal(cut_masks(whole, corners, window).sum((1, 2, 3)), whole.sum((1, 2, 3)))


@pytest.mark.parametrize(("top", "left"), [(0, 0), (56, 60), (30, 2), (28, 28)])
def test_a_window_lies_within_the_image_around_the_tumour(top: int, left: int) -> None:
    mask = square(top, left, 4)
    corners = corners_of(mask, 24)
    assert 0 <= int(corners.min()) <= int(corners.max()) <= 64 - 24
    assert cut_masks(mask, corners, 24).sum() == mask.sum()


def test_what_is_cut_out_and_put_back_is_where_it_was_and_the_rest_is_untouched() -> None:
    images = torch.rand(3, 2, 64, 64)
    corners = torch.tensor([[0, 0], [7, 31], [40, 40]])
    windows = cut(images, corners, 24)
    assert torch.equal(put_back(images, windows, corners), images)
    changed = put_back(images, windows + 1, corners)
    assert torch.equal((changed != images).sum((1, 2, 3)), torch.full((3,), 2 * 24 * 24))
    assert torch.equal(cut(changed, corners, 24), windows + 1)


def test_no_soft_edge_is_cut_by_the_window() -> None:
    mask = square(10, 10, 40)  # larger than the window
    corners = corners_of(mask, 32)
    inner = cut_masks(mask, corners, 32)
    whole = soften(put_back(torch.zeros(1, 1, 64, 64), inner, corners), 64)
    assert inner.any()
    assert torch.equal(put_back(torch.zeros(1, 1, 64, 64), soften(inner, 64), corners), whole)


def test_of_a_tumour_in_two_far_pieces_at_least_one_lies_in_the_window() -> None:
    mask = torch.maximum(square(2, 2, 5), square(54, 54, 6))
    corners = corners_of(mask, 24)
    assert cut_masks(mask, corners, 24).sum() >= 25
