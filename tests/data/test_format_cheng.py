import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braingan.data.findings import BadFile, Findings
from braingan.data.formats.cheng import Cheng, patient_of
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import read_images, recognise
from braingan.data.records import ImageSet, mask_of, pixels_of
from braingan.errors import DataError

h5py = pytest.importorskip("h5py", reason="h5py is not installed; braingan[mat] brings it")

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "cheng"
PARTS = ("brainTumorDataPublic_1-766", "brainTumorDataPublic_767-1532")
FIRST = f"{PARTS[0]}/1.mat"


def text(value: str) -> np.ndarray:
    """As MATLAB stores text: a column of codes."""
    return np.array([[ord(character)] for character in value], np.uint16)


def picture() -> np.ndarray:
    """A head that is higher than wide, with a bright corner at the top left: (rows, columns)."""
    rows, columns = np.mgrid[:40, :32]
    head = np.where(np.hypot((rows - 20) / 1.25, columns - 16) < 12, 800 + 20 * rows, 0)
    head[:4, :6] = 3000
    return head.astype(np.int16)


def tumor() -> np.ndarray:
    mask = np.zeros((40, 32), np.uint8)
    mask[10:14, 20:26] = 1
    return mask


def write_mat(path: Path, *, without: str = "", **fields: Any) -> Path:
    """A file as MATLAB 7.3 writes it: a struct is a group, arrays are transposed, a block of 512 bytes stands first."""
    stored = {
        "label": np.array([[1.0]]),
        "PID": text("100820"),
        "image": picture().T,
        "tumorBorder": np.arange(8.0)[None],
        "tumorMask": tumor().T,
    } | fields
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in stored.items():
            if name != without:
                file.create_dataset(f"cjdata/{name}", data=value)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Four slices of three patients in two subfolders, with what is published beside them."""
    data = tmp_path / "1512427"
    write_mat(data / PARTS[0] / "1.mat")
    write_mat(data / PARTS[0] / "2.mat", label=np.array([[2.0]]), PID=text("MR040224"))
    write_mat(data / PARTS[1] / "767.mat", label=np.array([[2.0]]), PID=text("MR040224B"))
    write_mat(data / PARTS[1] / "768.mat", label=np.array([[3.0]]), PID=text("MR051651C"))
    with h5py.File(data / "cvind.mat", "w") as file:
        file["cvind"] = np.ones((1, 4))
    (data / "README.txt").write_text("This brain tumor dataset contains 3064 slices\n")
    return data


def read(data: Path) -> ImageSet:
    return Cheng().read(data, Findings(skip_bad=False))


def bad_files(data: Path) -> list[BadFile]:
    findings = Findings(skip_bad=True)
    Cheng().read(data, findings)
    return findings.bad


# What is read


def test_classes_and_patients_come_from_the_files(published: Path) -> None:
    images = read(published)
    assert images.classes == ["glioma", "meningioma", "pituitary"]
    assert images.has_patients
    assert [(r.file, images.classes[r.label], r.group, r.columns) for r in images.records] == [
        (f"{PARTS[0]}/1.mat", "meningioma", "100820", (("scan", "100820"),)),
        (f"{PARTS[0]}/2.mat", "glioma", "MR040224", (("scan", "MR040224"),)),
        (f"{PARTS[1]}/767.mat", "glioma", "MR040224", (("scan", "MR040224B"),)),
        (f"{PARTS[1]}/768.mat", "pituitary", "MR051651", (("scan", "MR051651C"),)),
    ]


def test_an_image_stands_as_it_was_before_matlab_wrote_it(published: Path) -> None:
    pixels = pixels_of(read(published).records[0], 1)
    assert (pixels.shape, pixels.dtype) == ((40, 32, 1), np.float32)
    assert (pixels[:, :, 0] == picture()).all()


def test_the_mask_stands_as_its_image(published: Path) -> None:
    mask = mask_of(read(published).records[0])
    assert mask is not None
    assert mask.dtype == np.bool_
    assert (mask == tumor()).all()


@pytest.mark.parametrize(
    ("scan", "patient"),
    [
        ("100820", "100820"),
        ("100820C", "100820"),
        ("MR029209I", "MR029209"),
        ("MR04022BB", "MR04022BB"),
        ("ABC", "ABC"),
        ("MR1b", "MR1b"),
        ("B", "B"),
    ],
)
def test_a_letter_after_a_digit_marks_a_repeat_scan(scan: str, patient: str) -> None:
    assert patient_of(scan) == patient


def test_patients_are_merged_as_in_the_real_metadata() -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real images are not here: {REAL}")
    with (REAL / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [patient_of(row["scan"]) for row in rows] == [row["patient"] for row in rows]
    assert sum(row["scan"] != row["patient"] for row in rows) > 100


# Recognised


def test_the_published_set_is_recognised(published: Path) -> None:
    assert recognise(published) == "cheng"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["1.mat"], True),
        (["1.mat", "2.mat", "a.png"], True),
        (["1.mat", "a.png"], False),
        (["1.mat", "README.txt", "labels.csv", "1.zip", "read.m", "README", "README.md"], True),
        (["cvind.mat"], False),
        (["README.txt"], False),
        ([], False),
    ],
)
def test_mat_files_must_outnumber_all_others(files: list[str], expected: bool) -> None:
    assert Cheng().recognises(files) == expected


def test_the_folds_of_the_authors_are_no_bad_file(published: Path) -> None:
    assert bad_files(published) == []


# Bad files


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"label": np.array([[4.0]])}, "has label 4; 1 (meningioma), 2 (glioma) and 3 (pituitary) are known"),
        ({"label": np.array([[np.nan]])}, "has label nan; 1 (meningioma), 2 (glioma) and 3 (pituitary) are known"),
        ({"label": np.ones((2, 1))}, "its label has 2 values; at most 1 are read"),
        ({"label": np.zeros((0, 0))}, "its label is empty"),
        ({"label": "one"}, "has no cjdata.label of numbers"),
        ({"without": "label"}, "has no cjdata.label of numbers"),
        ({"without": "PID"}, "has no cjdata.PID of numbers"),
        ({"PID": text("  ")}, "has a PID that is no text"),
        ({"PID": text("a\nb")}, "has a PID that is no text"),
        ({"PID": np.zeros((1000, 1), np.uint16)}, "its PID has 1000 values; at most 64 are read"),
        ({"PID": np.array([[-5.0]])}, "has a PID that is no text"),
    ],
)
def test_a_file_whose_class_or_patient_cannot_be_read_is_named(
    published: Path, fields: dict[str, Any], reason: str
) -> None:
    write_mat(published / FIRST, **fields)
    assert bad_files(published) == [BadFile(FIRST, reason)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "is no MATLAB 7.3 file (HDF5)"),
        (
            b"MATLAB 5.0 MAT-file, Platform: PCWIN" + bytes(200),
            "is a MATLAB 5 file and the set's are 7.3; save it in MATLAB with -v7.3",
        ),
    ],
)
def test_a_file_that_is_no_hdf5_is_named(published: Path, content: bytes, reason: str) -> None:
    (published / FIRST).write_bytes(content)
    assert bad_files(published) == [BadFile(FIRST, reason)]


def test_another_mat_file_is_named(published: Path) -> None:
    with h5py.File(published / "other.mat", "w") as file:
        file["cvind"] = np.ones((1, 4))
    assert bad_files(published) == [BadFile("other.mat", "holds no struct cjdata")]
    with pytest.raises(DataError, match=r"other.mat: holds no struct cjdata; --skip-bad goes on without bad files$"):
        read(published)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_one_line(published: Path, share: float) -> None:
    content = (published / FIRST).read_bytes()
    (published / FIRST).write_bytes(content[: int(share * len(content))])
    (bad,) = bad_files(published)
    assert bad.file == FIRST
    assert bad.reason.startswith("cannot be read: ")
    assert len(bad.reason.splitlines()) == 1


def test_a_field_that_points_to_another_file_that_is_not_there_is_named(published: Path) -> None:
    with h5py.File(published / FIRST, "r+") as file:
        del file["cjdata/PID"]
        file["cjdata/PID"] = h5py.ExternalLink("nowhere.mat", "/cjdata/PID")
    (bad,) = bad_files(published)
    assert bad.file == FIRST
    assert len(bad.reason.splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"without": "image"}, "has no cjdata.image of numbers"),
        ({"image": np.zeros((2, 3, 4), np.int16)}, "its image has 3 dimensions; 2 are read"),
        ({"image": np.full((32, 40), np.nan)}, "holds pixels that are not finite numbers"),
        ({"image": np.zeros((1, 9000), np.int16)}, "is too large: 1x9000 pixels, at most 8,192 a side are read"),
    ],
)
def test_pixels_that_cannot_be_read_are_one_line_that_begins_with_the_path(
    published: Path, fields: dict[str, Any], reason: str
) -> None:
    path = write_mat(published / FIRST, **fields)
    with pytest.raises(DataError) as caught:
        pixels_of(read(published).records[0], 1)
    assert str(caught.value) == f"{path}: {reason}"


def test_an_image_that_claims_too_much_is_refused_before_it_is_read(published: Path) -> None:
    with h5py.File(published / FIRST, "r+") as file:
        del file["cjdata/image"]
        file.create_dataset("cjdata/image", shape=(10**6, 10**6), dtype="i2", chunks=(64, 64))
    with pytest.raises(DataError, match=r"1.mat: its image has 1000000000000 values; at most 67,108,864 are read$"):
        pixels_of(read(published).records[0], 1)


def test_a_mask_of_another_size_is_refused(published: Path) -> None:
    path = write_mat(published / FIRST, tumorMask=np.zeros((30, 31), np.uint8))
    with pytest.raises(DataError) as caught:
        mask_of(read(published).records[0])
    assert str(caught.value) == f"{path}: its tumorMask is 30x31 and its image 32x40 pixels"


def test_without_h5py_the_message_says_what_to_install(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"1512427: needs h5py; pip install 'braingan\[mat\]' installs it$"):
        read(published)


def test_the_image_is_not_read_for_its_class(published: Path) -> None:
    write_mat(published / FIRST, without="image")
    assert len(read(published)) == 4


# As a user would


def test_read_images_gives_pictures(published: Path) -> None:
    image, label = read_images(published)[0]
    assert (image.mode, image.size, label) == ("F", (32, 40), 1)


def test_the_set_is_prepared(published: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(published, Preprocessing(size=16), tmp_path / "cache")
    assert prepared.images.shape == (4, 1, 16, 16)
    assert (prepared.images.amax(dim=(1, 2, 3)) > 200).all()


def test_a_file_that_turns_out_bad_is_left_out_of_a_prepared_set(published: Path, tmp_path: Path) -> None:
    write_mat(published / PARTS[0] / "3.mat", image=np.full((32, 40), np.nan))
    prepared = prepare_folder(published, Preprocessing(size=16), tmp_path / "cache", skip_bad=True)
    assert prepared.bad_files == (BadFile(f"{PARTS[0]}/3.mat", "holds pixels that are not finite numbers"),)
    assert len(prepared) == 4
