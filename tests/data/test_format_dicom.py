"""DICOM files written by pydicom, and real ones where they lie beside the project."""

from __future__ import annotations

import io
import logging
import os
import pickle
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braingan.data.findings import Findings
from braingan.data.formats.dicom import NEEDED, Dicom, DicomImage, _decode_once, _quiet
from braingan.data.preparation import content_hashes, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import read_images, recognise
from braingan.data.records import ImageSet, mask_of, pixels_of
from braingan.data.volumes import stamp
from braingan.errors import DataError, SettingsError

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian  # noqa: E402

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "volumes" / "dicom"
STORAGE = "1.2.840.10008.5.1.4.1.1.4"
NAME, ID = "Mustermann^Erika", "MRN-77-4711"
Head = Callable[..., np.ndarray]
Pixels = np.ndarray[Any, Any]


def header_of(pixels: Pixels, *, colour: bool = False, frames: int | None = None) -> Dataset:
    """An MR slice of a patient, without what a test may want to set itself."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = STORAGE, "1.2.3.4", "MR"
    header.PatientName, header.PatientID = NAME, ID
    header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3.10", "1.2.3.20"
    header.Rows, header.Columns = pixels.shape[1 if frames else 0 :][:2]
    header.SamplesPerPixel = 3 if colour else 1
    header.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = pixels.dtype.itemsize * 8
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    if colour:
        header.PlanarConfiguration = 0
    if frames:
        header.NumberOfFrames = frames
    return header


def write(
    path: Path,
    pixels: Pixels,
    *,
    syntax: str = ExplicitVRLittleEndian,
    colour: bool = False,
    frames: int | None = None,
    without: Sequence[str] = (),
    **elements: Any,
) -> Path:
    """Write a file; `elements` are set as they are, those `without` left out."""
    header = header_of(pixels, colour=colour, frames=frames)
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    little = syntax != ExplicitVRBigEndian
    header.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if little else ">")).tobytes()
    header["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword in without:
        delattr(header, keyword)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = UID(syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def items(**elements: Any) -> Any:
    """A sequence of one item."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return pydicom.Sequence([item])


def read(data: Path, **options: Any) -> ImageSet:
    return Dicom(**options).read(data, Findings(skip_bad=False))


def only(data: Path, **options: Any) -> Pixels:
    """The pixels of a folder's only image."""
    (record,) = read(data, **options).records
    return pixels_of(record, 1)[:, :, 0]


def reason(data: Path) -> str:
    """Why the only file of a folder cannot be used."""
    findings = Findings(skip_bad=True)
    with pytest.raises(DataError, match="holds no images that can be used"):
        Dicom().read(data, findings)
    (bad,) = findings.bad
    assert len(bad.reason.splitlines()) == 1
    return bad.reason


def columns_of(images: ImageSet) -> dict[str, dict[str, str]]:
    return {record.file: dict(record.columns) for record in images.records}


@pytest.fixture
def values() -> Pixels:
    """Sixteen rows with the values 0 to 191."""
    return np.arange(16 * 12, dtype=np.uint16).reshape(16, 12)


@pytest.fixture
def heads(tmp_path: Path, head: Head) -> Path:
    """Four patients with a slice of each class."""
    for patient in range(4):
        for number, label in enumerate(("no_tumor", "tumor")):
            pixels = head(brightness=100 + 20 * patient + 15 * number).astype(np.uint16)
            write(
                tmp_path / "heads" / label / f"IM{patient}.dcm",
                pixels,
                PatientID=f"{ID}-{patient}",
                SeriesInstanceUID=f"1.2.3.{patient}",
                InstanceNumber=number,
            )
    return tmp_path / "heads"


# What is recognised


@pytest.mark.parametrize(
    ("files", "claimed"),
    [
        (["a/1.dcm"], True),
        (["a/1.DCM", "b/2.Dicom"], True),
        (["a/MR.1.2.3.IMA", "a/preview.jpg"], True),
        (["DICOMDIR", "a/IM0001"], True),
        (["disc/dicomdir"], True),
        ([], False),
        (["a/1.png", "b/2.png"], False),
        (["a/1.png", "b/2.png", "b/3.dcm"], False),
        (["a/IM0001", "a/IM0002"], False),
        (["a/dcm"], False),
    ],
)
def test_files_named_as_dicom_are_recognised_unless_pictures_outnumber_them(files: list[str], claimed: bool) -> None:
    assert Dicom().recognises(files) is claimed


def test_a_folder_of_dicom_is_read_and_prepared_like_any_other(heads: Path, tmp_path: Path) -> None:
    assert recognise(heads) == "dicom"
    images = read_images(heads)
    assert images.classes == ["no_tumor", "tumor"]
    assert images.has_patients
    assert images[0][0].size == (40, 40)
    prepared = prepare_folder(heads, Preprocessing(size=32), tmp_path / "cache")
    assert prepared.images.shape == (8, 1, 32, 32)
    assert (prepared.images.float().std(dim=(1, 2, 3)) > 10).all()
    assert len(set(prepared.hashes)) == 8


def test_what_lies_beside_an_export_is_ignored(heads: Path) -> None:
    for name in ("DICOMDIR", "LICENSE", "tumor/preview.jpg", "tumor/notes.txt", "list.csv", ".DS_Store"):
        (heads / name).write_bytes(b"beside")
    assert len(read(heads)) == 8


def test_files_without_suffix_are_tried(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "data" / "yes" / "IM0001", values)
    write(tmp_path / "data" / "yes" / "1.2.840.113619.77", values)
    (tmp_path / "data" / "no").mkdir()
    (tmp_path / "data" / "no" / "viewer.exe").write_bytes(b"MZ" + bytes(500))
    findings = Findings(skip_bad=True)
    images = Dicom().read(tmp_path / "data", findings)
    assert [record.file for record in images.records] == ["yes/1.2.840.113619.77", "yes/IM0001"]
    assert [(bad.file, bad.reason) for bad in findings.bad] == [("no/viewer.exe", "is no DICOM file")]


def test_a_missing_pydicom_is_named_with_what_installs_it(heads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"needs pydicom; pip install 'braingan\[dicom\]' installs it"):
        read(heads)


# Grey values


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.uint32])
def test_stored_values_come_back(tmp_path: Path, values: Pixels, syntax: str, kind: type) -> None:
    stored = (values.astype(np.int64) - (50 if kind is np.int16 else 0)).astype(kind)
    write(tmp_path / "1.dcm", stored, syntax=syntax)
    found = only(tmp_path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stored)


def test_slope_and_intercept_are_applied(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "1.dcm", values, RescaleSlope="2.5", RescaleIntercept="-1000")
    np.testing.assert_allclose(only(tmp_path), values * 2.5 - 1000)


def test_bits_that_are_not_stored_count_for_nothing(tmp_path: Path, values: Pixels) -> None:
    stored = (values.astype(np.int32) - 100) & 0x0FFF | 0x3000  # 12 bits with sign, and an overlay above them
    write(tmp_path / "1.dcm", stored.astype(np.uint16), BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(only(tmp_path), values.astype(int) - 100)


@pytest.mark.parametrize(("signed", "low", "high"), [(False, 0, 4095), (True, -2048, 2047)])
def test_inverted_grey_is_turned_within_the_range_that_can_be_stored(
    tmp_path: Path, values: Pixels, signed: bool, low: int, high: int
) -> None:
    pixels = values.astype(np.int16 if signed else np.uint16)
    scale = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": 2, "RescaleIntercept": 10}
    write(tmp_path / "1.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **scale)
    np.testing.assert_array_equal(only(tmp_path), 2 * (low + high - values.astype(int)) + 10)


@pytest.mark.parametrize("inverted", [False, True])
def test_padding_becomes_the_darkest_value_of_the_image(tmp_path: Path, values: Pixels, inverted: bool) -> None:
    pixels = values.astype(np.int16) + 100
    pixels[0] = -2000
    meaning = "MONOCHROME1" if inverted else "MONOCHROME2"
    write(tmp_path / "1.dcm", pixels, PixelPaddingValue=-2000, PhotometricInterpretation=meaning)
    found = only(tmp_path)
    assert (found[0] == found[1:].min()).all()
    assert found.max() - found.min() == 191 - 12


def test_a_range_of_padding_and_a_sign_that_got_lost_are_understood(tmp_path: Path, values: Pixels) -> None:
    pixels = values.astype(np.int16)
    pixels[0], pixels[1] = -2000, -1990
    path = write(tmp_path / "1.dcm", pixels, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    path.write_bytes(path.read_bytes().replace(b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01US"))
    assert only(tmp_path).min() == 24


def test_an_image_of_padding_alone_is_black(tmp_path: Path) -> None:
    write(tmp_path / "1.dcm", np.full((9, 9), 7, np.uint16), PixelPaddingValue=7)
    assert (only(tmp_path) == 0).all()


def test_colour_becomes_luma(tmp_path: Path) -> None:
    colours = np.zeros((10, 3, 3), np.uint8)
    colours[:, 0, 0] = colours[:, 1, 1] = colours[:, 2, 2] = 200
    write(tmp_path / "1.dcm", colours, colour=True)
    np.testing.assert_allclose(only(tmp_path)[0], [59.8, 117.4, 22.8], rtol=1e-4)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    ramp = np.arange(0, 65536, 256, dtype=np.uint16)
    palette: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = ramp[::-1].tobytes()
    values = np.arange(144, dtype=np.uint8).reshape(12, 12)
    write(tmp_path / "1.dcm", values, PhotometricInterpretation="PALETTE COLOR", **palette)
    np.testing.assert_allclose(only(tmp_path), 256.0 * (255 - values), rtol=1e-5)


# Windows


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_window_is_what_pydicom_makes_of_it(tmp_path: Path, function: str) -> None:
    from pydicom.pixels import apply_windowing

    pixels = np.arange(0, 4096, 7, dtype=np.uint16)[:580].reshape(20, 29)
    scale = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": 1, "RescaleIntercept": -1024}
    path = write(
        tmp_path / "1.dcm", pixels, WindowCenter=[40, 300], WindowWidth=[400, 1500], VOILUTFunction=function, **scale
    )
    theirs = apply_windowing(pixels - 1024.0, pydicom.dcmread(path))
    expected = (theirs + 1024) / 4095 * 255
    np.testing.assert_allclose(only(tmp_path, window="file"), expected, atol=0.01)


def test_ct_is_seen_through_its_window_and_mr_is_not(tmp_path: Path, values: Pixels) -> None:
    seen = {"WindowCenter": 100, "WindowWidth": 50}
    write(tmp_path / "ct" / "1.dcm", values, Modality="CT", **seen)
    write(tmp_path / "mr" / "1.dcm", values, Modality="MR", **seen)
    assert {record.file: float(pixels_of(record, 1).max()) for record in read(tmp_path).records} == {
        "ct/1.dcm": 255,
        "mr/1.dcm": 191,
    }
    assert {float(pixels_of(record, 1).max()) for record in read(tmp_path, window="none").records} == {191}
    assert {float(pixels_of(record, 1).max()) for record in read(tmp_path, window="file").records} == {255}


def test_a_window_of_inverted_grey_is_turned(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "1.dcm", values, PhotometricInterpretation="MONOCHROME1", WindowCenter=100, WindowWidth=50)
    found = only(tmp_path, window="file")
    assert (found[0, 0], found[-1, -1]) == (255, 0)


def test_a_file_without_window_is_refused_where_its_window_is_asked(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "1.dcm", values, Modality="CT")
    assert only(tmp_path).max() == 191
    with pytest.raises(DataError, match=r"1\.dcm: has no WindowCenter and WindowWidth; window=auto goes without"):
        only(tmp_path, window="file")


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_a_window_without_width_is_refused(tmp_path: Path, values: Pixels, width: float) -> None:
    write(tmp_path / "1.dcm", values, WindowCenter=10, WindowWidth=width)
    with pytest.raises(DataError, match="has a WindowWidth that is too small"):
        only(tmp_path, window="file")


def test_an_unknown_window_is_refused_before_anything_is_read() -> None:
    with pytest.raises(SettingsError, match="window 'brain' was asked; auto, file, none work"):
        Dicom(window="brain")


def test_the_window_is_part_of_what_an_image_is(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "1.dcm", values)
    assert content_hashes(read(tmp_path)) != content_hashes(read(tmp_path, window="none"))


# Series


def test_slices_are_numbered_by_position_along_their_normal(tmp_path: Path, values: Pixels) -> None:
    oblique = [0, 0.8, 0.6, 0, -0.6, 0.8]  # its normal is the patient's left
    for name, left, instance in (("c", -30.0, 1), ("a", 10.0, 2), ("b", -10.0, 3)):
        place = {"ImagePositionPatient": [left, 100 - left, 7], "ImageOrientationPatient": oblique}
        write(tmp_path / "x" / f"{name}.dcm", values, InstanceNumber=instance, **place)
    images = read(tmp_path)
    assert {file: columns["slice"] for file, columns in columns_of(images).items()} == {
        "x/c.dcm": "1",
        "x/b.dcm": "2",
        "x/a.dcm": "3",
    }


def test_slices_without_position_are_numbered_by_their_number(tmp_path: Path, values: Pixels) -> None:
    place = {"ImagePositionPatient": [0, 0, 5], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    write(tmp_path / "a.dcm", values, InstanceNumber=10)
    write(tmp_path / "b.dcm", values, InstanceNumber=9, **place)
    write(tmp_path / "c.dcm", values)
    assert {file: columns["slice"] for file, columns in columns_of(read(tmp_path)).items()} == {
        "c.dcm": "1",
        "b.dcm": "2",
        "a.dcm": "3",
    }


def test_each_series_is_numbered_on_its_own_and_named_by_a_hash(tmp_path: Path, values: Pixels) -> None:
    for name, uid in (("a", "1.2.3.4.1"), ("b", "1.2.3.4.2"), ("c", "1.2.3.4.1")):
        write(tmp_path / f"{name}.dcm", values, SeriesInstanceUID=uid)
    found = columns_of(read(tmp_path))
    assert [found[f"{name}.dcm"]["slice"] for name in "abc"] == ["1", "1", "2"]
    assert found["a.dcm"]["series"] == found["c.dcm"]["series"] != found["b.dcm"]["series"]
    assert all(len(columns["series"]) == 8 and "1.2.3" not in columns["series"] for columns in found.values())


def test_each_frame_is_an_image_with_the_rescale_that_is_its_own(tmp_path: Path, values: Pixels) -> None:
    frames = np.stack([values, values + 1, values + 2])
    per_frame = pydicom.Sequence()
    for number, height in enumerate((30.0, 10.0, 20.0)):
        group = Dataset()
        group.PlanePositionSequence = items(ImagePositionPatient=[0, 0, height])
        if number:
            group.PixelValueTransformationSequence = items(RescaleSlope=number, RescaleIntercept=100)
        per_frame.append(group)
    shared = items(
        PlaneOrientationSequence=items(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=items(RescaleSlope=5, RescaleIntercept=-1),
    )
    groups = {"PerFrameFunctionalGroupsSequence": per_frame, "SharedFunctionalGroupsSequence": shared}
    path = write(tmp_path / "yes" / "e.dcm", frames, frames=3, RescaleSlope=9, **groups)
    images = read(tmp_path)
    assert {file: columns["slice"] for file, columns in columns_of(images).items()} == {
        "yes/e.dcm#frame001": "3",
        "yes/e.dcm#frame002": "1",
        "yes/e.dcm#frame003": "2",
    }
    assert {record.path for record in images.records} == {path}
    assert images.classes == ["yes"]
    for record, expected in zip(
        images.records, (values * 5.0 - 1, values + 101.0, (values + 2) * 2.0 + 100), strict=True
    ):
        np.testing.assert_array_equal(pixels_of(record, 1)[:, :, 0], expected)
        assert mask_of(record) is None
    assert len(set(content_hashes(images))) == 3


def test_frames_sort_as_they_are_numbered_however_many_there_are(tmp_path: Path) -> None:
    frames = np.zeros((1001, 8, 8), np.uint8)
    frames[:, 0, 0] = np.arange(1001) % 251
    write(tmp_path / "e.dcm", frames, frames=1001)
    images = read(tmp_path)
    assert [images.records[index].file for index in (0, 1000)] == ["e.dcm#frame0001", "e.dcm#frame1001"]
    assert [float(pixels_of(images.records[index], 1).max()) for index in (9, 1000)] == [9, 1000 % 251]


def test_a_file_of_many_frames_is_decoded_once_and_again_when_it_is_written_anew(
    tmp_path: Path, values: Pixels
) -> None:
    path = write(tmp_path / "e.dcm", np.stack([values, values]), frames=2)
    assert _decode_once(path, stamp(path))[1] is _decode_once(path, stamp(path))[1]
    assert DicomImage(path, 1, "auto").pixels().max() == 191
    write(path, np.stack([values, values + 5, values]), frames=3)
    os.utime(path, ns=(1, 1))
    assert DicomImage(path, 1, "auto").pixels().max() == 196


def test_a_record_can_be_compared_and_sent_to_another_process(tmp_path: Path, values: Pixels) -> None:
    write(tmp_path / "e.dcm", np.stack([values, values]), frames=2)
    records = read(tmp_path).records
    assert records == read(tmp_path).records
    assert pickle.loads(pickle.dumps(records)) == records


# Patients


def test_files_of_a_patient_are_one_group_with_a_name_that_tells_nothing(heads: Path) -> None:
    images = read(heads)
    groups = [record.group for record in images.records]
    assert images.has_patients
    assert groups[:4] == groups[4:]
    assert len(set(groups)) == 4
    assert all(len(group) == 13 and group[0] == "p" and int(group[1:], 16) >= 0 for group in groups)
    assert groups == [record.group for record in read(heads).records]


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_without_an_id_the_study_counts_as_the_patient(
    tmp_path: Path, values: Pixels, empty: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    for number, study in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        write(tmp_path / f"{number}.dcm", values, PatientID=empty, StudyInstanceUID=study)
    images = read(tmp_path)
    groups = [record.group for record in images.records]
    assert images.has_patients
    assert groups[0] == groups[1] != groups[2]
    assert caplog.messages == [
        "3 of 3 files have no PatientID: each study counts as a patient, and whoever has several may stand on both "
        "sides of a split"
    ]


def test_without_id_and_study_no_patient_is_known(
    tmp_path: Path, values: Pixels, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "1.dcm", values)
    write(tmp_path / "2.dcm", values, without=("PatientID", "StudyInstanceUID"))
    images = read(tmp_path)
    assert not images.has_patients
    assert [record.group for record in images.records] == ["1.dcm", "2.dcm"]
    assert caplog.messages[0].startswith("1 of 2 files name neither patient nor study")


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "is a localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "has text burned into its pixels"),
        ({"BurnedInAnnotation": "YES"}, "has text burned into its pixels"),
    ],
)
def test_scouts_and_screenshots_are_no_slices(
    tmp_path: Path, values: Pixels, elements: dict[str, Any], words: str
) -> None:
    write(tmp_path / "1.dcm", values, **elements)
    assert words in reason(tmp_path)


def test_nothing_that_is_said_or_written_tells_who_the_patient_is(
    heads: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], head: Head
) -> None:
    """Elements that pydicom quotes when it cannot read them hold the name here."""
    caplog.set_level(logging.DEBUG)
    mark, told = "1111111111", []
    swapped = {"InstanceNumber": mark, "NumberOfFrames": mark, "PixelSpacing": [mark, "1"], "StudyDescription": mark}
    swapped |= {"RescaleSlope": mark, "WindowCenter": mark, "ImagePositionPatient": [mark, "1", "1"]}
    for keyword, value in swapped.items():
        elements = {"WindowWidth": 5, "Modality": "CT", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], keyword: value}
        path = write(heads / "tumor" / f"{keyword}.dcm", head().astype(np.uint16), **elements)
        path.write_bytes(path.read_bytes().replace(mark.encode(), b"Mustermann"))
    path = write(heads / "no_tumor" / "bytes.dcm", head().astype(np.uint16))
    path.write_bytes(path.read_bytes().replace(NAME.encode(), NAME.encode()[:-1] + b"\xff"))
    caplog.clear()
    findings = Findings(skip_bad=True)
    images = Dicom().read(heads, findings)
    told += [repr(images.records), repr(findings)]
    for record in images.records:
        try:
            told.append(repr(pixels_of(record, 1)))
        except DataError as error:
            told += traceback.format_exception(error)
    with pytest.raises(DataError) as caught:
        read(heads)
    told += traceback.format_exception(caught.value)
    prepared = prepare_folder(heads, Preprocessing(size=16), tmp_path / "out", skip_bad=True)
    told.append(repr(prepared.bad_files))
    captured = capfd.readouterr()
    told += [caplog.text, captured.out, captured.err]
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    told += [*map(str, written), *(path.read_bytes().decode("latin-1") for path in written)]
    assert len(prepared) >= 8
    assert {bad.file for bad in prepared.bad_files} >= {
        f"tumor/{name}.dcm" for name in ("InstanceNumber", "NumberOfFrames", "RescaleSlope", "WindowCenter")
    }
    text = "\n".join(told).lower()
    for secret in ("mustermann", "erika", ID.lower(), "4711", "1.2.3.10"):
        assert secret not in text


# Files that cannot be used


def test_a_file_of_zero_bytes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").touch()
    assert reason(tmp_path) == "is empty"


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n" + bytes(300), bytes(3000), b"<html>" * 100])
def test_what_is_no_dicom_is_named_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.dcm").write_bytes(content)
    assert reason(tmp_path) == "is no DICOM file"


def test_a_preamble_is_not_needed_where_the_name_says_dicom(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values)
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(only(tmp_path), values)


def test_a_syntax_that_is_not_given_is_seen(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values, syntax=ImplicitVRLittleEndian)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\x00\x16\x00") :])
    np.testing.assert_array_equal(only(tmp_path), values)


def test_a_report_holds_no_image(tmp_path: Path, values: Pixels) -> None:
    nothing = ("Rows", "Columns", "PixelData")
    write(tmp_path / "1.dcm", values, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", without=nothing)
    assert reason(tmp_path) == "holds no image"


@pytest.mark.parametrize("keyword", NEEDED)
def test_what_is_missing_is_named(tmp_path: Path, values: Pixels, keyword: str) -> None:
    write(tmp_path / "1.dcm", values, without=[keyword])
    assert reason(tmp_path) == f"has no {keyword}"


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"Rows": 0}, "has 12x0 pixels with 1 samples of 16 bits each; 1 and 3 samples are read"),
        ({"Rows": 17}, "ends before its pixels do: 12x17 pixels need 408 bytes"),
        ({"Rows": 14}, "has 384 bytes of pixels but 12x14 pixels need 336"),
        ({"Columns": 65535}, "is too large: 65535x16 pixels, at most 8,192 a side are read"),
        ({"Rows": 60000, "Columns": 60000}, "is too large: 60000x60000 pixels, at most 67,108,864 are read"),
        ({"NumberOfFrames": 2}, "ends before its pixels do: 2 frames of 12x16 pixels need 768 bytes"),
        ({"NumberOfFrames": -1}, "has -1 frames of 12x16 pixels with 1 samples of 16 bits each"),
        ({"NumberOfFrames": 2000000000}, "is too large: 2000000000 frames of 12x16 pixels"),
        ({"SamplesPerPixel": 4}, "has 12x16 pixels with 4 samples of 16 bits each; 1 and 3 samples are read"),
        ({"BitsAllocated": 64}, "ends before its pixels do: 12x16 pixels need 1,536 bytes"),
        ({"Modality": "SEG"}, "is a segmentation, no image of a scanner"),
        ({"Modality": "RTDOSE"}, "is a dose map, no image of a scanner"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "is a mosaic of slices; convert the series to NIfTI"),
        ({"Rows": [16, 12]}, "has a Rows that cannot be read"),
    ],
)
def test_pixels_that_do_not_fit_their_header_are_refused(
    tmp_path: Path, values: Pixels, elements: dict[str, Any], told: str
) -> None:
    write(tmp_path / "1.dcm", values, **elements)
    assert reason(tmp_path).startswith(told)


def test_a_mosaic_whose_tiles_do_not_fit_is_none(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values, ImageType=["ORIGINAL", "MOSAIC"])
    header = pydicom.dcmread(path)
    header.private_block(0x19, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 48)
    header.save_as(path)
    np.testing.assert_array_equal(only(tmp_path), values)


def test_padding_after_the_pixels_is_allowed(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values)
    header = pydicom.dcmread(path)
    header.PixelData += bytes(20)
    header.save_as(path)
    np.testing.assert_array_equal(only(tmp_path), values)


@pytest.mark.parametrize("kept", [0.999, 0.6, 0.5])
def test_a_file_that_ends_early_says_where(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "1.dcm", np.zeros((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert reason(tmp_path).startswith("ends before its pixels do: 64x64 pixels need 8,192 bytes")


def test_a_file_that_ends_at_its_pixels_says_so(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values)
    path.write_bytes(path.read_bytes()[: -values.nbytes - 12])
    assert reason(tmp_path) == "ends before its pixels"


@pytest.mark.parametrize("kept", [133, 140, 200, 300, 350, 400])
def test_a_header_that_ends_early_is_told_in_a_line(tmp_path: Path, values: Pixels, kept: int) -> None:
    path = write(tmp_path / "1.dcm", values)
    path.write_bytes(path.read_bytes()[:kept])
    assert reason(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "told"),
    [
        ("1.2.840.10008.1.2.4.80", "is compressed as JPEG-LS Lossless Image Compression; "),
        ("1.2.840.10008.1.2.4.100", "is compressed as MPEG2 Main Profile / Main Level, which is not read; "),
        ("1.2.840.10008.1.2.1.99", "is in Deflated Explicit VR Little Endian, which is not read; "),
    ],
)
def test_a_compression_that_cannot_be_undone_is_named(tmp_path: Path, values: Pixels, syntax: str, told: str) -> None:
    from pydicom.pixels import get_decoder

    if syntax.endswith(".80") and get_decoder(UID(syntax)).is_available:
        pytest.skip("a decoder of JPEG-LS is installed")
    compressed(write(tmp_path / "1.dcm", values), syntax, b"\xff\xd8" + bytes(100))
    assert reason(tmp_path).startswith(told)


def compressed(path: Path, syntax: str, frame: bytes) -> Path:
    """Put an encoded frame in the place of a file's pixels."""
    from pydicom.encaps import encapsulate

    header = pydicom.dcmread(path)
    header.PixelData = encapsulate([frame])
    header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
    header.file_meta.TransferSyntaxUID = UID(syntax)
    header.save_as(path)
    return path


def test_run_length_encoding_is_read(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values)
    header = pydicom.dcmread(path)
    header.compress("1.2.840.10008.1.2.5")
    header.save_as(path)
    np.testing.assert_array_equal(only(tmp_path), values)


def test_jpeg_2000_is_read_but_not_in_the_boxes_of_a_jp2(tmp_path: Path, values: Pixels) -> None:
    picture = Image.fromarray(values.astype(np.uint8))
    path = write(tmp_path / "1.dcm", values.astype(np.uint8))
    for boxes in (False, True):
        stream = io.BytesIO()
        picture.save(stream, "JPEG2000", no_jp2=not boxes, irreversible=False)
        compressed(path, "1.2.840.10008.1.2.4.90", stream.getvalue())
        if not boxes:
            np.testing.assert_array_equal(only(tmp_path), values)
    with pytest.raises(DataError, match=r"1\.dcm: has JPEG 2000 pixels in a JP2 file, which is no DICOM"):
        only(tmp_path)


def test_damaged_compressed_pixels_are_found_when_they_are_decoded(tmp_path: Path, values: Pixels) -> None:
    path = write(tmp_path / "1.dcm", values)
    header = pydicom.dcmread(path)
    header.compress("1.2.840.10008.1.2.5")
    header.save_as(path)
    content = path.read_bytes()
    start = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xfe\xff\x00\xe0") + 4)
    path.write_bytes(content[: start + 8] + b"\xff" * (len(content) - start - 16) + content[-8:])
    with pytest.raises(DataError, match=r"1\.dcm: has pixels that cannot be decoded as RLE Lossless$"):
        only(tmp_path)


@pytest.mark.parametrize("slope", ["1e300", "NaN", "inf"])
def test_a_scale_that_leaves_no_finite_numbers_is_refused(tmp_path: Path, values: Pixels, slope: str) -> None:
    path = write(tmp_path / "1.dcm", values, RescaleSlope="9" * len(slope))
    path.write_bytes(path.read_bytes().replace(b"9" * len(slope), slope.encode()))
    with pytest.raises(DataError, match=r"1\.dcm: holds pixels that are not finite numbers"):
        only(tmp_path)


def test_a_link_that_leads_nowhere_and_a_pipe_are_named(tmp_path: Path) -> None:
    (tmp_path / "link.dcm").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.dcm")
    findings = Findings(skip_bad=True)
    with pytest.raises(DataError, match="holds no images that can be used"):
        Dicom().read(tmp_path, findings)
    assert [bad.file for bad in findings.bad] == ["link.dcm", "pipe.dcm"]
    assert findings.bad[1].reason == "is no file"


def test_bad_files_are_skipped_where_the_user_asks_for_it(heads: Path, tmp_path: Path) -> None:
    (heads / "tumor" / "bad.dcm").write_bytes(b"no")
    with pytest.raises(DataError, match=r"tumor/bad\.dcm: is no DICOM file; --skip-bad goes on"):
        read_images(heads)
    prepared = prepare_folder(heads, Preprocessing(size=16), tmp_path / "cache", skip_bad=True)
    assert len(prepared) == 8
    assert [bad.file for bad in prepared.bad_files] == ["tumor/bad.dcm"]


def test_warnings_of_pydicom_are_kept_back_and_those_of_others_are_not(
    tmp_path: Path, values: Pixels, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "1.dcm", values, PatientAge="042Y")
    path.write_bytes(path.read_bytes().replace(b"042Y", b"XXXX"))
    before = list(warnings.filters)
    threads = [threading.Thread(target=only, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    assert logging.getLogger("pydicom").level < logging.CRITICAL
    assert (caplog.text, capfd.readouterr().err) == ("", "")
    with _quiet, _quiet:
        warnings.warn("quoted", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


# Real files


@pytest.fixture
def real() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the real images are not here: {REAL}")
    return REAL


def test_real_files_are_read_and_prepared(real: Path, tmp_path: Path) -> None:
    images = read_images(real)
    assert len(images) == 13
    assert images.classes == ["unlabelled"]
    assert images.has_patients
    assert len({record.group for record in images.records}) == 4
    assert [record.columns[0][1] for record in images.records if "#" in record.file] == [str(n) for n in range(1, 11)]
    pixels = {record.file: pixels_of(record, 1) for record in images.records}
    assert pixels["MR2_UNCI.dcm"].shape == (1024, 1024, 1)
    assert pixels["MR2_UNCI.dcm"].max() == pytest.approx(600 * 3.774114 + 0.000061)
    assert (pixels["decimal_rescale.dcm"] == -4096).all()  # its pixels were wiped to 0
    assert pixels["multiframe_emri_small.dcm#frame001"].shape == (64, 64, 1)
    assert len({pixel.tobytes() for file, pixel in pixels.items() if "#" in file}) == 10
    assert pixels["siemens_dti_slice.dcm"].max() == 4095
    prepared = prepare_folder(real, Preprocessing(size=64), tmp_path / "cache")
    assert prepared.images.shape == (13, 1, 64, 64)
    assert prepared.bad_files == ()
