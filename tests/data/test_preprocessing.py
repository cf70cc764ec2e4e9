from collections.abc import Callable

import numpy as np
import pytest

from braingan.data.preprocessing import Preprocessing, foreground_box, square_around
from braingan.errors import SettingsError

Head = Callable[..., np.ndarray]
SMALL = Preprocessing(size=32)


def volume(*pictures: np.ndarray) -> list[np.ndarray]:
    """Greyscale pictures as slices of one patient."""
    return [picture.astype(np.float32).reshape(*picture.shape[:2], -1) for picture in pictures]


def prepare(*pictures: np.ndarray, how: Preprocessing = SMALL) -> np.ndarray:
    return how(volume(*pictures)).astype(int)


def extent(image: np.ndarray) -> tuple[int, int]:
    """Height and width of what is bright in a (1, size, size) image."""
    bright = image[0] > 60
    return int(bright.any(axis=1).sum()), int(bright.any(axis=0).sum())


def test_a_head_off_centre_is_centred(head: Head) -> None:
    centred, moved = prepare(head(48, (24, 24)))[0], prepare(head(48, (13, 33)))[0]
    assert centred.shape == (1, 32, 32)
    assert np.abs(centred - moved).mean() < 1
    rows, columns = np.nonzero(moved[0] > 60)
    assert abs(rows.mean() - 15.5) < 1.5
    assert abs(columns.mean() - 15.5) < 1.5


def test_the_head_fills_the_square_and_keeps_its_proportions(head: Head) -> None:
    height, width = extent(prepare(head(48, (24, 24), radius=12))[0])
    assert 26 <= height <= 32
    assert width == pytest.approx(0.8 * height, abs=2)


def test_a_head_at_the_edge_is_surrounded_by_black(head: Head) -> None:
    image = prepare(head(40, (2, 20)))[0, 0]
    assert image.shape == (32, 32)
    assert image[:, :2].max() < 30


def test_a_picture_that_is_no_square_is_not_distorted(head: Head) -> None:
    square = head(48, (24, 24))
    wide = np.pad(square, ((0, 0), (30, 10)), constant_values=2)
    assert np.abs(prepare(square) - prepare(wide)).mean() < 1


def test_text_in_a_corner_neither_widens_the_crop_nor_darkens_the_head(head: Head) -> None:
    plain = head(48, (28, 28))
    labelled = plain.copy()
    labelled[2:5, 2:10] = 255
    assert foreground_box(volume(labelled)[0]) == foreground_box(volume(plain)[0])
    assert np.abs(prepare(plain) - prepare(labelled)).mean() < 2


def test_without_cropping_the_whole_picture_is_kept(head: Head) -> None:
    picture = head(48, (13, 33))
    uncropped = prepare(picture, how=Preprocessing(size=48, crop=False))[0, 0]
    rows, columns = np.nonzero(uncropped > 60)
    assert rows.mean() == pytest.approx(13, abs=1)
    assert columns.mean() == pytest.approx(33, abs=1)


def test_a_larger_margin_leaves_the_head_smaller(head: Head) -> None:
    narrow = prepare(head(), how=Preprocessing(size=32, margin=0.0))[0]
    broad = prepare(head(), how=Preprocessing(size=32, margin=0.3))[0]
    assert extent(broad)[0] < 0.75 * extent(narrow)[0]


def test_brightness_that_differs_between_patients_vanishes(head: Head) -> None:
    dark, bright = head().astype(float) * 0.3, head().astype(float) * 20 + 50
    assert np.abs(prepare(dark) - prepare(bright)).max() <= 1


def test_brightness_that_differs_between_slices_of_a_patient_stays(head: Head) -> None:
    dark, bright = prepare(head(brightness=80), head(brightness=160))[:, 0, 10:22, 10:22]
    assert dark.mean() / bright.mean() == pytest.approx(0.5, abs=0.05)
    alone = prepare(head(brightness=80))[0, 0, 10:22, 10:22]
    assert alone.mean() == pytest.approx(bright.mean(), abs=3)


def test_slices_of_a_patient_keep_their_relative_size(head: Head) -> None:
    large, small = prepare(head(48, (24, 24), radius=16), head(48, (24, 24), radius=8))
    assert extent(small)[0] / extent(large)[0] == pytest.approx(0.5, abs=0.08)
    assert extent(prepare(head(48, (24, 24), radius=8))[0])[0] == pytest.approx(extent(large)[0], abs=2)


def test_slices_of_several_sizes_make_one_patient(head: Head) -> None:
    small, large = prepare(head(32, (16, 16), radius=9), head(48, (24, 24), radius=16))
    assert extent(small)[0] == pytest.approx(extent(large)[0], abs=2)


def test_a_black_slice_does_not_undo_the_crop_of_its_patient(head: Head) -> None:
    black = np.full((48, 48), 2, np.uint8)  # as black as the surroundings of a head
    slices = head(48, (14, 14), radius=9), head(48, (14, 14), radius=8)
    with_black = prepare(*slices, black, black)
    assert np.abs(with_black[:2] - prepare(*slices)).mean() < 1
    assert with_black[2:].max() == 0


def test_the_amount_of_black_around_a_head_does_not_matter(head: Head) -> None:
    narrow, broad = head(32, (16, 16)), head(96, (48, 48))
    assert np.abs(prepare(narrow) - prepare(broad)).mean() < 1


def test_one_pixel_that_is_far_too_bright_does_not_darken_the_rest(head: Head) -> None:
    spoilt = head().astype(np.float32)
    spoilt[20, 20] = 4000
    assert np.abs(prepare(head()) - prepare(spoilt)).mean() < 6


@pytest.mark.parametrize("value", [0, 7, 255, -3.5, 60000])
def test_a_constant_picture_becomes_black(value: float) -> None:
    assert prepare(np.full((24, 24), value)).max() == 0


def test_the_depth_of_a_file_does_not_matter(head: Head) -> None:
    eight = head()
    sixteen = eight.astype(np.uint16) * 257
    unit = eight.astype(np.float32) / 255 - 0.5
    assert np.abs(prepare(eight) - prepare(sixteen)).max() <= 1
    assert np.abs(prepare(eight) - prepare(unit)).max() <= 1


def test_colour_keeps_its_channels_apart(head: Head) -> None:
    coloured = np.stack([head(brightness=200), head(brightness=100), np.zeros((40, 40))], axis=2)
    red, green, blue = prepare(coloured, how=Preprocessing(size=32, channels=3))[0][:, 10:22, 10:22]
    assert green.mean() / red.mean() == pytest.approx(0.5, abs=0.05)
    assert blue.max() == 0


def test_the_order_of_slices_changes_nothing_but_the_order(head: Head) -> None:
    slices = [head(radius=radius, brightness=10 * radius) for radius in (7, 9, 11)]
    assert np.array_equal(prepare(*slices), prepare(*slices[::-1])[::-1])


def test_the_result_is_made_of_bytes_and_uses_all_of_them(head: Head) -> None:
    result = SMALL(volume(head()))
    assert result.dtype == np.uint8
    assert result.min() == 0
    assert result.max() >= 250


def test_the_square_has_the_centre_of_the_rectangle() -> None:
    assert square_around((10, 20, 30, 30), margin=0.0) == (10, 15, 30, 35)
    assert square_around((10, 20, 30, 30), margin=0.25) == (5, 10, 35, 40)


def test_settings_come_back_from_json_as_they_were() -> None:
    how = Preprocessing(size=48, channels=3, crop=False, margin=0.1, percentiles=(2.0, 98.0))
    assert Preprocessing.from_json(how.to_json()) == how
    assert how.to_json()["percentiles"] == [2.0, 98.0]


@pytest.mark.parametrize("size", [0, 7, 1025])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"size {size} was asked; 8 to 1024 pixels work"):
        Preprocessing(size=size)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels_that_cannot_be_are_refused(channels: int) -> None:
    words = rf"{channels} channels were asked; images are prepared as grey \(1\) or colour \(3\)"
    with pytest.raises(SettingsError, match=words):
        Preprocessing(channels=channels)


# Masks


PLAIN = Preprocessing(size=8, crop=False)


def masked(*marks: tuple[slice, slice], size: int = 16) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    for rows, columns in marks:
        mask[rows, columns] = True
    return mask


def prepare_mask(mask: np.ndarray | None, how: Preprocessing = PLAIN, size: int = 16) -> np.ndarray:
    shape = (size, size) if mask is None else mask.shape
    return how.with_masks([np.zeros((*shape, 1), np.float32)], [mask])[1][0]


def test_a_mask_stays_where_its_tissue_is_after_cropping_and_resizing(head: Head) -> None:
    pictures = [head(60, (21, 34), radius=9), head(60, (24, 30), radius=14)]  # one square is around both
    images, masks = SMALL.with_masks(volume(*pictures), [picture > 60 for picture in pictures])
    assert (masks.shape, masks.dtype) == ((2, 32, 32), np.bool_)
    for image, mask in zip(images[:, 0], masks, strict=True):
        assert mask.sum() > 100
        assert (mask != (image > 100)).mean() < 0.02


def test_masks_change_no_image(head: Head) -> None:
    slices = volume(head(), head(radius=6), np.pad(head(), 3))
    masks = [None, head() > 60, None]
    assert np.array_equal(SMALL.with_masks(slices, masks)[0], SMALL(slices))


def test_a_pixel_of_a_mask_is_tumour_where_at_least_half_of_it_is_covered() -> None:
    half, quarter = (slice(2, 4), slice(2, 3)), (slice(8, 9), slice(8, 9))
    assert np.argwhere(prepare_mask(masked(half, quarter))).tolist() == [[1, 1]]


def test_coverage_is_exact_where_pixels_are_cut() -> None:
    whole, third = (slice(0, 12), slice(3, 6)), (slice(0, 12), slice(1, 2))  # a pixel is 1.5 of 12
    both = (slice(0, 12), slice(1, 3))
    assert np.flatnonzero(prepare_mask(masked(whole, third, size=12))[0]).tolist() == [2, 3]
    assert np.flatnonzero(prepare_mask(masked(whole, both, size=12))[0]).tolist() == [1, 2, 3]


def test_a_tumour_too_small_for_a_pixel_keeps_the_pixels_it_covers_most() -> None:
    dot, larger = (slice(40, 41), slice(17, 18)), (slice(56, 58), slice(30, 31))
    assert np.argwhere(prepare_mask(masked(dot, size=64))).tolist() == [[5, 2]]
    assert np.argwhere(prepare_mask(masked(dot, larger, size=64))).tolist() == [[7, 3]]


def test_a_mask_is_enlarged_as_its_image_is() -> None:
    how = Preprocessing(size=32, crop=False)
    assert np.array_equal(prepare_mask(masked((slice(3, 5), slice(8, 9))), how), masked((slice(6, 10), slice(16, 18)),
                                                                                       size=32))  # fmt: skip


def test_a_mask_that_is_empty_unknown_or_outside_the_square_marks_nothing(head: Head) -> None:
    assert not prepare_mask(None).any()
    assert not prepare_mask(masked()).any()
    corner = masked((slice(0, 2), slice(0, 2)), size=40)
    assert not SMALL.with_masks(volume(head()), [corner])[1].any()
