"""Healthy phantom slices before and after `insert` and `paste` put tumours into them, beside the phantom's own tumours.

Usage: python benchmarks/insert_sheet.py OUT.png [--patients 30] [--steps 1200] [--batch-size 24] [--run FOLDER]

Phantom heads, which show nobody, so that the sheet may be shown to anybody. The columns are the first images of a
series that are of different patients, whatever they look like. `--run` keeps the generator, and takes it up when the
command is given again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

import braingan
from braingan.data.pictures import to_float, to_uint8
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.generation.samples import Samples, draw_samples

COLUMNS = 7
SIZE = 64  # of the images
SHOWN = 112  # side of an image on the sheet
GAP = 4
MARGIN = 150  # for the names of the rows
DRAWN = 64  # images of the series that columns are chosen from
OUTLINE = (255, 176, 0)
GREYS = 64  # on the sheet, which shall be a small file


def sheet(images: dict[str, Tensor], outlines: dict[str, Tensor]) -> Image.Image:
    """Rows of images with their names.

    Args:
        images: name of a row: (COLUMNS, 1, H, W) uint8.
        outlines: name of a row: (COLUMNS, H, W) bool, drawn around.
    """
    picture = Image.new("RGB", (MARGIN + COLUMNS * (SHOWN + GAP), len(images) * (SHOWN + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=15)
    for row, (name, shown) in enumerate(images.items()):
        top = GAP + row * (SHOWN + GAP)
        pen.multiline_text((8, top + SHOWN // 2), name, fill="black", font=font, anchor="lm")
        for column, image in enumerate(shown):
            large = Image.fromarray(image[0].numpy()).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC).convert("RGB")
            if name in outlines:
                large = outlined(large, outlines[name][column].numpy())
            picture.paste(large, (MARGIN + column * (SHOWN + GAP), top))
    return picture


def outlined(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The image with a line around the mask."""
    large = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    pixels = np.array(image)
    pixels[ndimage.binary_dilation(large) & ~large] = OUTLINE
    return Image.fromarray(pixels)


def small(picture: Image.Image) -> Image.Image:
    """The same in few greys and the colour of outlines."""
    greys = np.linspace(0, 255, GREYS).round().astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*np.repeat(greys, 3).tolist(), *OUTLINE])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def chosen(patients: list[str]) -> list[int]:
    """The first numbers of different patients; others follow only where there are too few."""
    first = [number for number, patient in enumerate(patients) if patient not in patients[:number]]
    return [*first, *(number for number in range(len(patients)) if number not in first)][:COLUMNS]


def series(generator: braingan.Generator, label: int) -> Samples:
    """The first images of a series: the same canvases and places for all generators of the same data."""
    return draw_samples(generator, torch.full((DRAWN,), label), seed=0)


def draw_sheet(data: Path, run: Path, *, steps: int, batch_size: int) -> Image.Image:
    """Train both backends and draw."""
    options = {"size": SIZE, "steps": steps, "batch_size": batch_size, "resume": True}
    started = time.monotonic()
    insert = braingan.train(data, run / "insert", backend="insert", **options)  # type: ignore[arg-type]
    print(f"insert: {steps} steps in {time.monotonic() - started:.0f} s")
    paste = braingan.train(data, run / "paste", backend="paste", **options)  # type: ignore[arg-type]
    real: PreparedSet = prepare_folder(data, braingan.Preprocessing(size=SIZE), run / "cache")
    label = real.source.classes.index("tumor")
    inserted, pasted = series(insert, label), series(paste, label)
    assert inserted.canvases is not None
    assert inserted.masks is not None
    assert pasted.canvases is not None
    assert torch.equal(inserted.canvases, pasted.canvases)
    groups = [record.group for record in real.source.records]
    columns = chosen([groups[number] for number in inserted.canvases.tolist()])
    canvases, masks = inserted.canvases[columns], inserted.masks[columns]
    tumors = torch.nonzero(real.labels == label).flatten()
    tumors = tumors[chosen([groups[number] for number in tumors.tolist()])]
    healthy = real.images[canvases]
    changed = (inserted.images[columns] - to_float(healthy)).abs().amax(1) > 0
    print(f"pixels changed outside of the masks' surroundings: {int((changed & ~_near(masks)).sum())}")
    rows = {
        "healthy slice,\nas drawn": healthy,
        "where the\ntumour shall be": healthy,
        "insert": to_uint8(inserted.images[columns]),
        "paste": to_uint8(pasted.images[columns]),
        "other slices,\ntumour and all,\nas drawn": real.images[tumors],
    }
    return sheet(rows, {"where the\ntumour shall be": masks})


def _near(masks: Tensor) -> Tensor:
    reach = round(SIZE / 16) + 1
    near: Tensor = torch.nn.functional.max_pool2d(masks.float(), 2 * reach + 1, 1, reach) > 0
    return near


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, run = Path(folder) / "data", given.run or Path(folder) / "run"
        braingan.phantom(data, patients=given.patients)
        picture = draw_sheet(data, run, steps=given.steps, batch_size=given.batch_size)
    small(picture).save(given.out, optimize=True)
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
