"""Damaged, disguised and odd files: each is read, or refused in one line that names it; nothing else happens."""

from __future__ import annotations

import functools
import gzip
import io
import os
import shutil
import socket
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from braingan.data.findings import Findings
from braingan.data.folders import Folders, read_folder
from braingan.data.formats.cheng import Cheng
from braingan.data.formats.dicom import Dicom
from braingan.data.formats.nifti import Nifti
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import Reader
from braingan.data.records import mask_of, pixels_of
from braingan.entry_points import Plugins
from braingan.errors import BrainganError, DataError

Pixels = np.ndarray[Any, Any]
SMALL = Preprocessing(size=8)
REFUSED, FINE, NEVER = "refused, and skipped if asked", "read", "refused, whatever is asked"


@dataclass(frozen=True)
class Case:
    """A hostile file among good ones.

    Attributes:
        name: what it is.
        file: what a refusal must name, relative to the data folder.
        write: puts it into the data folder.
        told: what a refusal must say.
        outcome: what must happen.
    """

    name: str
    file: str
    write: Callable[[Path], object]
    told: str = ""
    outcome: str = REFUSED

    def __str__(self) -> str:
        return self.name


def puts(content: bytes | Callable[[], bytes], file: str) -> Callable[[Path], object]:
    """What writes these bytes into this file of the data folder."""

    def write(data: Path) -> None:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_bytes(content() if callable(content) else content)

    return write


def bad(name: str, file: str, content: bytes | Callable[[], bytes], told: str = "") -> Case:
    """A file that must be refused."""
    return Case(name, file, puts(content, file), told)


def fine(name: str, file: str, content: bytes | Callable[[], bytes]) -> Case:
    """A file that is odd and must be read."""
    return Case(name, file, puts(content, file), outcome=FINE)


def prepare(data: Path, *, skip_bad: bool) -> PreparedSet:
    return prepare_folder(data, SMALL, data.parent / "out", skip_bad=skip_bad)


def refusal(data: Path, *, skip_bad: bool = False) -> str:
    with pytest.raises(BrainganError) as caught:
        prepare(data, skip_bad=skip_bad)
    assert len(str(caught.value).splitlines()) == 1
    assert list(data.parent.glob("out/**/*.part")) == []
    return str(caught.value)


def check(case: Case, data: Path, good: int, caplog: pytest.LogCaptureFixture) -> None:
    """Read a folder of so many good images and the case."""
    case.write(data)
    if case.outcome == FINE:
        prepared = prepare(data, skip_bad=False)
        assert len(prepared) > good
        assert prepared.bad_files == ()
        return
    line = refusal(data)
    assert case.file in line
    assert case.told in line
    if case.outcome == NEVER:
        assert case.told in refusal(data, skip_bad=True)
        return
    prepared = prepare(data, skip_bad=True)
    assert len(prepared) == good
    (reason,) = (bad.reason for bad in prepared.bad_files if bad.file == case.file)
    assert reason
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)
    assert list(data.parent.glob("out/**/*.part")) == []


@pytest.fixture(scope="module", autouse=True)
def _plugins_are_looked_up_once() -> Iterator[None]:
    """Formats are entry points; to scan the installed distributions for them takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plugins, "_points", functools.cache(Plugins._points))
        yield


# Pictures


def picture(size: int = 24, kind: Any = np.uint8) -> Pixels:
    """A bright square with noise on black."""
    random = np.random.default_rng(size)
    pixels = np.zeros((size, size))
    pixels[size // 6 : -size // 6, size // 6 : -size // 6] = 100
    return (pixels + random.integers(0, 99, pixels.shape)).astype(kind)


def encoded(image: Image.Image | Pixels, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 1 bit a pixel that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        body += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return body


def png_bomb(side: int = 20_000) -> bytes:
    """A PNG of so many pixels a side in a few kilobytes, whole and correct."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()
    return png_of(side, side, (b"IDAT", packed))


def bmp_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "BMP"))
    struct.pack_into("<ii", content, 18, width, height)
    return bytes(content)


def jpeg_that_claims(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "JPEG"))
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    return bytes(content)


def tiff_with(tag: int, kind: int, value: int) -> bytes:
    """A TIFF with the value of a tag replaced; tag 0 stands for the place of the next directory."""
    content = bytearray(encoded(picture(), "TIFF"))
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    if not tag:
        struct.pack_into("<I", content, start + 2 + 12 * count, value or start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if tag and struct.unpack_from("<H", content, entry)[0] == tag:
            struct.pack_into("<HII", content, entry + 2, kind, 1, value)
    return bytes(content)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("1.png", encoded(picture(), "PNG"))
    return stream.getvalue()


def text_bomb() -> bytes:
    """A PNG whose comment unpacks to 100 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(10**6)) for _ in range(100)) + packer.flush()
    return png_of(24, 24, (b"zTXt", b"comment\0\0" + packed), (b"IDAT", zlib.compress(bytes(4 * 24))))


def float_tiff(value: float) -> bytes:
    pixels = picture(kind=np.float32)
    pixels[3, 4] = value
    return encoded(pixels, "TIFF")


def broken_checksum() -> bytes:
    content = bytearray(encoded(picture(), "PNG"))
    content[content.index(b"IDAT") + 10] ^= 0xFF
    return bytes(content)


def cut(kind: str, share: float) -> Callable[[], bytes]:
    def content() -> bytes:
        whole = encoded(picture(48), kind)
        return whole[: max(1, int(share * len(whole)))]

    return content


def png_with_broken_profile() -> bytes:
    return encoded(picture(), "PNG", icc_profile=b"no profile at all")


def animated() -> bytes:
    frames = [Image.fromarray(picture() // part) for part in (1, 2, 3)]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])


def palette() -> Image.Image:
    return Image.fromarray(picture()).convert("RGB").quantize(16)


TRUNCATED = [
    bad(f"{kind} cut after {share:.1%}", f"yes/x.{suffix}", cut(kind, share))
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp"))
    for share in (0.0, 0.004, 0.02, 0.1, 0.5, 0.9)
]
DISGUISED = [
    bad(f"empty {suffix}", f"yes/x.{suffix}", b"", "is empty")
    for suffix in ("png", "jpg", "jpeg", "tif", "tiff", "bmp")
] + [
    bad(name, f"yes/x.{suffix}", content, "is not a PNG, JPEG, TIFF or BMP image")
    for name, suffix, content in (
        ("text as png", "png", b"no image at all\n" * 20),
        ("HTML as jpg", "jpg", b"<!doctype html><html><body>404</body></html>"),
        ("program as png", "png", b"\x7fELF\x02\x01\x01" + bytes(500)),
        ("archive as tif", "tif", zipped),
        ("gzip as png", "png", lambda: gzip.compress(encoded(picture(), "PNG"))),
        ("GIF as png", "png", lambda: encoded(picture(), "GIF")),
        ("WebP as jpg", "jpg", lambda: encoded(picture(), "WEBP")),
        ("SVG as png", "png", b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'),
        ("PDF as tif", "tif", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"),
        ("PPM as bmp", "bmp", b"P6 2 2 255 " + bytes(12)),
        ("EPS as png", "png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
        ("zeros as png", "png", bytes(2000)),
        ("random bytes as jpg", "jpg", np.random.default_rng(0).bytes(2000)),
        ("JPEG behind garbage", "jpg", lambda: b"garbage" + encoded(picture(), "JPEG")),
        ("PNG with line ends of a mail", "png", lambda: encoded(picture(), "PNG").replace(b"\r\n", b"\n")),
    )
]
BOMBS = [
    bad("PNG that claims 60,000 a side", "yes/x.png", png_of(60_000, 60_000), "is too large: "),
    bad("PNG that claims 2**31 a side", "yes/x.png", png_of(2**31 - 1, 2**31 - 1), "is too large: "),
    bad("PNG of 20,000 a side", "yes/x.png", png_bomb, "is too large: "),
    bad("PNG of 1 by 100,000", "yes/x.png", png_of(1, 100_000), "is too large: 1x100000 pixels, at most 8,192 a side"),
    bad("PNG of 30,000 by 1", "yes/x.png", png_of(30_000, 1), "is too large: 30000x1 pixels, at most 8,192 a side"),
    bad("PNG of no width", "yes/x.png", png_of(0, 24)),
    bad("PNG with a comment of 100 MB", "yes/x.png", text_bomb),
    bad("BMP that claims 2**31 a side", "yes/x.bmp", bmp_that_claims(2**31 - 1, 2**31 - 1), "is too large: "),
    bad("BMP of negative width", "yes/x.bmp", bmp_that_claims(-24, 24)),
    bad("JPEG that claims 65,500 a side", "yes/x.jpg", jpeg_that_claims(65_500, 65_500), "is too large: "),
    bad("JPEG of no height", "yes/x.jpg", jpeg_that_claims(24, 0)),
    bad("TIFF that claims 2**32 a row", "yes/x.tif", tiff_with(256, 4, 2**32 - 1), "is too large: "),
    bad("TIFF of 999 bits", "yes/x.tif", tiff_with(258, 3, 999)),
    bad("TIFF whose pixels lie elsewhere", "yes/x.tif", tiff_with(273, 4, 2**31)),
    bad("TIFF in an unknown compression", "yes/x.tif", tiff_with(259, 3, 9999)),
    bad("TIFF of three frames", "yes/x.tif", lambda: tiff_frames(3), "holds 3 frames; "),
    bad("PNG with a wrong checksum", "yes/x.png", broken_checksum),
    bad("TIFF with not-a-number", "yes/x.tif", float_tiff(np.nan), "holds pixels that are not finite numbers"),
    bad("TIFF with infinity", "yes/x.tif", float_tiff(np.inf), "holds pixels that are not finite numbers"),
]
ODD_PICTURES = [
    fine(name, f"yes/x.{suffix}", content)
    for name, suffix, content in (
        ("1x1", "png", lambda: encoded(picture()[:1, :1], "PNG")),
        ("1x24", "png", lambda: encoded(picture()[:, :1], "PNG")),
        ("24x1", "bmp", lambda: encoded(picture()[:1], "BMP")),
        ("2x2", "jpg", lambda: encoded(picture()[:2, :2], "JPEG")),
        ("1x3000", "png", lambda: encoded(np.full((3000, 1), 7, np.uint8), "PNG")),
        ("all black", "png", lambda: encoded(np.zeros((24, 24), np.uint8), "PNG")),
        ("all white", "png", lambda: encoded(np.full((24, 24), 255, np.uint8), "PNG")),
        ("16 bit", "png", lambda: encoded(picture(kind=np.uint16) * 300, "PNG")),
        ("16 bit, big-endian", "tif", lambda: encoded(Image.fromarray(picture(kind=">u2")), "TIFF")),
        ("32 bit", "tif", lambda: encoded(picture(kind=np.int32) * 10**6, "TIFF")),
        ("floating point", "tiff", lambda: encoded(picture(kind=np.float32) / 300, "TIFF")),
        ("the largest floats", "tif", lambda: float_tiff(3.4e38)),
        ("CMYK", "jpg", lambda: encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG")),
        ("LAB", "tif", lambda: encoded(Image.new("LAB", (24, 24), (90, 9, 9)), "TIFF")),
        ("1 bit", "png", lambda: encoded(Image.fromarray(picture()).convert("1"), "PNG")),
        ("palette", "png", lambda: encoded(palette(), "PNG")),
        ("palette with transparency", "png", lambda: encoded(palette(), "PNG", transparency=bytes(range(0, 256, 16)))),
        ("grey with transparency", "png", lambda: encoded(Image.fromarray(picture()).convert("LA"), "PNG")),
        ("colour, all transparent", "png", lambda: encoded(Image.new("RGBA", (24, 24), (9, 9, 9, 0)), "PNG")),
        ("turned by EXIF", "jpg", lambda: encoded(picture()[:12], "JPEG", exif=exif(6))),
        ("EXIF with an unknown turn", "jpg", lambda: encoded(picture(), "JPEG", exif=exif(77))),
        ("broken EXIF", "jpg", lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")),
        ("EXIF that is none", "png", lambda: encoded(picture(), "PNG", exif=b"nothing")),
        ("animated PNG", "png", animated),
        ("PNG with a broken colour profile", "png", png_with_broken_profile),
        ("PNG with a comment", "png", lambda: encoded(picture(), "PNG", pnginfo=comment())),
        ("PNG with bytes behind its end", "png", lambda: encoded(picture(), "PNG") + b"tail" * 99),
        ("progressive JPEG", "jpeg", lambda: encoded(picture(), "JPEG", progressive=True)),
        ("JPEG called png", "png", lambda: encoded(picture(), "JPEG")),
        ("packed TIFF", "tif", lambda: encoded(picture(), "TIFF", compression="tiff_lzw")),
        ("TIFF whose next directory is itself", "tif", lambda: tiff_with(0, 0, 0)),
    )
]


def comment() -> PngImagePlugin.PngInfo:
    found = PngImagePlugin.PngInfo()
    found.add_text("comment", "\x1b[31m red \n and another line" * 50, zip=True)
    return found


def tiff_frames(count: int) -> bytes:
    frames = [Image.fromarray(picture()) for _ in range(count)]
    return encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes with a good picture each."""
    for label in ("no", "yes"):
        puts(encoded(picture(), "PNG"), f"{label}/good.png")(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("case", [*TRUNCATED, *DISGUISED, *BOMBS, *ODD_PICTURES], ids=str)
def test_pictures(case: Case, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, pictures, 2, caplog)


def test_a_bomb_is_refused_at_once_and_without_its_memory(pictures: Path) -> None:
    resource = pytest.importorskip("resource")
    puts(png_bomb, "yes/x.png")(pictures)
    assert (pictures / "yes" / "x.png").stat().st_size < 100_000
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    refusal(pictures)
    assert time.perf_counter() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB on Linux; unpacked it has 48 MiB


# Folders


def links(target: str, name: str) -> Callable[[Path], object]:
    return lambda data: (data / name).symlink_to(target)


def opens_socket(data: Path) -> None:
    with socket.socket(socket.AF_UNIX) as pipe:
        here = os.getcwd()
        os.chdir(data / "yes")  # a socket's path must be short
        pipe.bind("x.png")
        os.chdir(here)


def makes_loop(data: Path) -> None:
    """Each class folder holds a link to the whole, beside a second picture."""
    puts(encoded(picture(), "PNG"), "yes/deep/second.png")(data)
    (data / "yes" / "deep" / "loop").symlink_to(data / "yes", target_is_directory=True)


def named(name: str) -> Callable[[Path], object]:
    return lambda data: shutil.copy(
        os.fsencode(data / "yes" / "good.png"), os.fsencode(data) + b"/" + os.fsencode(name)
    )


NO_FILES = [
    Case("link that leads nowhere", "yes/x.png", links("nowhere.png", "yes/x.png"), "does not exist"),
    Case("link to itself", "yes/x.png", links("x.png", "yes/x.png"), "does not exist"),
    Case("link to a device that never ends", "yes/x.png", links("/dev/zero", "yes/x.png"), "is no file"),
    Case("pipe that nobody writes to", "yes/x.png", lambda data: os.mkfifo(data / "yes" / "x.png"), "is no file"),
    Case("socket", "yes/x.png", opens_socket, "is no file"),
    Case("folders that hold themselves", "", makes_loop, outcome=FINE),
    Case("folder called x.png", "", puts(encoded(picture(), "PNG"), "yes/x.png/1.png"), outcome=FINE),
    Case("class folder called x.png", "x.png", lambda data: (data / "x.png").mkdir(), "holds no images", NEVER),
    Case("picture beside the class folders", "x.png", named("x.png"), "lies in no class folder"),
    bad("no picture", "yes/notes.txt", b"hello", "is no image"),
]
NAMES = [
    Case("line break", "yes/a?b.png", named("yes/a\nb.png"), "has a name with control characters; rename it"),
    Case("escape code", "yes/?[31mred.png", named("yes/\x1b[31mred.png"), "has a name with control characters"),
    Case("line separator", "yes/a?b.png", named("yes/a\u2028b.png"), "has a name with control characters"),
    Case("text that runs backwards", "yes/?gnp.exe.png", named("yes/\u202egnp.exe.png"), "with control characters"),
    Case("bytes that are no UTF-8", "yes/?.png", named("yes/\udcff.png"), "has a name that is not UTF-8; rename it"),
    Case("line break in a class", r"a\nb", puts(lambda: encoded(picture(), "PNG"), "a\nb/1.png"), "", NEVER),
    Case("255 bytes", "", named("yes/" + "x" * 251 + ".png"), outcome=FINE),
    Case("emoji, commas and quotes", "", named("yes/\U0001f9e0 a,b;'c' \"d\".png"), outcome=FINE),
    Case("what formats text", "", named("yes/{0}%s%n$HOME`id`.png"), outcome=FINE),
    Case("a leading dash", "", named("yes/--help.png"), outcome=FINE),
    Case(
        "Persian with its joiners", "", named("yes/\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.png"), outcome=FINE
    ),
    Case("accents apart from their letters", "", named("yes/e\u0301.png"), outcome=FINE),
]


@pytest.mark.parametrize("case", [*NO_FILES, *NAMES], ids=str)
def test_folders(case: Case, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, pictures, 2, caplog)


def test_a_folder_that_holds_itself_is_read_once(pictures: Path) -> None:
    makes_loop(pictures)
    assert [record.file for record in prepare(pictures, skip_bad=False).source.records] == [
        "no/good.png",
        "yes/deep/second.png",
        "yes/good.png",
    ]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so be somebody else for a while."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("what", ["yes/good.png", "yes"])
def test_what_may_not_be_read_is_named(pictures: Path, what: str) -> None:
    prepare(pictures, skip_bad=False)  # loads what nobody could
    with tempfile.TemporaryDirectory() as folder:
        data = Path(shutil.copytree(pictures, Path(folder, "data")))
        for place in (Path(folder), data, *data.rglob("*")):
            place.chmod(0o755)
        (data / what).chmod(0)
        with as_nobody():
            assert what in refusal(data)
        (data / what).chmod(0o700)


# metadata.csv


def lists(rows: str | bytes, encoding: str = "utf-8") -> Callable[[Path], object]:
    return puts(rows.encode(encoding) if isinstance(rows, str) else rows, "metadata.csv")


GOOD_ROWS = "file_name,label,patient\nno/good.png,no,p1\nyes/good.png,yes,p2\n"
PATHS = [
    Case(f"path {path!r}", path, lists(f"{GOOD_ROWS}{path},yes,p3\n"), told)
    for path, told in (
        ("../secret.png", "leaves the folder"),
        ("yes/../../secret.png", "leaves the folder"),
        ("/etc/passwd.png", "leaves the folder"),
        ("..\\secret.png", "leaves the folder"),
        ("C:\\secret.png", "leaves the folder"),
        ("c:secret.png", "leaves the folder"),
        ("\\\\server\\share.png", "leaves the folder"),
        ("yes\\good.png", "does not exist"),
        ("yes/missing.png", "does not exist"),
        ("yes", "does not exist"),
        ("metadata.csv", "is no image"),
        ("x" * 5000 + ".png", "does not exist"),
        ("~/secret.png", "does not exist"),
    )
]
TABLES = [
    Case(name, "metadata.csv", lists(rows), told, NEVER)
    for name, rows, told in (
        ("empty", b"", "has no column file_name; its columns are none"),
        ("without file_name", "name,label\nyes/good.png,yes\n", "has no column file_name; its columns are name, label"),
        ("header over two lines", '"na\nme",label\n', "has no column file_name; its columns are na?me, label"),
        ("Latin-1", GOOD_ROWS.replace("p2", "M\xfcller").encode("latin-1"), "cannot be read as CSV in UTF-8"),
        ("UTF-16", GOOD_ROWS.encode("utf-16"), "cannot be read as CSV in UTF-8"),
        ("picture", encoded(picture(), "PNG"), "cannot be read as CSV in UTF-8"),
        ("zero byte in a path", GOOD_ROWS + "yes/\0.png,yes,p3\n", "line 4: a name holds a control character"),
        ("line break in a path", GOOD_ROWS + '"yes/\n.png",yes,p3\n', "line 5: a name holds a control character"),
        ("line break in a patient", GOOD_ROWS + 'yes/a.png,yes,"p\n3"\n', "line 5: a name holds a control character"),
        ("quote left open", GOOD_ROWS.replace("no/", '"no/'), "is a quote left open?"),
        ("quote left open at the end", GOOD_ROWS.replace("p1", '"p1'), "is a quote left open?"),
        ("field of a megabyte", GOOD_ROWS + "x" * 10**6 + ",yes,p3\n", "cannot be read as CSV in UTF-8"),
        ("column twice", GOOD_ROWS.replace("label,", "label,label,"), "has the column 'label' twice"),
        ("row without path", GOOD_ROWS + ",yes,p3\n", "line 4: file_name is empty"),
        ("row twice", GOOD_ROWS + "yes/good.png,yes,p2\n", "line 4: yes/good.png has a row already"),
        ("row twice, written otherwise", GOOD_ROWS + "./yes//good.png,yes,p2\n", "yes/good.png has a row already"),
        ("patients of some", GOOD_ROWS.replace(",p2", ","), "yes/good.png has no patient but others have"),
    )
]
LABELS = [
    Case(name, "", lists(GOOD_ROWS.replace(",yes,", f",{label},")), told, NEVER)
    for name, label, told in (
        ("label with a line break", '"y\nes"', "holds a slash, a colon or a character that cannot be printed"),
        ("label that is a path", "../yes", "begins or ends with a blank or a dot; rename it"),
        ("label of 101 characters", "y" * 101, "is longer than 100 characters; rename it"),
        ("labels that differ by case", "NO", "differ only by case; give them one name or two"),
    )
]
OTHER_TABLES = [
    Case("metadata.csv is a folder", "metadata.csv", lambda data: (data / "metadata.csv").mkdir(), "cannot be", NEVER),
    Case("metadata.csv leads nowhere", "metadata.csv", links("nowhere.csv", "metadata.csv"), "cannot be", NEVER),
    Case("picture without row", "yes/x.png", lambda data: (named("yes/x.png")(data), lists(GOOD_ROWS)(data)), "no row"),
    Case("mask that is missing", "yes/x.png", lambda data: third_row(data, "yes,p3,m.png"), "its mask m.png does not"),
    Case("mask that leaves", "yes/x.png", lambda data: third_row(data, "yes,p3,../m.png"), "its mask ../m.png leaves"),
    Case(
        "label against its folder", "yes/x.png", lambda data: third_row(data, "no,p3,"), "lies in class folder", NEVER
    ),
    Case("more fields than columns", "", lambda data: third_row(data, "yes,p3,,,and,more"), outcome=FINE),
    Case("fewer fields than columns", "", lambda data: third_row(data, "yes,p3"), outcome=FINE),
    Case("byte order mark", "", lambda data: third_row(data, "yes,p3,", encoding="utf-8-sig"), outcome=FINE),
    Case("line ends of a Mac", "", lambda data: third_row(data, "yes,p3,", ends="\r"), outcome=FINE),
]


def third_row(data: Path, rest: str, *, encoding: str = "utf-8", ends: str = "\n") -> None:
    """A third picture with a row of its own, in a table with masks."""
    named("yes/x.png")(data)
    rows = GOOD_ROWS.replace("patient", "patient,mask") + "yes/x.png," + rest
    lists(rows.replace("\n", ends), encoding)(data)


@pytest.mark.parametrize("case", [*PATHS, *TABLES, *LABELS, *OTHER_TABLES], ids=str)
def test_tables(case: Case, pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, pictures, 2, caplog)


# DICOM


def dicom(**elements: Any) -> bytes:
    """A slice; see `pydicom.Dataset` for the elements. None leaves one out."""
    header = pydicom.Dataset()
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = "1.2.840.10008.5.1.4.1.1.4", "1.2.3", "MR"
    header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID = "somebody", "1.2.4", "1.2.5"
    header.Rows = header.Columns = 24
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 0
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.RescaleSlope, header.InstanceNumber = "1", "1"
    header.PixelData = picture(kind="<u2").tobytes()
    header["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        delattr(header, keyword) if value is None else setattr(header, keyword, value)
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    stream = io.BytesIO()
    header.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def swapped(old: bytes, new: bytes) -> bytes:
    content = dicom()
    assert content.count(old) == 1
    return content.replace(old, new)


def tag(group: int, element: int, kind: bytes = b"") -> bytes:
    return struct.pack("<HH", group, element) + kind


ROWS, SLOPE = tag(0x28, 0x10, b"US\x02\0"), tag(0x28, 0x1053, b"DS\x02\x001 ")
HOSTILE_DICOM = [
    bad(name, "yes/x.dcm", content, told)
    for name, content, told in (
        ("empty", b"", "is empty"),
        ("text", b"hello", "is no DICOM file"),
        ("preamble alone", bytes(128) + b"DICM", "is no DICOM file"),
        ("preamble and garbage", bytes(128) + b"DICM" + np.random.default_rng(1).bytes(500), ""),
        ("PNG", encoded(picture(), "PNG"), "is no DICOM file"),
        ("cut in its header", lambda: dicom()[:300], ""),
        ("cut in its pixels", lambda: dicom()[:-200], "ends before its pixels do: "),
        ("cut by a byte", lambda: dicom()[:-1], "ends before its pixels do: "),
        ("no pixels", lambda: dicom(PixelData=None), "ends before its pixels"),
        ("no image", lambda: dicom(PixelData=None, Rows=None), "holds no image"),
        ("no rows", lambda: dicom(Rows=None), "has no Rows"),
        ("too many rows", lambda: dicom(Rows=240), "ends before its pixels do: "),
        ("too few rows", lambda: dicom(Rows=10), "has 1,152 bytes of pixels but "),
        ("60,000 a side", lambda: dicom(Rows=60_000, Columns=60_000), "is too large: "),
        ("no depth", lambda: dicom(BitsAllocated=0), "of 0 bits"),
        ("billions of frames", lambda: dicom(NumberOfFrames=2**31 - 1), "is too large: "),
        ("rows that are text", lambda: swapped(ROWS + b"\x18\0", tag(0x28, 0x10, b"LO\x02\0no")), "has a Rows that"),
        ("a slope that is text", lambda: swapped(SLOPE, tag(0x28, 0x1053, b"DS\x02\0no")), "computed"),
        ("a kind that is none", lambda: swapped(ROWS, tag(0x28, 0x10, b"??\x02\0")), ""),
        ("a length beyond the end", lambda: swapped(ROWS, tag(0x28, 0x10, b"US\xff\xff")), ""),
        ("a length of 4 GB", lambda: swapped(SLOPE, tag(0x28, 0x1053, b"UN\0\0\xfe\xff\xff\xff")), ""),
        ("a sequence without end", lambda: swapped(SLOPE, tag(0x28, 0x1053, b"SQ\0\0\xff\xff\xff\xff")), ""),
        (
            "a syntax that is none",
            lambda: swapped(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"),
            "TransferSyntaxUID",
        ),
        ("a syntax that does not fit", lambda: swapped(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"), "RLE"),
        ("deflated", lambda: swapped(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")[:-2], "is in Deflated"),
    )
] + [
    fine("no preamble", "yes/x.dcm", lambda: dicom()[132:]),
    fine("no suffix", "yes/IM0001", dicom),
    fine("bytes behind its end", "yes/x.dcm", lambda: dicom() + b"\0" * 33),
]


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """Two classes with a good DICOM slice each."""
    for label in ("no", "yes"):
        puts(dicom(PatientID=label), f"{label}/good.dcm")(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("case", HOSTILE_DICOM, ids=str)
def test_dicom(case: Case, slices: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, slices, 2, caplog)


# NIfTI


def nifti(voxels: Pixels | None = None, *, packed: bool = False, affine: Pixels | None = None) -> bytes:
    """A volume with a bright cube."""
    if voxels is None:
        voxels = np.zeros((12, 12, 4), np.int16)
        voxels[2:-2, 2:-2] = 100 + np.arange(4)
    content = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine).to_bytes()
    return gzip.compress(content, 9, mtime=0) if packed else content


def nifti_with(place: int, form: str, *values: Any) -> bytes:
    content = bytearray(nifti())
    struct.pack_into("<" + form, content, place, *values)
    return bytes(content)


def nifti_of(value: float) -> bytes:
    voxels = np.ones((12, 12, 4), np.float32)
    voxels[3, 3, 3] = value
    return nifti(voxels)


HOSTILE_NIFTI = [
    bad(name, f"yes/x.{suffix}", content, told)
    for name, suffix, content, told in (
        ("empty", "nii", b"", "is empty"),
        ("empty, packed", "nii.gz", b"", ""),
        ("text", "nii", b"hello" * 200, ""),
        ("header alone", "nii", lambda: nifti()[:348], ""),
        ("half a header", "nii", lambda: nifti()[:170], ""),
        ("cut in its voxels", "nii", lambda: nifti()[:-100], ""),
        ("wrong magic", "nii", lambda: nifti_with(344, "4s", b"nope"), ""),
        ("unknown datatype", "nii", lambda: nifti_with(70, "h", 9999), ""),
        ("datatype of colours", "nii", lambda: nifti_with(70, "hh", 128, 24), ""),
        ("no dimension", "nii", lambda: nifti_with(40, "h", 0), ""),
        ("99 dimensions", "nii", lambda: nifti_with(40, "h", 99), ""),
        ("a side of 0", "nii", lambda: nifti_with(42, "h", 0), ""),
        ("a negative side", "nii", lambda: nifti_with(42, "h", -12), ""),
        ("32767 a side", "nii", lambda: nifti_with(42, "hhh", 32767, 32767, 32767), "at most"),
        ("voxels beyond the end", "nii", lambda: nifti_with(108, "f", 1e9), ""),
        ("voxels at not-a-number", "nii", lambda: nifti_with(108, "f", np.nan), ""),
        ("not-a-number", "nii", lambda: nifti_of(np.nan), "not finite"),
        ("infinity", "nii", lambda: nifti_of(np.inf), "not finite"),
        ("axes that lead nowhere", "nii", lambda: nifti_with(280, "12f", *[0.0] * 12), "affine"),
        ("all black", "nii", lambda: nifti(np.zeros((12, 12, 4), np.int16)), ""),
        ("packed and cut", "nii.gz", lambda: nifti(packed=True)[:-30], ""),
        ("packed and cut in its header", "nii.gz", lambda: nifti(packed=True)[:40], ""),
        ("packed garbage", "nii.gz", lambda: gzip.compress(np.random.default_rng(2).bytes(2000)), ""),
        ("packed, but not gzip", "nii.gz", nifti, ""),
        ("packed bomb", "nii.gz", lambda: gzip.compress(nifti_with(42, "hhh", 2000, 2000, 500)), ""),
    )
] + [
    fine("wrong size of its header", "yes/x.nii", lambda: nifti_with(0, "i", 999)),
    fine("a scale of infinity", "yes/x.nii", lambda: nifti_with(112, "f", np.inf)),  # the standard: then there is none
]


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Two classes with a good volume each: four slices."""
    for label in ("no", "yes"):
        puts(nifti(), f"{label}/good.nii")(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("case", HOSTILE_NIFTI, ids=str)
def test_nifti(case: Case, volumes: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, volumes, 8, caplog)


# MATLAB files of Cheng's set


def mat(**fields: Any) -> bytes:
    """A file of the set; None leaves a field out."""
    whole = {"label": 1.0, "PID": np.array([[ord(letter)] for letter in "100360"], np.uint16), "image": picture()}
    whole["tumorMask"] = (picture() > 150).astype(np.uint8)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, value in (whole | fields).items():
            if value is not None:
                file[f"cjdata/{name}"] = value
    return stream.getvalue()


def hdf5(fill: Callable[[Any], object]) -> Callable[[], bytes]:
    def content() -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            fill(file)
        return stream.getvalue()

    return content


def claims(file: Any) -> None:
    """An image of a million a side that takes no space."""
    file["cjdata/label"], file["cjdata/PID"] = 1.0, np.full((6, 1), 49, np.uint16)
    file.create_dataset("cjdata/image", (10**6, 10**6), "u2", chunks=(1000, 1000))
    file.create_dataset("cjdata/tumorMask", (10**6, 10**6), "u1", chunks=(1000, 1000))


HOSTILE_MAT = [
    bad(name, "x.mat", content, told)
    for name, content, told in (
        ("empty", b"", "is empty"),
        ("text", b"hello", "is no MATLAB 7.3 file (HDF5)"),
        ("MATLAB 5", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(200), "save it in MATLAB with -v7.3"),
        ("magic alone", b"\x89HDF\r\n\x1a\n", "cannot be read"),
        ("cut", lambda: mat()[:2000], ""),
        ("without cjdata", hdf5(lambda file: file.create_group("other")), "holds no struct cjdata"),
        ("cjdata is no struct", hdf5(lambda file: file.create_dataset("cjdata", data=[1])), "holds no struct cjdata"),
        ("cjdata leads outside", hdf5(lambda file: file.update({"cjdata": h5py.ExternalLink("/etc/passwd", "/")})), ""),
        ("cjdata leads nowhere", hdf5(lambda file: file.update({"cjdata": h5py.SoftLink("/nowhere")})), ""),
        ("no label", lambda: mat(label=None), "has no cjdata.label of numbers"),
        ("label that is text", lambda: mat(label="glioma"), "has no cjdata.label of numbers"),
        ("label 9", lambda: mat(label=9.0), "has label 9"),
        ("label that is not a number", lambda: mat(label=np.nan), "has label nan"),
        ("many labels", lambda: mat(label=np.ones(10**5)), ""),
        ("no patient", lambda: mat(PID=None), "has no cjdata.PID of numbers"),
        ("patient of zeros", lambda: mat(PID=np.zeros((6, 1), np.uint16)), "has a PID that is no text"),
        ("patient beyond characters", lambda: mat(PID=np.full((6, 1), 2**40)), ""),
        ("patient of surrogates", lambda: mat(PID=np.full((6, 1), 0xD800, np.uint16)), "has a PID that is no text"),
        ("no image", lambda: mat(image=None), ""),
        ("image that is a struct", lambda: mat(**{"image": None, "image/x": 1}), ""),
        ("image of one row", lambda: mat(image=np.ones(24), tumorMask=np.ones(24)), ""),
        ("image with not-a-number", lambda: mat(image=np.full((24, 24), np.nan)), "not finite"),
        ("image of a million a side", hdf5(claims), "at most"),
        (
            "mask of another size",
            lambda: mat(tumorMask=np.ones((3, 3), np.uint8)),
            "its tumorMask is 3x3 and its image",
        ),
    )
]


@pytest.fixture
def matlab(tmp_path: Path) -> Path:
    """Three files of different classes."""
    for label in (1, 2, 3):
        puts(mat(label=float(label)), f"{label}.mat")(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("case", HOSTILE_MAT, ids=str)
def test_mat(case: Case, matlab: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, matlab, 3, caplog)


# TIFFs of kaggle_3m


def slice_with_mask(data: Path, number: int, *, tumor: bool, patient: str = "TCGA_A_1_20000101") -> None:
    pixels = np.stack([picture()] * 3, axis=2)
    mask = np.zeros((24, 24), np.uint8)
    mask[5:9, 5:9] = 255 * tumor
    puts(encoded(pixels, "TIFF"), f"{patient}/{patient}_{number}.tif")(data)
    puts(encoded(mask, "TIFF"), f"{patient}/{patient}_{number}_mask.tif")(data)


def spoils(suffix: str, content: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    """A third slice with one of its files replaced."""

    def write(data: Path) -> None:
        slice_with_mask(data, 3, tumor=True)
        puts(content, f"TCGA_A_1_20000101/TCGA_A_1_20000101_3{suffix}")(data)

    return write


THIRD = "TCGA_A_1_20000101/TCGA_A_1_20000101_3.tif"
HOSTILE_KAGGLE_3M = [
    Case("empty image", THIRD, spoils(".tif", b"")),
    Case("text as image", THIRD, spoils(".tif", b"hello")),
    Case("image cut", THIRD, spoils(".tif", lambda: encoded(np.stack([picture()] * 3, axis=2), "TIFF")[:500])),
    Case("grey image", THIRD, spoils(".tif", lambda: encoded(picture(), "TIFF"))),
    Case("empty mask", THIRD, spoils("_mask.tif", b"")),
    Case("mask cut", THIRD, spoils("_mask.tif", lambda: encoded(picture(), "TIFF")[:200])),
    Case("mask of another size", THIRD, spoils("_mask.tif", lambda: encoded(picture(12), "TIFF"))),
    Case("mask that claims 2**32 a row", THIRD, spoils("_mask.tif", tiff_with(256, 4, 2**32 - 1))),
]


@pytest.fixture
def kaggle_3m(tmp_path: Path) -> Path:
    """A slice with a tumour and one without."""
    for number in (1, 2):
        slice_with_mask(tmp_path / "data", number, tumor=number == 1)
    return tmp_path / "data"


@pytest.mark.parametrize("case", HOSTILE_KAGGLE_3M, ids=str)
def test_kaggle_3m(case: Case, kaggle_3m: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(case, kaggle_3m, 2, caplog)


# Whatever may happen to a file

Damage = list[tuple[str, float, bytes]]
damages = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert", "fill"]), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
    min_size=1,
    max_size=4,
)
thoroughly = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def damaged(content: bytes, damage: Damage) -> bytes:
    """Bytes changed, cut off, put in or overwritten; more often at the start, where headers are."""
    for what, share, new in damage:
        place = int(share**3 * len(content))
        if what == "flip":
            old = content[place : place + len(new)]
            content = (
                content[:place] + bytes(a ^ b for a, b in zip(old, new, strict=False)) + content[place + len(old) :]
            )
        elif what == "cut":
            content = content[: len(content) - place]
        elif what == "insert":
            content = content[:place] + new + content[place:]
        else:
            content = content[:place] + new + content[place + len(new) :]
    return content


@contextmanager
def refused_at_most(start: str = "") -> Iterator[None]:
    """A `DataError` of one line may be raised here, and nothing else."""
    told = start
    try:
        yield
    except DataError as error:
        told = str(error)
    assert told.startswith(start)
    assert len(told.splitlines()) <= 1


def read_or_refuse(reader: Reader, file: str, content: bytes) -> None:
    """Read a folder with this file, and all that it gives."""
    with tempfile.TemporaryDirectory() as folder:
        puts(content, file)(Path(folder))
        findings, images = Findings(skip_bad=True), None
        with refused_at_most():
            images = reader.read(Path(folder), findings)
        assert all(len(bad.reason.splitlines()) == 1 for bad in findings.bad)
        for record in images.records if images else ():
            with refused_at_most(f"{record.path}: "):
                pixels = pixels_of(record, 1)
                assert np.isfinite(pixels).all()
                SMALL([pixels])
                mask_of(record)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_damaged_picture_is_read_or_refused(kind: str) -> None:
    whole = encoded(picture(), kind)

    @thoroughly
    @given(damages)
    def holds(damage: Damage) -> None:
        read_or_refuse(Folders(), f"yes/x.{kind.lower()}", damaged(whole, damage))

    holds()


@pytest.mark.parametrize(
    ("reader", "file", "whole"),
    [
        (Dicom(), "yes/x.dcm", dicom),
        (Dicom(window="file"), "yes/x.dcm", lambda: dicom(WindowCenter="9", WindowWidth="9", PixelPaddingValue=3)),
        (Nifti(), "yes/x.nii", nifti),
        (Nifti(), "yes/x.nii.gz", lambda: nifti(packed=True)),
        (Cheng(), "x.mat", mat),
    ],
    ids=["dicom", "dicom with a window", "nifti", "nifti, packed", "mat"],
)
def test_a_damaged_file_of_a_scanner_is_read_or_refused(reader: Reader, file: str, whole: Callable[[], bytes]) -> None:
    content = whole()

    @thoroughly
    @given(damages)
    def holds(damage: Damage) -> None:
        read_or_refuse(reader, file, damaged(content, damage))

    holds()


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two pictures whose metadata.csv is to be written."""
    folder = tmp_path_factory.mktemp("listed")
    for label in ("no", "yes"):
        puts(encoded(picture(), "PNG"), f"{label}/good.png")(folder)
    return folder


def check_table(data: Path, content: bytes) -> None:
    (data / "metadata.csv").write_bytes(content)
    findings = Findings(skip_bad=True)
    with refused_at_most():
        images = read_folder(data, findings)
        assert {record.file for record in images.records} <= {"no/good.png", "yes/good.png"}
    assert all(len(f"{bad.file}{bad.reason}".splitlines()) == 1 for bad in findings.bad)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"file_name,{text}".encode(errors="replace")))
@settings(parent=thoroughly, max_examples=100)
def test_any_bytes_are_a_table_or_refused(listed: Path, content: bytes) -> None:
    check_table(listed, content)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["yes/good.png", "no/good.png", "../x.png", "yes", ""]) | st.text(max_size=9),
            st.sampled_from(["yes", "no", ""]) | st.text(max_size=5),
            st.sampled_from(["", "p1"]) | st.text(max_size=5),
            st.sampled_from(["", "yes/good.png", "/x"]) | st.text(max_size=5),
        ),
        max_size=4,
    )
)
@settings(parent=thoroughly, max_examples=100)
def test_any_rows_are_read_or_refused(listed: Path, rows: list[tuple[str, ...]]) -> None:
    lines = ["file_name,label,patient,mask", *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    check_table(listed, "\n".join(lines).encode(errors="replace"))


@given(damages)
@settings(parent=thoroughly, max_examples=100)
def test_a_damaged_table_is_read_or_refused(listed: Path, damage: Damage) -> None:
    check_table(listed, damaged(GOOD_ROWS.encode(), damage))
