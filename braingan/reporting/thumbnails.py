"""Images -> small pictures inside a page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from braingan.data.records import ImageRecord, open_record
from braingan.errors import DataError
from braingan.progress import Progress

WIDTH, HEIGHT = 144, 144  # at most, in pixels
PERCENTILES = (1, 99)  # of what is no 8-bit picture, spread over 0 to 255
QUALITY = 85  # of the JPEG: a few kilobytes a picture


def thumbnails(records: Sequence[ImageRecord], numbers: Iterable[int]) -> dict[int, str | None]:
    """Pictures of some images.

    Args:
        records: of all images.
        numbers: of those to picture; no other is opened.

    Returns:
        number -> `data:` address of a JPEG; None for an image that cannot be opened any more.
    """
    chosen = sorted(set(numbers))  # in this order a reader decompresses each volume once
    made: dict[int, str | None] = {}
    with warnings.catch_warnings(), Progress("picturing", len(chosen)) as progress:
        warnings.simplefilter("ignore")  # Pillow's about metadata, as when the images were looked at
        for number in chosen:
            made[number] = _thumbnail(records[number])
            progress.advance(1)
    return made


def _thumbnail(record: ImageRecord) -> str | None:
    try:
        small = _eight_bit(open_record(record))
    except (DataError, OSError):  # the page says so; the inspection itself has read it
        return None
    small.thumbnail((WIDTH, HEIGHT))
    file = io.BytesIO()
    small.save(file, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _eight_bit(image: Image.Image) -> Image.Image:
    """Mode L or RGB, made of numbers alone: a file's comments and profiles, which may name a patient, stay behind."""
    pixels = np.asarray(image)
    if image.mode not in {"L", "RGB"}:
        values = pixels.astype(np.float32)
        low, high = np.percentile(values, PERCENTILES)
        pixels = np.clip((values - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)
