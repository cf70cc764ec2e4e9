import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braingan.data.decoding import SUFFIXES, open_image, read_pixels
from braingan.errors import DataError

Writer = Callable[..., Path]
Head = Callable[..., np.ndarray]


def refusal(path: Path, channels: int = 1) -> str:
    """What is said about a bad file: always one line that starts with its name."""
    with pytest.raises(DataError) as caught:
        read_pixels(path, channels)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert len(line.splitlines()) == 1
    return line.removeprefix(f"{path}: ")


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PNG", ".JPG"])
def test_every_format_gives_the_pixels_that_were_written(
    tmp_path: Path, write_image: Writer, head: Head, suffix: str
) -> None:
    picture = head()
    read = read_pixels(write_image(tmp_path / f"a{suffix}", picture), 1)
    lossy = suffix.lower() in {".jpg", ".jpeg"}
    assert (read.shape, read.dtype) == ((40, 40, 1), np.float32)
    assert np.abs(read[:, :, 0] - picture).mean() < (4 if lossy else 1e-9)


def test_a_wrong_name_for_a_format_does_not_matter(tmp_path: Path, write_image: Writer, head: Head) -> None:
    path = write_image(tmp_path / "really_a_jpeg.png", head(), format="JPEG")
    assert open_image(path).size == (40, 40)


def test_grey_is_repeated_and_colour_is_weighed_by_luma(tmp_path: Path, write_image: Writer) -> None:
    grey = write_image(tmp_path / "grey.png", np.full((16, 16), 90, np.uint8))
    assert np.array_equal(read_pixels(grey, 3), np.full((16, 16, 3), 90))
    colour = write_image(tmp_path / "colour.png", np.full((16, 16, 3), (200, 100, 0), np.uint8))
    assert np.array_equal(read_pixels(colour, 3)[0, 0], (200, 100, 0))
    assert np.allclose(read_pixels(colour, 1), 0.299 * 200 + 0.587 * 100, atol=1)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK"])
def test_every_mode_becomes_grey_or_colour(tmp_path: Path, write_image: Writer, mode: str) -> None:
    picture = Image.new("RGB", (16, 16), "black")
    picture.paste("white", (4, 0, 16, 16))
    path = write_image(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), picture.convert(mode))
    assert open_image(path).mode in {"L", "RGB"}
    for channels in (1, 3):
        read = read_pixels(path, channels)
        assert read.shape == (16, 16, channels)
        assert read[8, 2].tolist() == [0] * channels
        assert read[8, 9].tolist() == [255] * channels


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_black(tmp_path: Path, write_image: Writer, mode: str) -> None:
    picture = Image.new(mode, (16, 16), (255,) * len(mode))
    picture.paste((*(255,) * (len(mode) - 1), 0), (0, 0, 8, 16))
    path = write_image(tmp_path / "a.png", picture)
    assert read_pixels(path, 1)[8, :, 0].tolist() == [0] * 8 + [255] * 8


def test_a_transparent_colour_of_a_palette_is_black(tmp_path: Path, write_image: Writer) -> None:
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([255, 255, 255, 200, 200, 200])
    picture.paste(0, (0, 0, 8, 16))
    path = write_image(tmp_path / "a.png", picture, transparency=0)
    assert read_pixels(path, 1)[8, :, 0].tolist() == [0] * 8 + [200] * 8


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".png", "<u2"), (".tif", "<u2"), (".tif", ">u2"), (".tif", "<i4"), (".tif", "<f4")],
)
def test_deep_pixels_stay_on_their_scale(tmp_path: Path, write_image: Writer, suffix: str, kind: str) -> None:
    values = np.linspace(0, 60000, 256).reshape(16, 16).astype(kind)
    read = read_pixels(write_image(tmp_path / f"a{suffix}", values), 1)
    assert np.array_equal(read[:, :, 0], values.astype(np.float32))
    assert read_pixels(tmp_path / f"a{suffix}", 3).shape == (16, 16, 3)


def test_a_float_tiff_may_hold_negative_numbers(tmp_path: Path, write_image: Writer) -> None:
    values = np.linspace(-2.5, 3.5, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(read_pixels(write_image(tmp_path / "z.tif", values), 1)[:, :, 0], values)


def test_the_orientation_in_the_exif_data_is_obeyed(tmp_path: Path, write_image: Writer) -> None:
    picture = np.zeros((16, 24), np.uint8)
    picture[:8, :8] = 200  # upper left, which a quarter turn to the right brings to the upper right
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        read = read_pixels(write_image(tmp_path / name, picture, exif=exif), 1)
        assert read.shape == (24, 16, 1)
        assert read[:6, 10:].mean() > 190
        assert read[:6, :6].mean() < 10


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert refusal(tmp_path / "a.png") == "is empty"


@pytest.mark.parametrize("content", [b"hello, this is text", b"\0" * 500], ids=["text", "zeros"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_image_is_called_so(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refusal(path) == "is not a PNG, JPEG, TIFF or BMP image"


def test_other_formats_are_refused_whatever_their_name(tmp_path: Path, write_image: Writer, head: Head) -> None:
    path = write_image(tmp_path / "a.png", head(), format="GIF")
    assert refusal(path) == "is not a PNG, JPEG, TIFF or BMP image"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, write_image: Writer, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 48), np.uint8)
    path = write_image(tmp_path / f"a{suffix}", noise)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert refusal(path).startswith("cannot be decoded: ")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_damaged_bytes_give_pixels_or_one_line(tmp_path: Path, write_image: Writer, head: Head, suffix: str) -> None:
    path = write_image(tmp_path / f"a{suffix}", head(24, (12, 12)))
    whole = path.read_bytes()
    draw = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(whole)
        for place in draw.integers(0, min(len(whole), 200), 4):
            damaged[place] = int(draw.integers(256))
        path.write_bytes(damaged)
        try:
            told = f"{path}: {read_pixels(path, 1).ndim} dimensions"
        except DataError as error:
            told = str(error)
        assert told.startswith(f"{path}: ")
        assert len(told.splitlines()) == 1


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_that_claims(30000, 30000))
    assert refusal(tmp_path / "bomb.png").startswith("is too large: Image size (900000000 pixels)")


def test_an_image_of_more_pixels_than_any_slice_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(png_that_claims(9000, 9000))
    assert refusal(tmp_path / "big.png") == "is too large: 9000x9000 pixels, at most 67,108,864 are read"


def test_a_tiff_of_several_frames_is_refused(tmp_path: Path, write_image: Writer, head: Head) -> None:
    frames = [Image.fromarray(head(brightness=value)) for value in (80, 120, 160)]
    path = write_image(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    assert refusal(path) == "holds 3 frames; write each slice to a file of its own"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, write_image: Writer, value: float) -> None:
    values = np.ones((16, 16), np.float32)
    values[3, 4] = value
    assert refusal(write_image(tmp_path / "a.tif", values)) == "holds pixels that are not finite numbers"


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere.png") == "does not exist"


def test_a_folder_with_the_name_of_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert refusal(tmp_path / "a.png").startswith("cannot be decoded: ")


def test_the_file_is_closed_again(tmp_path: Path, write_image: Writer, head: Head) -> None:
    image: Any = open_image(write_image(tmp_path / "a.png", head()))
    (tmp_path / "a.png").unlink()
    assert image.getpixel((0, 0)) == 2
