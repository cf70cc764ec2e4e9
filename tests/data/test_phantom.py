import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braingan.data.phantom import PhantomSummary, draw_patient, write_phantom, writing
from braingan.errors import OutputError, SettingsError

SMALL: dict[str, Any] = {"patients": 5, "slices": 4, "size": 48, "seed": 7}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(out, **SMALL)
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_same_arguments_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", **SMALL)
    assert files_in(tmp_path / "again") == files_in(folder)


def test_another_seed_gives_other_images(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "other", **SMALL | {"seed": 8})
    pair = [pixels(next(out.rglob("*or/P0001_00.png"))) for out in (folder, tmp_path / "other")]
    assert (pair[0] != pair[1]).mean() > 0.2


def test_a_patient_does_not_depend_on_how_many_others_there_are(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "more", **SMALL | {"patients": 7})
    few, many = files_in(folder), files_in(tmp_path / "more")
    few.pop("metadata.csv")
    assert few.items() <= many.items()
    assert rows_of(folder) == rows_of(tmp_path / "more")[: len(few.keys() - masks(few))]


def masks(files: dict[str, bytes]) -> set[str]:
    return {name for name in files if name.startswith("masks/")}


def test_every_row_has_its_file_and_every_file_its_row(folder: Path) -> None:
    rows = rows_of(folder)
    named = {row["file_name"] for row in rows} | {row["mask"] for row in rows if row["mask"]}
    assert files_in(folder).keys() == named | {"metadata.csv"}
    assert list(rows[0]) == ["file_name", "label", "patient", "slice", "mask", "tumor_px", "sequence"]


def test_the_metadata_ends_its_lines_alike_everywhere(folder: Path) -> None:
    assert b"\r" not in (folder / "metadata.csv").read_bytes()


def test_masks_lie_where_the_label_says(folder: Path) -> None:
    for row in rows_of(folder):
        assert row["file_name"] == f"{row['label']}/{row['patient']}_{int(row['slice']):02d}.png"
        assert bool(row["mask"]) == (row["label"] == "tumor") == (int(row["tumor_px"]) > 0)
        if row["mask"]:
            mask = pixels(folder / row["mask"])
            assert set(np.unique(mask)) == {0, 255}
            assert (mask > 0).sum() == int(row["tumor_px"]) >= 0.001 * mask.size


def test_tumors_lie_within_the_head(folder: Path) -> None:
    for row in rows_of(folder):
        if row["mask"]:
            image, mask = pixels(folder / row["file_name"]), pixels(folder / row["mask"]) > 0
            assert np.median(image[mask]) > 2 * np.median(image[:4])


def test_images_are_grey_squares_of_the_size_asked_for(folder: Path) -> None:
    for row in rows_of(folder):
        image = pixels(folder / row["file_name"])
        assert image.shape == (48, 48)
        assert image.dtype == np.uint8
        assert image.std() > 10


def test_every_png_says_that_it_is_a_phantom(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            assert image.info == {
                "Phantom": "true",
                "Software": "braingan",
                "Description": "procedurally drawn phantom, no patient",
                "Seed": "7",
                "Patient": path.name[:5],
            }


@pytest.mark.parametrize("seed", range(4))
def test_four_patients_have_two_with_a_tumor_and_two_without(seed: int, tmp_path: Path) -> None:
    summary = write_phantom(tmp_path / "out", patients=4, slices=2, size=32, seed=seed)
    rows = rows_of(tmp_path / "out")
    for label in ("tumor", "no_tumor"):
        assert len({row["patient"] for row in rows if row["label"] == label}) >= 2
        assert summary.images[label] == sum(row["label"] == label for row in rows)
    assert isinstance(summary, PhantomSummary)
    assert summary.patients == 4


def test_no_section_is_too_small_to_be_written() -> None:
    drawn = [len(list(draw_patient(patient, seed=1, slices=6, size=64))) for patient in range(10)]
    assert drawn == [6] * 10


def test_a_patient_has_one_sequence_and_the_tumor_does_not_choose_it() -> None:
    one = {
        (patient, drawn.sequence) for patient in range(6) for drawn in draw_patient(patient, seed=2, slices=2, size=32)
    }
    assert len(one) == 6
    assert len({sequence for _, sequence in one}) > 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"patients": 3}, "Cannot draw a phantom with 3 patients: both classes need at least 4"),
        ({"slices": 1}, "1 slices per patient: at least 2 are needed"),
        ({"size": 31}, "size 31: the images can be 32 to 512 pixels wide"),
        ({"size": 513}, "size 513: the images can be 32 to 512 pixels wide"),
        ({"seed": -1}, "seed -1: it must be 0 or more"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_written(
    wrong: dict[str, int], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=words):
        write_phantom(tmp_path / "out", **SMALL | wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="is not an empty folder"):
        write_phantom(tmp_path, **SMALL)
    assert files_in(tmp_path) == {"mine.txt": b"keep"}


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is not an empty folder"):
        write_phantom(tmp_path / "out", **SMALL)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    write_phantom(tmp_path, patients=4, slices=2, size=32)
    assert (tmp_path / "metadata.csv").is_file()


def test_nothing_is_left_beside_the_folder_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(patient: int, **settings: int) -> Iterator[writing.Slice]:
        if patient == 2:
            raise KeyboardInterrupt
        return draw_patient(patient, **settings)

    monkeypatch.setattr(writing, "draw_patient", stop)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "out", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_drawing_a_patient_takes_well_under_a_second() -> None:
    start = time.process_time()
    list(draw_patient(0, seed=0, slices=8, size=128))
    assert time.process_time() - start < 2
