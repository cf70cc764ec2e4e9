import gzip
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braingan.data import volumes as shared_volumes
from braingan.data.findings import BadFile, Findings
from braingan.data.formats import nifti
from braingan.data.formats.nifti import Nifti
from braingan.data.preparation import content_hashes, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import READERS, read_images, recognise
from braingan.data.records import ImageRecord, ImageSet, mask_of, pixels_of
from braingan.data.studies import find_studies, is_mask
from braingan.data.volumes import files_below, foreground, plane, remember_latest, square
from braingan.errors import DataError, SettingsError

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed; braingan[nifti] brings it")

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "volumes" / "nifti"
RAS = np.diag([1.0, 1.0, 1.0, 1.0])
SHAPE = (24, 20, 10)
Voxels = np.ndarray[Any, Any]


def head(shape: Sequence[int] = SHAPE, brightness: float = 100) -> Voxels:
    """An ellipsoid that fills the volume, brighter to the right, the front and the top: right, front, top axes."""
    right, front, top = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    inside = np.sqrt(right**2 + front**2 + top**2) < 0.95
    return np.where(inside, brightness * (1 + 0.3 * right + 0.2 * front + 0.1 * top), 0).astype(np.float32)


def lesion(shape: Sequence[int] = SHAPE, *, at: Sequence[int] = (4, 5), side: int = 4) -> Voxels:
    """A block at the right and the front, in the slices `at`."""
    mask = np.zeros(shape, np.uint8)
    mask[14 : 14 + side, 10 : 10 + side, list(at)] = 1
    return mask


def write(path: Path, voxels: Voxels, affine: Voxels = RAS, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(options.get("kind", nibabel.Nifti1Image)(voxels, affine), path)
    return path


def read(data: Path, **options: Any) -> ImageSet:
    return Nifti(**options).read(data, Findings(skip_bad=False))


def bad_files(data: Path, **options: Any) -> list[BadFile]:
    findings = Findings(skip_bad=True)
    Nifti(**options).read(data, findings)
    return findings.bad


def names(images: ImageSet) -> list[str]:
    return [record.file for record in images.records]


def rows(images: ImageSet) -> set[tuple[str, str, str]]:
    """Volume, class and patient of all images."""
    return {(r.file.split("#")[0], images.classes[r.label], r.group) for r in images.records}


def at(images: ImageSet, place: str) -> ImageRecord:
    return next(record for record in images.records if record.file.endswith(place))


def mask_at(images: ImageSet, place: str) -> Voxels:
    mask = mask_of(at(images, place))
    assert mask is not None
    return mask


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Two patients with one sequence and the mask of a tumour in slices 4 and 5."""
    for name in ("p1", "p2"):
        write(tmp_path / "data" / name / "T1.nii.gz", head())
        write(tmp_path / "data" / name / "T1_mask.nii.gz", lesion())
    return tmp_path / "data"


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """A patient with three sequences on one grid and labels."""
    for number, name in enumerate(("t1", "flair", "t1ce")):
        write(tmp_path / "stacked" / "P7" / f"P7_{name}_norm.nii.gz", head(brightness=100 * (1 + number)))
    write(tmp_path / "stacked" / "P7" / "P7_seg.nii.gz", 4 * lesion())
    return tmp_path / "stacked"


# Slices and classes


def test_slices_with_content_get_their_class_from_the_mask(patients: Path) -> None:
    images = read(patients)
    assert images.classes == ["no_tumor", "tumor"]
    assert images.has_patients
    first = [record for record in images.records if record.group == "p1"]
    assert [record.file for record in first] == [f"p1/T1.nii.gz#axial{index:03d}" for index in range(1, 9)]
    assert [images.classes[record.label] for record in first] == ["no_tumor"] * 3 + ["tumor"] * 2 + ["no_tumor"] * 3
    assert [record.columns for record in first[:2]] == [(("slice", "1"),), (("slice", "2"),)]
    assert all(record.path == patients / "p1" / "T1.nii.gz" for record in first)


def test_slices_whose_mask_marks_too_little_are_neither_class(patients: Path) -> None:
    mask = lesion(at=(4,))
    mask[14, 10, 5] = 1  # 1 of 480 pixels is 137 of 65,536
    write(patients / "p1" / "T1_mask.nii.gz", mask)
    assert len(read(patients, lesion=136)) == len(read(patients, lesion=1)) == 16
    left_out = set(names(read(patients))) - set(names(read(patients, lesion=138)))
    assert left_out == {"p1/T1.nii.gz#axial005"}


def test_content_says_how_much_of_a_slice_the_head_must_cover(patients: Path) -> None:
    covered = (head() > 0).mean(axis=(0, 1))
    assert covered.max() < 0.7
    counts = [len(read(patients, content=share)) // 2 for share in (0, 0.08, 0.5, 0.6)]
    assert counts == [8, 8, (covered >= 0.5).sum(), (covered >= 0.6).sum()]
    assert 8 > counts[2] > counts[3] > 0


def test_an_empty_slice_is_never_an_image(patients: Path) -> None:
    voxels = head()
    voxels[:, :, 8:] = 0
    write(patients / "p1" / "T1.nii.gz", voxels)
    assert "p1/T1.nii.gz#axial009" not in names(read(patients, content=0))


@pytest.mark.parametrize("value", [0.4, 0.6])
def test_a_mask_marks_what_is_above_a_half(patients: Path, value: float) -> None:
    write(patients / "p1" / "T1_mask.nii.gz", value * lesion().astype(np.float32))
    images = read(patients)
    tumors = [record for record in images.records if record.group == "p1" and record.label == 1]
    assert len(tumors) == (2 if value > 0.5 else 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda voxels: voxels,
        lambda voxels: (voxels - voxels.mean()) / voxels.std(),
        lambda voxels: np.where(voxels > 0, (voxels - 100) / 30, 0),
        lambda voxels: np.where(voxels > 0, (voxels - 100) / 30, -9),
        lambda voxels: np.abs(voxels + np.random.default_rng(0).normal(0, 1.0, voxels.shape)),
        lambda voxels: 1000 - voxels,
    ],
    ids=["plain", "z-score", "z-score of the head", "background below all", "noise", "inverted"],
)
def test_the_head_is_found_whatever_the_scale_and_the_background(change: Callable[[Voxels], Voxels]) -> None:
    voxels = np.pad(head((48, 40, 20)), 2)
    found = foreground(change(voxels).astype(np.float32))
    assert (found == (voxels > 0)).mean() > 0.99


def test_noise_is_no_head_where_a_margin_of_zeros_was_put_around_it() -> None:
    noise = np.abs(np.random.default_rng(0).normal(0, 1.0, (48, 40, 20))).astype(np.float32)
    found = foreground(np.pad(head((48, 40, 20)) + noise, 3))
    assert (found == np.pad(head((48, 40, 20)) > 0, 3)).mean() > 0.99


def test_noise_on_both_sides_of_the_background_is_no_head() -> None:
    voxels = np.pad(head((48, 40, 20)), 3)
    noise = np.random.default_rng(0).normal(0, 3.0, voxels.shape).astype(np.float32)
    assert (foreground(voxels + noise) == (voxels > 0)).mean() > 0.9


def test_a_volume_of_one_value_has_no_foreground() -> None:
    assert not foreground(np.full((4, 5, 6), 7, np.float32)).any()


def test_a_small_object_in_a_large_empty_volume_is_found() -> None:
    voxels = np.zeros((50, 50, 50), np.float32)
    voxels[20:24, 20:24, 20:24] = 5
    assert foreground(voxels).sum() == 64


# Orientation


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "ASR", "IPL", "PIR"])
def test_slices_stand_as_radiologists_see_them_however_they_are_stored(tmp_path: Path, axis: str, codes: str) -> None:
    mask = lesion(at=(7, 8))
    for name, voxels in (("t1", head()), ("mask", mask)):
        image = nibabel.Nifti1Image(voxels, RAS)
        to = nibabel.orientations.axcodes2ornt(codes)
        turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(RAS), to))
        assert "".join(nibabel.aff2axcodes(turned.affine)) == codes
        nibabel.save(turned, tmp_path / f"{name}.nii.gz")
    images = read(tmp_path, axis=axis, content=0)
    place = {"axial": 8, "coronal": 12, "sagittal": 16}[axis]
    record = at(images, f"#{axis}{place:03d}")
    pixels, found = pixels_of(record, 1)[:, :, 0], mask_of(record)
    assert found is not None
    cut: tuple[Any, ...] = {  # rows from the top or the front, columns from the patient's right or front
        "axial": (slice(None, None, -1), slice(None, None, -1), place),
        "coronal": (slice(None, None, -1), place, slice(None, None, -1)),
        "sagittal": (place, slice(None, None, -1), slice(None, None, -1)),
    }[axis]
    assert (pixels == head()[cut].T).all()
    assert (found == mask[cut].T).all()
    half_high, half_wide = (length // 2 for length in pixels.shape)
    assert pixels[:half_high].mean() > pixels[half_high:].mean()  # the front or the top is brighter
    assert pixels[:, :half_wide].mean() > pixels[:, half_wide:].mean()  # so is the right or the front


def test_an_oblique_volume_is_turned_to_the_nearest_axes(tmp_path: Path) -> None:
    angle = np.deg2rad(20)
    affine = np.array(
        [
            [-1, 0, 0, 30],
            [0, np.cos(angle), -np.sin(angle), 5],
            [0, np.sin(angle), np.cos(angle), 0],
            [0, 0, 0, 1.0],
        ]
    )
    write(tmp_path / "t1.nii", head()[::-1], affine)
    assert (pixels_of(at(read(tmp_path), "#axial004"), 1)[:, :, 0] == head()[::-1, ::-1, 4].T).all()


def test_pixels_become_square_where_spacings_differ(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    write(tmp_path / "t1.nii", head(), affine)
    write(tmp_path / "mask.nii", lesion(at=(5,)), affine)
    images = read(tmp_path, axis="coronal")
    pixels, mask = pixels_of(at(images, "#coronal012"), 1), mask_at(images, "#coronal012")
    assert pixels.shape == (30, 24, 1)
    assert mask.shape == (30, 24)
    assert mask.any(axis=1).nonzero()[0].tolist() == [12, 13, 14]  # slice 5 of 10 from below, thrice as high
    assert mask.any(axis=0).nonzero()[0].tolist() == [6, 7, 8, 9]
    assert pixels_of(at(read(tmp_path), "#axial005"), 1).shape == (20, 24, 1)


@pytest.mark.parametrize(("spacing", "shape"), [((1.04, 1.0), (4, 6)), ((1.1, 1.0), (4, 6)), ((1.0, 2.0), (4, 12))])
def test_only_plain_differences_of_spacing_are_mended(spacing: tuple[float, float], shape: tuple[int, int]) -> None:
    pixels = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    squared = square(pixels, spacing, order=1)
    assert squared.shape == shape
    assert (squared is pixels) == (spacing[0] == 1.04)


def test_a_mask_keeps_its_values_when_it_is_stretched() -> None:
    mask = np.random.default_rng(0).random((9, 5)) > 0.5
    stretched = square(mask, (3.0, 1.0), order=0)
    assert stretched.dtype == np.bool_
    assert (stretched == np.repeat(mask, 3, axis=0)).all()


# What a header may say


def test_scale_and_offset_of_the_header_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(head().astype(np.int16), RAS)
    image.header.set_slope_inter(0.5, -10)
    image.to_filename(tmp_path / "t1.nii")
    stored = nibabel.load(tmp_path / "t1.nii")
    assert (stored.dataobj.slope, stored.dataobj.inter) == (0.5, -10)
    expected = np.asarray(stored.dataobj)[::-1, ::-1, 5].T
    assert np.allclose(pixels_of(at(read(tmp_path), "#axial005"), 1)[:, :, 0], expected)
    assert expected.min() == -10


def test_big_endian_numbers_are_read(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.Nifti1Image(head().astype(">i2"), RAS, header).to_filename(tmp_path / "t1.nii")
    assert nibabel.load(tmp_path / "t1.nii").header.endianness == ">"
    pixels = pixels_of(at(read(tmp_path), "#axial005"), 1)[:, :, 0]
    assert (pixels == head().astype(np.int16)[::-1, ::-1, 5].T).all()
    assert pixels.dtype.isnative


def test_one_of_several_volumes_is_read_and_that_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series = np.stack([head(), 2 * head(), 3 * head()], axis=3)
    for name in ("a", "b"):
        write(tmp_path / "x" / f"{name}.nii.gz", series)
    write(tmp_path / "x" / "c.nii.gz", head())
    write(tmp_path / "x" / "d.nii.gz", head()[:, :, :, None])
    with caplog.at_level(logging.WARNING, "braingan"):
        images = read(tmp_path, time=1)
    assert caplog.messages == [f"{tmp_path}: 2 files hold several volumes, x/a.nii.gz first; volume 1 of each is read"]
    means = {name: pixels_of(at(images, f"{name}.nii.gz#axial005"), 1).mean() for name in "abcd"}
    assert means["a"] == means["b"] == pytest.approx(2 * means["c"])
    assert means["c"] == means["d"]
    first, second = (at(read(tmp_path, time=time), "a.nii.gz#axial005") for time in (0, 1))
    assert pixels_of(first, 1).mean() == pytest.approx(means["c"])
    assert content_hashes(ImageSet([first], ["x"])) != content_hashes(ImageSet([second], ["x"]))


def test_header_and_voxels_may_be_apart(tmp_path: Path) -> None:
    write(tmp_path / "x" / "t1.img", head(), kind=nibabel.Nifti1Pair)
    write(tmp_path / "x" / "t2.nii", head())
    images = read(tmp_path)
    record = at(images, "t1.hdr#axial005")
    assert (pixels_of(record, 1) == pixels_of(at(images, "t2.nii#axial005"), 1)).all()
    assert record.source is not None
    assert record.source.paths == (tmp_path / "x" / "t1.hdr", tmp_path / "x" / "t1.img")


# Bad files


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def broken_header(path: Path, offset: int, content: bytes) -> None:
    stored = bytearray(gzip.decompress(path.read_bytes()))
    stored[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(stored)))


def dimensions(*sizes: int) -> bytes:
    return np.array([len(sizes), *sizes, *[1] * (7 - len(sizes))], "<i2").tobytes()


def not_finite(path: Path) -> None:
    voxels = head()
    voxels[3, 3, 3] = np.nan
    write(path, voxels)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"hello, this is text"), "is no NIfTI file"),
        (lambda path: path.write_bytes(gzip.compress(b"hello" * 100)), "is no NIfTI file"),
        (truncated, "is truncated or damaged: Compressed file ended before the end-of-stream marker was reached"),
        (not_finite, "holds voxels that are not finite numbers"),
        (
            lambda path: write(path, np.full(SHAPE, 1e300)),
            "holds voxels that are not finite numbers",
        ),
        (lambda path: write(path, head()[:, :, 0]), "has the dimensions 24x20; three are read, or four with"),
        (lambda path: write(path, head()[:, 0, 0]), "has the dimensions 24; three are read"),
        (lambda path: write(path, head()[:, :, :, None, None].repeat(2, 4)), "has the dimensions 24x20x10x1x2; three"),
        (lambda path: write(path, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), "holds no plain numbers"),
        (lambda path: write(path, head().astype(np.complex64)), "holds no plain numbers but complex64"),
        (
            lambda path: broken_header(path, 40, dimensions(30000, 30000, 30000)),
            "claims to have 30000x30000x30000 voxels; at most 536,870,912 are read",
        ),
        (
            lambda path: broken_header(path, 40, dimensions(800, 800, 800)),
            "is truncated: by its header it has 2,048,000,352 bytes",
        ),
        (lambda path: broken_header(path, 40, dimensions(-24, 20, 10)), "has the dimensions -24x20x10"),
        (lambda path: broken_header(path, 70, b"\x63\x00"), "has a header that cannot be read: "),
        (lambda path: broken_header(path, 280, b"\xff\xff\xff\x7f" * 12), "does not say where its voxels lie"),
        (lambda path: write(path, np.full(SHAPE, 3, np.uint8)), "gives no slice: the head covers less than 8%"),
        (
            lambda path: write(path, head(), np.diag([0.001, 1, 1, 1])),
            "has voxels of 0.001 x 1 x 1 mm; with square pixels a slice is too large: 24x20000 pixels",
        ),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "does not exist"),
        (lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()), None),
    ],
)
def test_a_volume_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], object], reason: str | None
) -> None:
    write(tmp_path / "glioma" / "good.nii.gz", head())
    damage(write(tmp_path / "glioma" / "bad.nii.gz", head()))
    found = bad_files(tmp_path)
    if reason is not None:
        assert [bad.file for bad in found] == ["glioma/bad.nii.gz"]
        assert found[0].reason.startswith(reason)
        assert len(found[0].reason.splitlines()) == 1
        assert str(tmp_path) not in found[0].reason
    assert capfd.readouterr().err == ""


def test_a_stream_that_is_whole_but_too_short_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x" / "t1.nii.gz", head())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-200]))
    write(tmp_path / "x" / "good.nii", head())
    (bad,) = bad_files(tmp_path)
    assert bad.reason.startswith("cannot be read: Expected 19200 bytes, got 19000 bytes")


def test_what_nibabel_says_of_an_odd_header_is_not_passed_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x" / "t1.nii.gz", head())
    broken_header(path, 80, np.array([-1], "<f4").tobytes())
    nibabel.load(path)
    assert "pixdim[1,2,3] should be positive" in caplog.text
    caplog.clear()
    capfd.readouterr()
    assert len(read(tmp_path)) == 8
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_a_short_uncompressed_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x" / "good.nii", head())
    truncated(write(tmp_path / "x" / "t1.nii", head()))
    (bad,) = bad_files(tmp_path)
    assert bad.reason == "is truncated: by its header it has 19,552 bytes"


def test_bad_volumes_are_refused_unless_they_are_skipped(patients: Path) -> None:
    (patients / "p1" / "T1.nii.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read(patients)
    assert str(caught.value) == f"{patients}: p1/T1.nii.gz: is empty; --skip-bad goes on without bad files"


def test_a_time_that_a_file_has_not_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x" / "a.nii", np.stack([head()] * 2, axis=3))
    write(tmp_path / "x" / "b.nii", np.stack([head()] * 4, axis=3))
    assert bad_files(tmp_path, time=2) == [
        BadFile("x/a.nii", "holds 2 volumes and time=2 was asked; 0 to 1 work"),
    ]


def test_a_file_that_vanishes_is_one_line_that_begins_with_its_path(patients: Path) -> None:
    record = read(patients).records[0]
    record.path.unlink()
    with pytest.raises(DataError) as caught:
        pixels_of(record, 1)
    assert str(caught.value) == f"{record.path}: cannot be read: No such file or directory"


def test_a_mask_that_vanishes_is_named_after_the_path_of_its_volume(patients: Path) -> None:
    record = read(patients).records[0]
    (patients / "p1" / "T1_mask.nii.gz").unlink()
    with pytest.raises(DataError) as caught:
        mask_of(record)
    assert str(caught.value) == f"{record.path}: T1_mask.nii.gz cannot be read: No such file or directory"


def test_a_file_that_is_replaced_is_read_anew(patients: Path) -> None:
    record = at(read(patients), "p1/T1.nii.gz#axial005")
    before = pixels_of(record, 1)
    write(record.path, head(brightness=7).astype(np.float64))
    assert pixels_of(record, 1).max() < before.max() / 5


@pytest.mark.parametrize(
    ("mask", "affine", "reason"),
    [
        (lesion((24, 20, 11)), RAS, "has 24x20x11 voxels and the volume beside it 24x20x10; bring them to one grid"),
        (lesion(), np.diag([1, 1, 2.0, 1]), "lies up to 9 mm beside the volume beside it; bring them to one grid"),
        (
            lesion(),
            RAS + 0.5 * np.eye(4)[:, [3, 0, 1, 2]] * 0 + np.array([[0, 0, 0, 1.0]] + [[0] * 4] * 3),
            "lies up to 1 mm",
        ),
    ],
)
def test_a_mask_on_another_grid_is_named(patients: Path, mask: Voxels, affine: Voxels, reason: str) -> None:
    write(patients / "p1" / "T1_mask.nii.gz", mask, affine)
    (bad,) = bad_files(patients)
    assert bad.file == "p1/T1_mask.nii.gz"
    assert bad.reason.startswith(reason)
    assert {record.group for record in Nifti().read(patients, Findings(skip_bad=True)).records} == {"p2"}


def test_grids_may_differ_by_what_rounding_does(patients: Path) -> None:
    write(patients / "p1" / "T1_mask.nii.gz", lesion(), RAS + 1e-4)
    assert bad_files(patients) == []


def test_a_mask_that_is_stored_in_another_order_fits(patients: Path) -> None:
    before = mask_at(read(patients), "p1/T1.nii.gz#axial005")
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 23
    write(patients / "p1" / "T1_mask.nii.gz", lesion()[::-1], flipped)
    assert (mask_at(read(patients), "p1/T1.nii.gz#axial005") == before).all()


def test_without_nibabel_the_message_says_what_to_install(patients: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(DataError, match=r"data: needs nibabel; pip install 'braingan\[nifti\]' installs it$"):
        read(patients)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axis": "z"}, "axis 'z' was asked; sagittal, coronal, axial work"),
        ({"content": 1.0}, "content=1.0 was asked; a share from 0 to below 1 works"),
        ({"content": -0.1}, "content=-0.1 was asked"),
        ({"lesion": 0}, "lesion=0 was asked; at least 1 pixel makes a tumour"),
        ({"time": -1}, "time=-1 was asked; volumes are counted from 0"),
        ({"sequences": ("a", "b", "c", "d", "e")}, "sequences=a,b,c,d,e was asked; up to 4 names work"),
        ({"sequences": ("a", "")}, "sequences=a, was asked; up to 4 names work"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Nifti(**options)


def test_nibabel_may_speak_again_when_we_have_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "x" / "a.nii", head())
    read(tmp_path)
    with caplog.at_level(logging.WARNING, "nibabel.global"):
        logging.getLogger("nibabel.global").warning("as loud as before")
    assert "as loud as before" in caplog.messages


# Sequences


def test_volumes_beside_one_mask_become_channels_in_the_order_of_their_names(sequences: Path) -> None:
    images = read(sequences)
    record = at(images, "#axial005")
    assert record.file == "P7/P7_flair_norm.nii.gz#axial005"
    assert record.columns == (("slice", "5"), ("sequences", "flair+t1+t1ce"))
    pixels = pixels_of(record, 3)
    assert np.allclose(pixels, pixels[:, :, 1:2] * np.array([2, 1, 3]))
    assert record.source is not None
    assert len(record.source.paths) == 3
    assert (len(images), images.classes) == (8, ["no_tumor", "tumor"])


@pytest.mark.parametrize(
    ("wanted", "factors"), [(("t1ce", "FLAIR"), [3, 2]), (("t1",), [1]), (("ce", "norm_t1"), None), (("fla",), [2])]
)
def test_sequences_are_chosen_by_their_names(
    sequences: Path, wanted: tuple[str, ...], factors: list[int] | None
) -> None:
    if factors is None:
        (bad,) = bad_files_of_studies(sequences, wanted)
        assert bad.reason.startswith(
            "sequence 'norm_t1' was asked and 0 of the volumes that belong together are called"
        )
        return
    record = at(read(sequences, sequences=wanted), "#axial005")
    brightness = (
        pixels_of(record, len(factors)).max(axis=(0, 1)) / pixels_of(at(read(sequences), "#axial005"), 3)[:, :, 1].max()
    )
    assert brightness.tolist() == pytest.approx(factors)
    assert record.columns[1] == ("sequences", "+".join(wanted))


def bad_files_of_studies(data: Path, wanted: tuple[str, ...]) -> list[BadFile]:
    findings = Findings(skip_bad=True)
    find_studies(files_below(data, findings), wanted, findings)
    return findings.bad


def test_a_name_that_fits_several_volumes_is_refused(sequences: Path) -> None:
    with pytest.raises(DataError, match=r"sequence 'norm' was asked and 3 of the volumes .* are called so \(P7_flair"):
        read(sequences, sequences=("norm",))


def test_a_sequence_on_another_grid_is_named(sequences: Path) -> None:
    write(sequences / "P7" / "P7_t1_norm.nii.gz", head((24, 20, 12)))
    with pytest.raises(DataError) as caught:
        read(sequences)
    assert str(caught.value) == (
        f"{sequences}: P7/P7_t1_norm.nii.gz: has 24x20x12 voxels and P7_flair_norm.nii.gz 24x20x10; bring them to one "
        "grid; its other sequences are left out with it; --skip-bad goes on without bad files"
    )


def test_more_sequences_than_channels_are_cut_and_that_is_logged(
    sequences: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("t2", "dwi"):
        write(sequences / "P7" / f"P7_{name}_norm.nii.gz", head())
    with caplog.at_level(logging.WARNING, "braingan"):
        images = read(sequences)
    assert "P7: only the first 4 of 5 sequences are read" in caplog.messages
    assert images.records[0].columns[1] == ("sequences", "dwi+flair+t1+t1ce")


def test_hidden_files_and_what_lies_in_hidden_folders_are_ignored(patients: Path) -> None:
    for hidden in ("p1/._T1.nii.gz", ".cache/T1.nii.gz"):
        (patients / hidden).parent.mkdir(exist_ok=True)
        (patients / hidden).touch()
    (patients / "p1" / "notes.txt").symlink_to("nowhere")
    assert bad_files(patients) == []


def test_without_a_mask_each_volume_is_on_its_own(sequences: Path) -> None:
    (sequences / "P7" / "P7_seg.nii.gz").unlink()
    assert len(read(sequences)) == 3 * 8
    images = read(sequences, sequences=("flair", "t1ce"))
    assert len(images) == 8
    assert pixels_of(images.records[4], 2).shape == (20, 24, 2)


@pytest.mark.parametrize("name", ["T1_bet_mask", "T1_BrainExtractionMask", "T1_brain_mask"])
def test_a_mask_of_the_brain_is_none_of_a_tumour(patients: Path, name: str) -> None:
    before = rows(read(patients))
    write(patients / "p1" / f"{name}.nii.gz", np.ones_like(lesion()))
    assert rows(read(patients)) == before


def test_a_mask_that_fills_the_head_is_not_taken_for_a_tumour(patients: Path) -> None:
    write(patients / "p1" / "T1_mask.nii.gz", np.ones_like(lesion()))
    (bad,) = bad_files(patients)
    assert bad.reason == "marks more than 50% of the head: is it a mask of the brain?"


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("mask", "T1_Mask", "p1_seg", "p1-label", "groundTruth", "lesion", "roi_1", "OTMultiClass", "x_OT", "VOI"),
        *(
            "VSD.Brain_3more.XX.O.OT.54517",
            "t1seg",
            "FLAIRmask",
            "sub-01_dseg",
            "labels",
            "p1_SEG",
            "W39_1998.09.19_Segm",
        ),
    ],
)
def test_a_volume_is_a_mask_by_its_name(name: str) -> None:
    assert is_mask(f"lesions/{name}.nii.gz")


@pytest.mark.parametrize("name", ["t1", "rotated", "voice", "unlabelled", "masked_t1", "heroic", "T1c", "other"])
def test_a_volume_is_no_mask_where_the_word_is_part_of_another(name: str) -> None:
    assert not is_mask(f"labels/{name}.nii.gz")


def studies(*files: str, wanted: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str | None, str, str]]:
    findings = Findings(skip_bad=False)
    found = find_studies(sorted(files), wanted, findings)
    assert findings.bad == []
    return [(study.images, study.mask, study.label, study.patient) for study in found]


def problems(*files: str) -> list[tuple[str, str]]:
    findings = Findings(skip_bad=True)
    find_studies(sorted(files), (), findings)
    return [(bad.file, bad.reason) for bad in findings.bad]


def test_without_masks_the_top_folder_is_the_class_and_the_next_the_patient() -> None:
    assert studies("glioma/p1/t1.nii", "glioma/p1/t2.nii", "glioma/p2.nii.gz", "none/a/b/t1.nii") == [
        (("glioma/p1/t1.nii",), None, "glioma", "p1"),
        (("glioma/p1/t2.nii",), None, "glioma", "p1"),
        (("glioma/p2.nii.gz",), None, "glioma", "p2"),
        (("none/a/b/t1.nii",), None, "none", "a/b"),
    ]


def test_sequences_of_a_patient_in_a_class_folder_are_one_patient() -> None:
    assert {patient for *_, patient in studies("x/IXI002-Guys-T1.nii", "x/IXI002-Guys-T2.nii")} == {"IXI002-Guys"}
    assert [patient for *_, patient in studies("x/p1_flair.nii", "x/p2_flair.nii")] == ["p1", "p2"]


def test_volumes_without_a_mask_among_others_with_one_are_unlabelled() -> None:
    assert studies("p1/t1.nii", "p1/mask.nii", "p2/t1.nii", "p3.nii") == [
        (("p1/t1.nii",), "p1/mask.nii", "", "p1"),
        (("p2/t1.nii",), None, "unlabelled", "p2"),
        (("p3.nii",), None, "unlabelled", "p3"),
    ]


def test_bids_subjects_are_patients_and_no_classes() -> None:
    assert studies("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz") == [
        (("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",), None, "unlabelled", "sub-01"),
        (("sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",), None, "unlabelled", "sub-01"),
    ]
    assert studies("glioma/sub-02_T1w.nii") == [(("glioma/sub-02_T1w.nii",), None, "glioma", "sub-02")]


def test_visits_of_a_patient_are_one_patient() -> None:
    found = studies("x/p1/session1/t1.nii", "x/p1/session2/t1.nii", "x/p2/anat/t1.nii")
    assert [patient for *_, patient in found] == ["p1", "p1", "p2"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x/p1/T1/a.nii", "x/p1/FLAIR/b.nii"),
        ("x/p1/2019-03-01/t1.nii", "x/p1/20200211/t1.nii"),
        ("x/p1/baseline/t1.nii", "x/p1/follow-up 2/t1.nii"),
        ("x/p1/week-000/t1.nii", "x/p1/post_op/t1.nii"),
        ("x/p1_t1_bet.nii", "x/p1_flair_bet.nii"),
    ],
)
def test_sequences_and_dates_of_a_patient_in_folders_of_their_own_are_one_patient(one: str, other: str) -> None:
    assert [patient for *_, patient in studies(one, other)] == ["p1", "p1"]


def test_folders_that_may_be_scans_of_one_patient_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "braingan"):
        studies("x/p1/I45/t1.nii", "x/p1/I46/t1.nii", "x/p2/I1/t1.nii")
    assert caplog.messages == [
        "p1/I45 and p1/I46 count as different patients; if they are scans of one, put them into one folder, or a "
        "patient will stand on both sides of a split"
    ]


def test_masks_find_their_images_by_their_names_where_all_lie_in_one_folder() -> None:
    found = studies("c/a1_flair.nii", "c/a1_t1.nii", "c/a1_seg.nii", "c/a10_t1.nii", "c/a10_seg.nii", "c/a2_t1.nii")
    assert found == [
        (("c/a10_t1.nii",), "c/a10_seg.nii", "", "a10"),
        (("c/a1_flair.nii", "c/a1_t1.nii"), "c/a1_seg.nii", "", "a1"),
        (("c/a2_t1.nii",), None, "unlabelled", "a2"),
    ]


def test_an_image_has_the_mask_that_shares_most_of_its_name() -> None:
    found = studies("c/p1_late_t1.nii", "c/p1_late_seg.nii", "c/p1_t1.nii", "c/p1_seg.nii")
    assert [(images, mask) for images, mask, *_ in found] == [
        (("c/p1_late_t1.nii",), "c/p1_late_seg.nii"),
        (("c/p1_t1.nii",), "c/p1_seg.nii"),
    ]


def test_two_scans_of_a_patient_keep_their_masks_and_are_one_patient(caplog: pytest.LogCaptureFixture) -> None:
    scans = [f"{patient}/{scan}_{what}.nii" for patient in "ab" for scan in ("pre", "post") for what in ("t1", "mask")]
    with caplog.at_level(logging.WARNING, "braingan"):
        found = studies(*scans)
    assert [(images, mask, patient) for images, mask, _, patient in found] == [
        (("a/post_t1.nii",), "a/post_mask.nii", "a"),
        (("a/pre_t1.nii",), "a/pre_mask.nii", "a"),
        (("b/post_t1.nii",), "b/post_mask.nii", "b"),
        (("b/pre_t1.nii",), "b/pre_mask.nii", "b"),
    ]
    assert caplog.messages[0] == "a: its 2 scans count as one patient's; give each patient a folder"


def test_a_mask_named_after_one_image_is_not_that_of_another() -> None:
    assert studies("c/p1.nii", "c/p1_seg.nii", "c/p2.nii") == [
        (("c/p1.nii",), "c/p1_seg.nii", "", "p1"),
        (("c/p2.nii",), None, "unlabelled", "p2"),
    ]


def test_maps_of_the_anatomy_are_neither_images_nor_masks() -> None:
    assert studies(
        "p1/t1.nii", "p1/t1_brain_mask.nii", "p1/aseg.nii", "p1/brainmask.nii", "p1/BrainTumor_mask.nii"
    ) == [(("p1/t1.nii",), "p1/BrainTumor_mask.nii", "", "p1")]


def test_what_belongs_to_nothing_is_named() -> None:
    assert problems("p1/t1.nii", "p1/a_mask.nii", "p1/b_mask.nii", "p2/mask.nii", "labelsTr/1.nii", "x/1.nii") == [
        ("labelsTr/1.nii", "lies in a folder of masks; put each mask beside its image"),
        ("p1/a_mask.nii", "is named like a mask and no image beside it belongs to it; rename or remove it"),
        ("p1/b_mask.nii", "is named like a mask and no image beside it belongs to it; rename or remove it"),
        ("p2/mask.nii", "is named like a mask and no image beside it belongs to it; rename or remove it"),
    ]
    assert problems("p1/t1.nii", "p1/mask.nii", "p1/seg.nii") == [
        ("p1/t1.nii", "lies beside mask.nii and seg.nii, and its name does not say which is its mask; leave one")
    ]


# Recognised


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["p1/t1.nii.gz"], True),
        (["p1/T1.NII", "notes.txt", "participants.tsv"], True),
        (["p1/t1.nii.gz", "preview.PNG"], False),
        (["p1/t1.hdr", "p1/t1.img"], False),
        (["x.gz"], False),
        ([], False),
    ],
)
def test_volumes_without_pictures_are_recognised(files: list[str], expected: bool) -> None:
    assert Nifti().recognises(files) == expected


# Reading once


def test_the_latest_is_remembered_for_each_thread() -> None:
    calls: list[int] = []

    @remember_latest
    def count(value: int) -> int:
        calls.append(value)
        return -value

    assert [count(1), count(1), count(2), count(1)] == [-1, -1, -2, -1]
    assert calls == [1, 2, 1]
    thread = threading.Thread(target=count, args=(1,))
    thread.start()
    thread.join()
    assert calls == [1, 2, 1, 1]
    assert (count(1), len(calls)) == (-1, 4)


def test_a_volume_is_decompressed_once_for_all_of_its_slices(patients: Path) -> None:
    images = read(patients)
    source = images.records[0].source
    assert isinstance(source, nifti.NiftiSlice)
    pixels_of(images.records[0], 1)
    held = nifti._volumes(source.volumes, 0, nifti._stamps(source.volumes))
    pixels_of(images.records[3], 1)
    assert nifti._volumes(source.volumes, 0, nifti._stamps(source.volumes)) is held


def test_reading_twice_gives_the_same(sequences: Path) -> None:
    assert read(sequences).records == read(sequences).records


def test_planes_are_counted_from_the_left_the_back_and_the_bottom() -> None:
    voxels = np.arange(24).reshape(2, 3, 4)
    for axis, name in enumerate(shared_volumes.AXES):
        assert plane(voxels, name, 0).sum() == np.take(voxels, 0, axis).sum()


# As a user would


def test_read_images_gives_pictures(patients: Path, sequences: Path) -> None:
    assert recognise(patients) == "nifti"
    image, label = read_images(patients)[0]
    assert (image.mode, image.size, label) == ("F", (24, 20), 0)
    assert read_images(sequences, options={"sequences": "t1ce,flair"})[0][0].mode == "RGB"


def test_the_reader_is_made_by_its_name_from_text() -> None:
    options = {"axis": "coronal", "sequences": "flair,t1c", "content": "0.2", "lesion": "10", "time": "1"}
    assert READERS.create("nifti", options) == Nifti("coronal", ("flair", "t1c"), 0.2, 10, 1)


def test_volumes_are_prepared(patients: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(patients, Preprocessing(size=16), tmp_path / "cache")
    assert prepared.images.shape == (16, 1, 16, 16)
    assert len(set(prepared.hashes)) == 8  # the patients' volumes are the same
    assert (prepared.images.amax(dim=(1, 2, 3)) > 150).all()


def test_sequences_are_prepared_as_channels(sequences: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(sequences, Preprocessing(size=16, channels=3), tmp_path / "cache")
    brightness = prepared.images.amax(dim=(2, 3)).float().mean(dim=0)
    assert brightness[1] < brightness[0] < brightness[2]


@pytest.fixture
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the real volumes are not here: {REAL}")
    return REAL


def test_the_real_volumes_give_slices_of_known_classes_and_patients(real: Path, tmp_path: Path) -> None:
    images = read_images(real)
    counts = Counter((record.group, images.classes[record.label]) for record in images.records)
    assert counts == {
        ("big_endian", "unlabelled"): 25,
        ("brats_pat0001", "no_tumor"): 34,
        ("brats_pat0001", "tumor"): 70,
        ("btp_01", "no_tumor"): 11,
        ("btp_01", "tumor"): 8,
        ("btp_05", "no_tumor"): 13,
        ("btp_05", "tumor"): 6,
        ("example4d", "unlabelled"): 24,
    }
    brats = next(record for record in images.records if record.group == "brats_pat0001")
    assert brats.columns[1] == ("sequences", "Flair+T1c")
    prepared = prepare_folder(real / "btp_01", Preprocessing(size=32), tmp_path)  # a patient's folder is data as well
    assert prepared.images.shape == (19, 1, 32, 32)
    assert {record.group for record in prepared.source.records} == {"Pre_Scan_T1"}
    assert (prepared.images.float().std(dim=(1, 2, 3)) > 20).all()


def test_the_tumour_of_the_real_patient_is_bright_on_flair_and_at_the_left_of_the_picture(real: Path) -> None:
    images = read(real)
    record = at(images, "Flair_subtrMeanDivStd.nii.gz#axial071")
    flair, mask = pixels_of(record, 2)[:, :, 0], mask_of(record)
    assert mask is not None
    head_there = flair > flair.min()
    assert flair[mask].mean() > flair[head_there & ~mask].mean() + 1
    assert mask[:, :120].sum() > 20 * mask[:, 120:].sum()
    eyes = pixels_of(at(images, "btp_01/Pre_Scan_T1.nii.gz#axial002"), 1)[:, :, 0]
    assert eyes[:128].std() > eyes[128:].std() * 0.5
