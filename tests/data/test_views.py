"""The standard view: the same picture gives the same view, and nothing gives an empty one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from braingan.data.views import VIEW, view_of


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32)[:, :, None]


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), two.ravel())[0, 1])


@pytest.fixture(scope="module")
def pictures(heads: Path) -> list[Image.Image]:
    """One slice of each patient."""
    return [Image.open(path) for path in sorted(heads.glob("no_tumor/*_00.png"))]


def test_a_view_is_a_small_grey_picture_that_uses_the_whole_range(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        view = view_of(grey(picture))
        assert (view.shape, view.dtype) == ((VIEW, VIEW), np.uint8)
        assert (view.min(), view.max()) == (0, 255)
        assert np.array_equal(view, view_of(grey(picture)))


def test_the_pixels_are_left_alone(pictures: list[Image.Image]) -> None:
    pixels = grey(pictures[0]).copy()
    before = pixels.copy()
    view_of(pixels)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize(("gain", "offset"), [(16.0, 0.0), (257.0, 0.0), (0.001, 0.0), (1.0, -1024.0), (3.0, 500.0)])
def test_the_scale_of_intensities_does_not_matter(pictures: list[Image.Image], gain: float, offset: float) -> None:
    for picture in pictures:
        pixels = grey(picture)
        change = view_of(pixels * np.float32(gain) + np.float32(offset)).astype(int) - view_of(pixels)
        assert np.abs(change).max() <= 1


def test_colour_channels_that_are_alike_are_one_grey_one(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        colour = np.asarray(picture.convert("RGB"), np.float32)
        assert np.abs(view_of(colour).astype(int) - view_of(grey(picture))).max() <= 1


def test_a_mirrored_picture_has_a_mirrored_view(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        view = view_of(grey(picture)).astype(int)
        assert np.abs(view_of(grey(ImageOps.mirror(picture)))[:, ::-1] - view).mean() < 1
        assert np.abs(view_of(grey(ImageOps.flip(picture)))[::-1] - view).mean() < 1


def test_a_margin_or_another_size_hardly_changes_a_clean_picture(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        clean = picture.point(lambda value: 0 if value < 40 else value)  # air without noise, as most exports have it
        view = view_of(grey(clean))
        for other in (
            ImageOps.expand(clean, border=(40, 10), fill=0),
            clean.resize((256, 256), Image.Resampling.BICUBIC),
            clean.resize((96, 96), Image.Resampling.BOX),
            clean.resize((128, 192), Image.Resampling.BICUBIC),  # stretched
        ):
            assert correlation(view_of(grey(other)), view) > 0.97


def test_pictures_of_two_patients_have_different_views(pictures: list[Image.Image]) -> None:
    views = [view_of(grey(picture)) for picture in pictures]
    nearest = [max(correlation(view, other) for other in views if other is not view) for view in views]
    assert np.median(nearest) < 0.97


@pytest.mark.parametrize("level", [0.0, 1.0, 255.0, 65535.0, -1000.0, 1e30])
@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (7, 300), (64, 64), (300, 200)])
def test_one_colour_gives_an_empty_view(level: float, shape: tuple[int, int]) -> None:
    for channels in (1, 3):
        view = view_of(np.full((*shape, channels), level, np.float32))
        assert (view.shape, view.dtype) == ((VIEW, VIEW), np.uint8)
        assert not view.any()


def test_noise_of_rounding_on_a_bright_ground_shows_nothing() -> None:
    random = np.random.default_rng(0)
    assert not view_of((1000 + random.uniform(0, 0.1, (64, 64, 1))).astype(np.float32)).any()


def test_what_is_too_small_to_tell_gives_an_empty_view() -> None:
    random = np.random.default_rng(0)
    for shape in ((1, 1), (7, 7), (7, 4000), (4000, 1)):
        assert not view_of(random.uniform(0, 255, (*shape, 1)).astype(np.float32)).any()


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (2500, 9), (64, 1500)])
def test_odd_shapes_and_single_pixels_do_not_crash(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    dot = np.zeros((*shape, 1), np.float32)
    dot[shape[0] // 2, shape[1] // 2] = 255
    for pixels in (dot, random.uniform(0, 255, (*shape, 1)).astype(np.float32), random.normal(0, 1, (*shape, 4))):
        view = view_of(pixels)
        assert (view.shape, view.dtype) == ((VIEW, VIEW), np.uint8)
