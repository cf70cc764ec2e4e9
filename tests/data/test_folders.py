import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from braingan.data.findings import BadFile, Findings
from braingan.data.folders import read_folder
from braingan.data.reading import read_images
from braingan.data.records import ImageSet, ImageSpec
from braingan.errors import DataError, SettingsError

Writer = Callable[..., Path]
Head = Callable[..., np.ndarray]
MetadataWriter = Callable[..., None]
TWO = ("no/1.png", "yes/1.png")


def read(data: Path) -> ImageSet:
    return read_folder(data, Findings(skip_bad=False))


def names(images: ImageSet) -> list[str]:
    return [record.file for record in images.records]


def refusal(data: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(data)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def rows_with_files(
    tmp_path: Path, write_image: Writer, head: Head, write_metadata: MetadataWriter
) -> Callable[..., Path]:
    """Metadata from rows, and the files given (by default no/1.png and yes/1.png)."""

    def make(*rows: dict[str, str], files: tuple[str, ...] = TWO, **options: Any) -> Path:
        for file in files:
            write_image(tmp_path / "data" / file, head())
        write_metadata(tmp_path / "data", rows, **options)
        return tmp_path / "data"

    return make


# Class folders


def test_a_subfolder_is_a_class_and_every_file_its_own_group(classes_only: Path) -> None:
    images = read(classes_only)
    assert images.classes == ["no", "yes"]
    assert names(images) == ["no/0.png", "no/1.png", "yes/0.png", "yes/1.png"]
    assert images.targets == [0, 0, 1, 1]
    assert [record.group for record in images.records] == names(images)
    assert [record.mask for record in images.records] == [None] * 4
    assert not images.has_patients


def test_images_may_lie_deeper_inside_a_class(classes_only: Path, write_image: Writer, head: Head) -> None:
    write_image(classes_only / "yes" / "patient 7" / "scan.TIFF", head())
    images = read(classes_only)
    assert images.records[-1].file == "yes/patient 7/scan.TIFF"
    assert images.records[-1].label == 1


def test_what_file_managers_leave_is_ignored(classes_only: Path) -> None:
    for clutter in ("yes/.DS_Store", "yes/._1.png", "no/Thumbs.db", "no/desktop.ini", ".DS_Store", "Thumbs.db"):
        (classes_only / clutter).touch()
    (classes_only / ".cache").mkdir()
    (classes_only / "yes" / ".thumbnails").mkdir()
    (classes_only / "yes" / ".thumbnails" / "1.png").touch()
    assert len(read(classes_only)) == 4


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    assert "nowhere is not a folder; give a folder that holds a subfolder" in refusal(tmp_path / "nowhere")


def test_a_folder_without_class_folders_is_refused(tmp_path: Path, write_image: Writer, head: Head) -> None:
    write_image(tmp_path / "data" / "1.png", head())
    assert "data holds no class folders; it needs a subfolder of images for each class" in refusal(tmp_path / "data")


def test_a_class_folder_without_images_is_named(classes_only: Path) -> None:
    (classes_only / "maybe").mkdir()
    assert "class folder 'maybe' holds no images; remove it or fill it" in refusal(classes_only)


def test_a_file_that_is_no_image_is_named(classes_only: Path) -> None:
    (classes_only / "yes" / "notes.txt").write_text("hello")
    line = refusal(classes_only)
    assert line.startswith(f"{classes_only}: yes/notes.txt: is no image (.png, .jpg, .jpeg, .tif, .tiff, .bmp are read")
    assert line.endswith("); --skip-bad goes on without bad files")


@pytest.mark.parametrize(
    ("count", "more"),
    [
        (1, ""),
        (2, " (and 1 more bad: no/b1.txt)"),
        (4, " (and 3 more bad: no/b1.txt, no/b2.txt, no/b3.txt)"),
        (6, " (and 5 more bad: no/b1.txt, no/b2.txt, no/b3.txt, ...)"),
    ],
)
def test_many_bad_files_make_one_line(classes_only: Path, count: int, more: str) -> None:
    for number in range(count):
        (classes_only / "no" / f"b{number}.txt").touch()
    assert f": no/b0.txt: is no image (.png, .jpg, .jpeg, .tif, .tiff, .bmp are read){more}; -" in refusal(classes_only)


def test_bad_files_are_listed_and_skipped_where_the_user_asks_for_it(classes_only: Path) -> None:
    (classes_only / "yes" / "notes.txt").touch()
    (classes_only / "no" / "scan.dcm").touch()
    findings = Findings(skip_bad=True)
    assert len(read_folder(classes_only, findings)) == 4
    assert [bad.file for bad in findings.bad] == ["no/scan.dcm", "yes/notes.txt"]
    assert all(bad.reason.startswith("is no image") for bad in findings.bad)


def test_class_folders_that_differ_only_by_case_are_refused(
    classes_only: Path, write_image: Writer, head: Head
) -> None:
    write_image(classes_only / "Yes" / "9.png", head())
    if (classes_only / "yes" / "9.png").exists():
        pytest.skip("this file system does not tell Yes from yes")
    assert "classes 'Yes' and 'yes' differ only by case; give them one name or two" in refusal(classes_only)


@pytest.mark.parametrize(
    ("parts", "hint"),
    [
        (("Training", "Testing"), "give {data}/Training with --test {data}/Testing (benchmark, augment, inspect)"),
        (("test", "train", "val"), "give {data}/train with --test {data}/test (benchmark, augment, inspect)"),
        (("train", "valid"), "give {data}/train"),
    ],
)
def test_training_and_testing_folders_are_no_classes(
    tmp_path: Path, write_image: Writer, head: Head, parts: tuple[str, ...], hint: str
) -> None:
    for part in parts:
        for label in ("no", "yes"):
            write_image(tmp_path / part / label / "1.png", head())
    line = refusal(tmp_path)
    assert "holds the parts" in line
    assert line.endswith(" and no classes; " + hint.format(data=tmp_path))
    assert read(tmp_path / parts[0]).classes == ["no", "yes"]


def test_a_class_may_be_called_test(classes_only: Path) -> None:
    (classes_only / "no").rename(classes_only / "test-negative")
    assert read(classes_only).classes == ["test-negative", "yes"]


# metadata.csv


def test_metadata_gives_labels_patients_and_masks(
    rows_with_files: Callable[..., Path],
) -> None:
    data = rows_with_files(
        {"file_name": "b.png", "label": "tumor", "patient": "p1", "mask": "masks/b.png", "age": "61"},
        {"file_name": "a.png", "label": "healthy", "patient": "p1"},
        files=("a.png", "b.png", "masks/b.png"),
    )
    images = read(data)
    assert images.classes == ["healthy", "tumor"]
    assert images.has_patients
    assert [(record.file, record.label, record.group) for record in images.records] == [
        ("a.png", 0, "p1"),
        ("b.png", 1, "p1"),
    ]
    assert [record.mask for record in images.records] == [None, data / "masks/b.png"]
    assert images.records[1].path == data / "b.png"


def test_the_class_folder_is_the_label_where_the_metadata_give_none(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png", "patient": "a"}, {"file_name": "yes/1.png", "patient": "b"})
    assert read(data).classes == ["no", "yes"]


def test_spaces_around_values_and_dots_in_paths_do_not_matter(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(
        {"file_name": " ./no/1.png ", "label": " no", "patient": "a "},
        {"file_name": "yes//1.png", "label": "yes", "patient": "a"},
    )
    assert names(read(data)) == ["no/1.png", "yes/1.png"]
    assert {record.group for record in read(data).records} == {"a"}


def test_the_order_of_rows_does_not_matter(data: Path) -> None:
    before = read(data).records
    header, *rows = (data / "metadata.csv").read_text().splitlines()
    (data / "metadata.csv").write_text("\n".join([header, *reversed(rows)]))
    assert read(data).records == before


def test_the_mark_that_excel_puts_first_is_read_over(rows_with_files: Callable[..., Path]) -> None:
    rows = ({"file_name": "no/1.png"}, {"file_name": "yes/1.png"})
    data = rows_with_files(*rows, encoding="utf-8-sig")
    assert (data / "metadata.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert len(read(data)) == 2


def test_masks_are_not_taken_for_images(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(
        {"file_name": "no/1.png", "mask": ""},
        {"file_name": "yes/1.png", "mask": "masks/yes/1.png"},
        files=(*TWO, "masks/yes/1.png", "masks/yes/unused.png"),
    )
    assert names(read(data)) == list(TWO)


def test_hidden_files_need_no_row(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png"}, {"file_name": "yes/1.png"})
    for clutter in ("no/._1.png", ".hidden.png", "yes/Thumbs.db", "README.md"):
        (data / clutter).touch()
    assert len(read(data)) == 2


def test_a_row_without_its_file_is_named(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(*({"file_name": name} for name in (*TWO, "yes/2.png")))
    assert ": yes/2.png: does not exist but metadata.csv, line 4 names it; --skip-bad" in refusal(data)


def test_a_file_without_a_row_is_named(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(*({"file_name": name} for name in TWO), files=(*TWO, "yes/2.png"))
    assert ": yes/2.png: has no row in metadata.csv; --skip-bad" in refusal(data)


def test_lines_are_counted_as_an_editor_does(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png"})
    with (data / "metadata.csv").open("a") as file:
        file.write("\n\nyes/2.png\n")
    assert "yes/2.png: does not exist but metadata.csv, line 5 names it" in refusal(data)


@pytest.mark.parametrize("column", ["file_name", "mask"])
@pytest.mark.parametrize(
    "path", ["../other/1.png", "no/../../1.png", "/etc/1.png", "..\\1.png", "\\\\server\\1.png", "C:\\1.png", "C:1.png"]
)
def test_no_path_leaves_the_folder(rows_with_files: Callable[..., Path], column: str, path: str) -> None:
    bad = {"file_name": "yes/1.png"} | {column: path}
    data = rows_with_files({"file_name": "no/1.png"}, bad)
    (data.parent / "1.png").write_bytes((data / "no/1.png").read_bytes())
    what = f"{path}: " if column == "file_name" else f"yes/1.png: its mask {path} "
    assert f"{data}: {what}leaves the folder (metadata.csv, line 3)" in refusal(data)


def test_masks_may_lie_in_a_folder_beside_the_images_that_says_so(rows_with_files: Callable[..., Path]) -> None:
    rows = ({"file_name": "no/1.png"}, {"file_name": "yes/1.png", "mask": "../real_masks/yes/1.png"})
    data = rows_with_files(*rows, files=(*TWO, "../real_masks/yes/1.png"))
    assert [record.mask for record in read(data).records] == [None, data / "../real_masks/yes/1.png"]


@pytest.mark.parametrize(
    "path", ["../real_masks", "../real_masks/../1.png", "../../real_masks/1.png", "../_masks_/1.png", "no/../a_masks/1"]
)
def test_masks_lie_nowhere_else_outside(rows_with_files: Callable[..., Path], path: str) -> None:
    data = rows_with_files({"file_name": "no/1.png"}, {"file_name": "yes/1.png", "mask": path})
    assert f"{data}: yes/1.png: its mask {path} leaves the folder (metadata.csv, line 3)" in refusal(data)


def test_no_image_lies_among_masks_beside_the_folder(rows_with_files: Callable[..., Path]) -> None:
    rows = ({"file_name": "no/1.png"}, {"file_name": "../real_masks/1.png", "label": "yes"})
    data = rows_with_files(*rows, files=("no/1.png", "../real_masks/1.png"))
    assert f"{data}: ../real_masks/1.png: leaves the folder (metadata.csv, line 3)" in refusal(data)


def test_a_mask_that_does_not_exist_is_told_once_under_the_name_of_its_image(
    rows_with_files: Callable[..., Path],
) -> None:
    data = rows_with_files({"file_name": "no/1.png"}, {"file_name": "./yes/1.png", "mask": "masks/1.png"})
    line = refusal(data)
    assert f"{data}: yes/1.png: its mask masks/1.png does not exist but metadata.csv, line 3 names it; --skip" in line


@pytest.mark.parametrize("name", [".", "no", "x" * 300 + ".png"], ids=["the folder", "a class folder", "too long"])
def test_a_row_that_names_no_file_is_one_line(rows_with_files: Callable[..., Path], name: str) -> None:
    data = rows_with_files({"file_name": name})
    assert f": {name}: does not exist but metadata.csv, line 2 names it" in refusal(data)


@pytest.mark.parametrize("name", ["no/1.png\nyes/1.png", "no/\0.png"])
def test_a_name_over_two_lines_is_refused_in_one(rows_with_files: Callable[..., Path], name: str) -> None:
    data = rows_with_files({"file_name": name})
    assert "a name holds a control character; is a quote left open?" in refusal(data)


def test_a_row_of_something_else_than_an_image_is_named(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(*({"file_name": name} for name in TWO))
    (data / "yes" / "volume.nii").touch()
    with (data / "metadata.csv").open("a") as file:
        file.write("yes/volume.nii\n")
    assert "yes/volume.nii: is no image (.png" in refusal(data)


def test_a_second_row_for_a_file_is_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(*({"file_name": name} for name in (*TWO, "./no/1.png")))
    assert refusal(data) == f"{data / 'metadata.csv'}, line 4: no/1.png has a row already"


def test_a_row_without_a_name_is_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png", "label": "no"}, {"file_name": "", "label": "yes"})
    assert refusal(data) == f"{data / 'metadata.csv'}, line 3: file_name is empty"


def test_metadata_without_the_column_file_name_are_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"filename": "no/1.png", "label": "no"})
    assert refusal(data).endswith("metadata.csv has no column file_name; its columns are filename, label")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_metadata_with_another_separator_are_refused_as_such(classes_only: Path, mark: str) -> None:
    (classes_only / "metadata.csv").write_text(f"file_name{mark}label{mark}patient\nno/1.png{mark}no{mark}P1\n")
    assert refusal(classes_only).endswith("has columns that are not separated by commas; save it as CSV with commas")


def test_empty_metadata_are_refused(classes_only: Path) -> None:
    (classes_only / "metadata.csv").touch()
    assert refusal(classes_only).endswith("metadata.csv has no column file_name; its columns are none")


@pytest.mark.parametrize("content", ["file_name\nno/1.png\n".encode("utf-16"), b'file_name\n"' + b"x" * 200_000])
def test_metadata_that_are_no_csv_are_refused(classes_only: Path, content: bytes) -> None:
    (classes_only / "metadata.csv").write_bytes(content)
    assert "metadata.csv cannot be read as CSV in UTF-8: " in refusal(classes_only)


def test_a_folder_called_metadata_is_one_line(classes_only: Path) -> None:
    (classes_only / "metadata.csv").mkdir()
    assert "metadata.csv cannot be read as CSV in UTF-8: " in refusal(classes_only)


def test_metadata_without_any_usable_row_are_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/9.png"}, files=())
    with pytest.raises(DataError, match=r"data holds no images that can be used; .*: "):
        read_folder(data, Findings(skip_bad=True))


def test_an_image_without_label_or_class_folder_is_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "a.png", "label": ""}, files=("a.png",))
    assert refusal(data).endswith("line 2: a.png has no label and lies in no class folder")


def test_a_label_that_contradicts_the_class_folder_is_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png", "label": "no"}, {"file_name": "yes/1.png", "label": "no"})
    assert names(read(data)) == list(TWO)  # no class is called yes: folders may mean something else
    data = rows_with_files(
        {"file_name": "no/1.png", "label": "no"},
        {"file_name": "yes/1.png", "label": "yes"},
        {"file_name": "yes/2.png", "label": "no"},
        files=(*TWO, "yes/2.png"),
    )
    assert refusal(data) == f"{data}: yes/2.png lies in class folder 'yes' but metadata.csv says 'no'"


def test_patients_for_some_rows_only_are_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png", "patient": "a"}, {"file_name": "yes/1.png", "patient": " "})
    assert "yes/1.png has no patient but others have; give each row one, or leave such images out" in refusal(data)


def test_a_patient_column_without_any_patient_is_no_patient_column(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files({"file_name": "no/1.png", "patient": ""}, {"file_name": "yes/1.png", "patient": ""})
    assert not read(data).has_patients
    assert [record.group for record in read(data).records] == list(TWO)


def test_labels_that_differ_only_by_case_are_refused(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(
        {"file_name": "1.png", "label": "Tumor"},
        {"file_name": "2.png", "label": "tumor"},
        {"file_name": "3.png", "label": "none"},
        files=("1.png", "2.png", "3.png"),
    )
    assert "classes 'Tumor' and 'tumor' differ only by case" in refusal(data)


def test_bad_rows_are_listed_and_skipped_where_the_user_asks_for_it(rows_with_files: Callable[..., Path]) -> None:
    data = rows_with_files(
        *({"file_name": name} for name in (*TWO, "yes/gone.png", "../x.png")), files=(*TWO, "no/new.png")
    )
    findings = Findings(skip_bad=True)
    assert names(read_folder(data, findings)) == list(TWO)
    assert findings.bad == [
        BadFile("yes/gone.png", "does not exist but metadata.csv, line 4 names it"),
        BadFile("../x.png", "leaves the folder (metadata.csv, line 5)"),
        BadFile("no/new.png", "has no row in metadata.csv"),
    ]


# What is read


def test_a_set_is_a_dataset_in_the_manner_of_torchvision(classes_only: Path) -> None:
    images = read(classes_only)
    picture, label = images[3]
    assert isinstance(picture, Image.Image)
    assert (picture.mode, picture.size, label) == ("L", (40, 40), 1)
    assert images.class_to_idx == {"no": 0, "yes": 1}
    images.transform = lambda picture: torch.ones(1) * picture.size[0]
    assert images[0][0].tolist() == [40]
    assert len(list(torch.utils.data.DataLoader(images, batch_size=3))) == 2


def test_a_selection_keeps_classes_order_and_transform(classes_only: Path) -> None:
    images = read(classes_only)
    images.transform = lambda picture: "transformed"
    chosen = images.select([3, 0])
    assert names(chosen) == ["yes/1.png", "no/0.png"]
    assert chosen.classes == images.classes
    assert chosen[0] == ("transformed", 1)


@pytest.mark.parametrize(
    ("size", "channels", "classes", "words"),
    [
        (7, 1, ("a",), "size 7 was asked; images need at least 8 pixels a side"),
        (8, 0, ("a",), "0 channels were asked; 1 to 4 work"),
        (8, 5, ("a",), "5 channels were asked; 1 to 4 work"),
        (8, 1, (), "no classes were given; at least one is needed"),
    ],
)
def test_a_specification_that_cannot_be_is_refused(
    size: int, channels: int, classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        ImageSpec(size, channels, classes)


def test_the_shape_puts_channels_first() -> None:
    assert ImageSpec(16, 3, ("a",)).shape == (3, 16, 16)


# What a stranger's folder may hold


@pytest.mark.parametrize("name", [".hidden", " lead", "trail ", "grade:3", "a\\..\\b", "line\nbreak", "x" * 101])
def test_a_class_that_cannot_be_a_folder_everywhere_is_refused(rows_with_files: Callable[..., Path], name: str) -> None:
    with pytest.raises(SettingsError, match="rename it"):
        ImageSpec(32, 1, (name,))


@pytest.mark.parametrize("label", ["../../escaped", "a/b", "grade:3"])
def test_a_label_that_would_lead_out_of_the_output_folder_is_refused(
    rows_with_files: Callable[..., Path], label: str
) -> None:
    data = rows_with_files({"file_name": "no/1.png", "label": label}, {"file_name": "yes/1.png", "label": "yes"})
    assert f"class {label!r}" in refusal(data)
    assert "rename it" in refusal(data)


@pytest.mark.parametrize("column", ["Patient", "patient_id", " patient", "subject-id"])
def test_a_column_that_nearly_says_patient_is_named(rows_with_files: Callable[..., Path], column: str) -> None:
    rows = ({"file_name": file, column: "p1"} for file in TWO)
    assert f"has a column {column!r}; patients are read from 'patient': rename it" in refusal(rows_with_files(*rows))


@pytest.mark.parametrize(("column", "meant"), [("Label", "label"), (" mask", "mask"), ("participant_id", "patient")])
def test_a_column_that_nearly_says_what_is_read_is_named(
    rows_with_files: Callable[..., Path], column: str, meant: str
) -> None:
    rows = ({"file_name": file, column: "no"} for file in TWO)
    assert f"has a column {column!r}; {meant}s are read from {meant!r}: rename it" in refusal(rows_with_files(*rows))


@pytest.mark.parametrize("name", ["Metadata.csv", "metadata.jsonl"])
def test_a_table_that_is_not_read_is_named(classes_only: Path, name: str) -> None:
    (classes_only / name).write_text("file_name,label\n")
    assert refusal(classes_only).endswith(f"holds {name}, which is not read; metadata.csv, with commas, is")


def test_a_flat_test_folder_beside_training_classes_is_no_class(
    tmp_path: Path, write_image: Writer, head: Head
) -> None:
    for file in ("train/no/1.png", "train/yes/1.png", "test/1.png"):
        write_image(tmp_path / file, head())
    assert "'test' and 'train' would be classes, and name parts of a split" in refusal(tmp_path)


def test_a_folder_of_masks_is_no_class(classes_only: Path, write_image: Writer, head: Head) -> None:
    write_image(classes_only / "masks" / "1.png", head())
    assert "the folder 'masks' would be a class" in refusal(classes_only)


def test_a_mask_beside_its_image_is_no_image(classes_only: Path, write_image: Writer, head: Head) -> None:
    write_image(classes_only / "yes" / "0_mask.png", head())
    assert "yes/0_mask.png: is named like the mask of an image beside it" in refusal(classes_only)


def test_an_image_outside_of_the_class_folders_is_named(classes_only: Path, write_image: Writer, head: Head) -> None:
    write_image(classes_only / "stray.png", head())
    assert "stray.png: lies in no class folder" in refusal(classes_only)


def test_a_name_that_is_not_utf8_is_named(classes_only: Path) -> None:
    (classes_only / "yes" / os.fsdecode(b"caf\xe9.png")).touch()
    assert "yes/caf?.png: has a name that is not UTF-8; rename it" in refusal(classes_only)


def test_an_image_without_a_row_beside_a_mask_is_found(
    rows_with_files: Callable[..., Path], write_image: Writer, head: Head
) -> None:
    rows = ({"file_name": "no/1.png", "mask": ""}, {"file_name": "yes/1.png", "mask": "yes/1_mask.png"})
    data = rows_with_files(*rows)
    write_image(data / "yes" / "1_mask.png", head())
    assert len(read(data)) == 2
    write_image(data / "yes" / "2.png", head())
    assert "yes/2.png: has no row" in refusal(data)


def test_read_images_gives_a_dataset_with_a_transform(classes_only: Path) -> None:
    images = read_images(classes_only, transform=lambda image: image.mode)
    assert images[0] == ("L", 0)
