"""The table of public data sets is whole, and a folder is compared with it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from braingan.data import known
from braingan.data.known import PATIENTS, KnownSet, check_folder, known_sets
from braingan.data.reading import READERS
from braingan.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = {entry.name: entry for entry in known_sets()}
SMALL = KnownSet(
    name="small",
    title="Small",
    citation="nobody",
    licence="none",
    where="nowhere",
    contents="three pictures of two patients",
    expected={"*.tif": 3, "yes/*": 2, "no/*": 1, PATIENTS: 2},
    checksums={"P1_1.tif": hashlib.sha256(b"yes/P1_1.tif").hexdigest()},
    notes=(),
    reader="folders",
    patient=r"P\d",
    copies=("again",),
    beside=("folds.tif",),
)
FILES = ("yes/P1_1.tif", "yes/P2_1.TIF", "no/P1_2.tif")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a set as it was published."""
    monkeypatch.setattr(known, "_SETS", (SMALL,))
    return write(tmp_path / "data", *FILES)


def write(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(file.encode())
    return folder


# The table


def test_the_sets_are_listed_by_name_once() -> None:
    names = [entry.name for entry in known_sets()]
    assert names == sorted(set(names))
    assert {"kaggle-yesno", "kaggle-4class", "lgg", "cheng", "btp", "brisc-2025", "ixi"} < set(names)


@pytest.mark.parametrize("entry", known_sets(), ids=lambda entry: entry.name)
def test_every_entry_says_all_there_is_to_say_and_fetches_nothing(entry: KnownSet) -> None:
    texts = [entry.title, entry.citation, entry.licence, entry.where, entry.contents, entry.reader, *entry.notes]
    assert all(text == text.strip() and len(text.splitlines()) == 1 for text in texts)
    assert entry.notes
    assert not re.search(r"https?://|www\.", " ".join(texts))
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in entry.checksums.values())
    assert all(count > 0 for count in entry.expected.values())
    assert bool(entry.patient) == (PATIENTS in entry.expected)


@pytest.mark.parametrize("entry", known_sets(), ids=lambda entry: entry.name)
def test_every_set_is_read_by_a_format_that_there_is(entry: KnownSet) -> None:
    assert entry.reader.partition(":")[0] in READERS.names()


@pytest.mark.parametrize(
    ("name", "part", "count"),
    [
        ("kaggle-yesno", "*.", 253),
        ("kaggle-4class", "Training/", 5712),
        ("kaggle-4class", "Testing/", 1311),
        ("brisc-2025", "classification_task/train/", 5000),
        ("brisc-2025", "classification_task/test/", 1000),
    ],
)
def test_the_parts_make_up_the_published_whole(name: str, part: str, count: int) -> None:
    assert sum(number for fact, number in SETS[name].expected.items() if fact.startswith(part)) == count


def test_each_slice_of_lgg_has_a_mask() -> None:
    assert SETS["lgg"].expected["*.tif"] == 2 * SETS["lgg"].expected["*_mask.tif"]


# A folder


def test_a_folder_as_published_shows_no_difference(small: Path, tmp_path: Path) -> None:
    assert check_folder("small", small) == []
    assert check_folder("small", tmp_path) == []  # it may lie deeper


def test_hidden_files_clutter_and_what_lies_beside_do_not_count(small: Path) -> None:
    write(small, ".DS_Store", "yes/._P1_1.tif", "yes/Thumbs.db", ".cache/yes/P9_1.tif", "Folds.tif")
    assert check_folder("small", small) == []


def test_a_copy_inside_the_archive_counts_only_where_nothing_else_is_there(small: Path, tmp_path: Path) -> None:
    write(small, *(f"again/{file}" for file in FILES if file != "yes/P1_1.tif"))
    assert check_folder("small", small) == []
    write(tmp_path / "only" / "again", *FILES)
    assert check_folder("small", tmp_path / "only") == []


def test_each_difference_is_a_line(small: Path) -> None:
    (small / "no" / "P1_2.tif").rename(small / "no" / "P3_2.tif")
    (small / "yes" / "P2_1.TIF").unlink()
    (small / "yes" / "P1_1.tif").write_bytes(b"another")
    write(small, "yes/P4_1.tif", "yes/P5_1.tif")
    assert check_folder("small", small) == [
        "files *.tif: 4 found, 3 published",
        "files yes/*: 3 found, 2 published",
        "patients: 4 found, 2 published",
        f"yes/P1_1.tif: has SHA-256 {hashlib.sha256(b'another').hexdigest()[:12]}, "
        f"{SMALL.checksums['P1_1.tif'][:12]} is published",
    ]


def test_an_empty_folder_lacks_everything(small: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert check_folder("small", tmp_path / "empty")[0] == "files *.tif: 0 found, 3 published"


@pytest.mark.parametrize(
    ("name", "words"),
    [("kaggle-yesnow", "unknown; did you mean 'kaggle-yesno'?"), ("zzz", "unknown; there are brats-2020, brats-2021")],
)
def test_an_unknown_set_is_refused_with_a_hint(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        check_folder(name, tmp_path)
    assert words in str(caught.value)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder; give the folder into which lgg was unpacked"):
        check_folder("lgg", tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_one_line(small: Path) -> None:
    (small / "yes" / "P1_1.tif").unlink()
    (small / "yes" / "P1_1.tif").symlink_to(small / "gone")
    with pytest.raises(DataError, match=r"P1_1\.tif: cannot be read: No such file"):
        check_folder("small", small)


# Real images


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the real images are not here: {SHARED / name}")
    return SHARED / name


def test_kaggle_yesno_is_as_published() -> None:
    assert check_folder("kaggle-yesno", real("kaggle-yesno")) == []


def test_three_patients_of_lgg_differ_in_number_only() -> None:
    assert check_folder("lgg", real("lgg-original")) == [
        "files *.tif: 120 found, 7,858 published",
        "files *_mask.tif: 60 found, 3,929 published",
        "patients: 3 found, 110 published",
    ]
