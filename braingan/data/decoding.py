"""A file -> pixels, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from braingan.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MOST_PIXELS = 8192 * 8192  # a slice has a quarter of a million; a file that claims more is a decompression bomb
LONGEST_SIDE = 8192  # a strip is cropped to a square


def open_image(path: Path) -> Image.Image:
    """Decode a whole file, turned the way its EXIF data ask for.

    Args:
        path: PNG, JPEG, TIFF or BMP with one frame.

    Returns:
        A loaded image, see `simple_mode`.

    Raises:
        DataError: the file is empty, truncated, no image, or too large.
    """
    try:
        return _open(path)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        reason = "is empty" if path.stat().st_size == 0 else "is not a PNG, JPEG, TIFF or BMP image"
        raise DataError(f"{path}: {reason}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: is too large: {error}") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: does not exist") from error
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to struct.error on bad bytes
        raise DataError(f"{path}: cannot be decoded: {_one_line(error)}") from error


def size_problem(width: int, height: int) -> str:
    """Why an image of this size cannot be used; empty where it can."""
    if width * height > MOST_PIXELS:
        return f"is too large: {width}x{height} pixels, at most {MOST_PIXELS:,} are read"
    if max(width, height) > LONGEST_SIDE:
        return f"is too large: {width}x{height} pixels, at most {LONGEST_SIDE:,} a side are read"
    return ""


def _open(path: Path) -> Image.Image:
    with Image.open(path, formats=("PNG", "JPEG", "TIFF", "BMP")) as file:
        width, height = file.size
        if wrong := size_problem(width, height):
            raise DataError(f"{path}: {wrong}")
        frames = getattr(file, "n_frames", 1)
        if file.format == "TIFF" and frames > 1:
            raise DataError(f"{path}: holds {frames} frames; write each slice to a file of its own")
        file.load()
        return simple_mode(_turned(file))


def _turned(image: Image.Image) -> Image.Image:
    """The image the way its EXIF data ask for; as it is where they are damaged, as its pixels need not be."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever Pillow raises on bad bytes
        return image


def simple_mode(image: Image.Image) -> Image.Image:
    """A copy of which every number is brightness.

    Modes L and RGB stay; 1, P, LA and RGBA become L or RGB (transparent pixels turn black, as the surroundings of
    a head are); I;16, I and F stay as they are, as converting them would clip.
    """
    if image.mode in {"L", "RGB", "I", "F"} or image.mode.startswith("I;16"):
        return image.copy()
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        layered = image.convert("RGBA")
        black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
        black.alpha_composite(layered)
        image = black.convert("RGB")
    return image.convert("RGB")


def read_pixels(path: Path, channels: int | None) -> np.ndarray:
    """Decode a file into numbers, on the scale on which it was written.

    Args:
        path: see `open_image`.
        channels: 1 turns colour to grey (ITU-R 601 luma), 3 repeats grey; None leaves it as it is.

    Returns:
        (height, width, channels) float32, finite.

    Raises:
        DataError: see `open_image`; or pixels that are not finite.
    """
    image = open_image(path)
    if image.mode == "RGB" and channels == 1:
        image = image.convert("L")
    pixels = np.asarray(image, dtype=np.float32)
    if not np.isfinite(pixels).all():
        raise DataError(f"{path}: holds pixels that are not finite numbers")
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], channels or 1, axis=2)
    return pixels


def to_picture(pixels: np.ndarray) -> Image.Image:
    """Numbers as an image: mode F for one channel, RGB for two or three (spread over 0 to 255 each)."""
    if pixels.shape[2] == 1:
        return Image.fromarray(pixels[:, :, 0].astype(np.float32))
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    bands = np.rint((pixels - low) / np.maximum(high - low, 1e-6) * 255).astype(np.uint8)[:, :, :3]
    return Image.fromarray(np.pad(bands, ((0, 0), (0, 0), (0, 3 - bands.shape[2]))))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
