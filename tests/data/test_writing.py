"""Any format -> a folder that every tool can read, with nothing lost and nothing half-written."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from braingan.data import writing
from braingan.data.building import Found, build_set
from braingan.data.findings import BadFile, Findings
from braingan.data.phantom import write_phantom
from braingan.data.pictures import write_png
from braingan.data.reading import READERS, read_data
from braingan.data.records import ImageSet, mask_of, open_record
from braingan.data.writing import to_pictures, write_folder
from braingan.errors import DataError, OutputError, SettingsError

Writer = Callable[..., Path]
Head = Callable[..., np.ndarray]
MetadataWriter = Callable[..., None]
Pixels = np.ndarray[Any, Any]


def read(data: Path, **options: Any) -> ImageSet:
    return read_data(data, Findings(skip_bad=False), **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels_in(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


def refusal(error: type[Exception], source: Path, out: Path, **options: Any) -> str:
    with pytest.raises(error) as caught:
        write_folder(source, out, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def assert_same_set(before: ImageSet, after: ImageSet, sources: dict[str, str]) -> None:
    """The same labels, patients and masks; `sources` says which image became which, where it is said."""
    assert (after.classes, after.has_patients, len(after)) == (before.classes, before.has_patients, len(before))
    if not sources:
        assert Counter((record.label, record.group) for record in after.records) == Counter(
            (record.label, record.group) for record in before.records
        )
        return
    of_name = {record.file: record for record in before.records}
    for record in after.records:
        old = of_name[sources[record.file]]
        assert record.label == old.label
        assert record.group == (old.group if before.has_patients else record.file)
        mask, old_mask = mask_of(record), mask_of(old)
        if old_mask is None or not old_mask.any():
            assert mask is None
        else:
            assert mask is not None
            assert np.array_equal(mask, old_mask)


def round_trip(source: Path, out: Path, **options: Any) -> ImageSet:
    written = write_folder(source, out, **options)
    after = read(out)
    assert_same_set(
        read(source, **options), after, {row["file_name"]: row["source"] for row in rows_of(out) if "source" in row}
    )
    assert written.images == dict(Counter(after.classes[label] for label in after.targets))
    assert written.patients == (len({record.group for record in after.records}) if after.has_patients else None)
    assert written.masks == sum(record.mask is not None for record in after.records)
    return after


# A format of volumes


@dataclass(frozen=True)
class Slice:
    """A slice of a volume that is kept as numbers."""

    path: Path
    number: int

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        return ()

    @property
    def key(self) -> str:
        return str(self.number)

    def _volume(self) -> Pixels:
        volume = np.frombuffer(self.path.read_bytes(), np.float32)
        return volume[4:].reshape(*volume[:4].astype(int))

    def pixels(self) -> Pixels:
        if self.path.stat().st_size == 0:
            raise DataError(f"{self.path}: is empty")
        return np.array(self._volume()[self.number])

    def mask(self) -> Pixels | None:
        return self._volume()[self.number, :, :, 0] > 200


@dataclass(frozen=True)
class Volumes:
    """Volumes of float32 as `<class>/<patient>/<scan>.vol`; the number of slices is in the name."""

    step: int = 1

    def recognises(self, files: Sequence[str]) -> bool:
        return any(file.endswith(".vol") for file in files)

    def read(self, data: Path, findings: Findings) -> ImageSet:
        found = [
            Found(
                path,
                f"{path.relative_to(data).as_posix()}#axial{number:03d}",
                path.parts[-3],
                path.parts[-2],
                source=Slice(path, number),
                columns=(("slice", str(number)), ("series", path.stem), ("patient", "odd"), ("Subject_ID", path.stem)),
            )
            for path in sorted(data.rglob("*.vol"))
            for number in range(0, int(path.stem.rpartition("-")[2]), self.step)
        ]
        return build_set(data, found, findings)


@pytest.fixture
def volumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Write a volume (slices, height, width, sequences) into the data folder, and make its format known."""
    monkeypatch.setitem(READERS.registered, "volumes", Volumes)

    def write(place: str, volume: Pixels) -> Path:
        path = tmp_path / "volumes" / f"{place}-{len(volume)}.vol"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.array(volume.shape, np.float32).tobytes() + volume.astype(np.float32).tobytes())
        return tmp_path / "volumes"

    return write


def noise(*shape: int, low: float = 0, high: float = 250, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


# What comes back


def test_a_phantom_comes_back_with_its_pixels_patients_and_masks(tmp_path: Path) -> None:
    write_phantom(tmp_path / "heads", patients=5, slices=3, size=48)
    after = round_trip(tmp_path / "heads", tmp_path / "out")
    assert after.has_patients
    assert any(record.mask for record in after.records)
    for row in rows_of(tmp_path / "out"):
        assert row["file_name"] == row["source"]
        assert np.array_equal(
            pixels_in(tmp_path / "out" / row["file_name"]), pixels_in(tmp_path / "heads" / row["source"])
        )
    masks = {path.name: pixels_in(path) for path in (tmp_path / "out" / "masks").iterdir()}
    assert {int(value) for mask in masks.values() for value in np.unique(mask)} == {0, 255}


def test_the_summary_counts_and_names_the_format(data: Path, classes_only: Path, tmp_path: Path) -> None:
    written = write_folder(data, tmp_path / "out")
    assert (written.images, written.patients, written.masks) == ({"no_tumor": 6, "tumor": 6}, 6, 0)
    assert (written.bad_files, written.format) == ((), "folders")
    assert write_folder(classes_only, tmp_path / "other").patients is None


def test_class_folders_without_patients_come_back_without(classes_only: Path, tmp_path: Path) -> None:
    after = round_trip(classes_only, tmp_path / "out")
    assert not after.has_patients
    assert list(rows_of(tmp_path / "out")[0]) == ["file_name", "label", "mask", "source"]
    assert not (tmp_path / "out" / "masks").exists()


@pytest.mark.parametrize("kind", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_of_8_bits_keep_their_mode_and_very_pixels(
    classes_only: Path, write_image: Writer, tmp_path: Path, mode: str, kind: str
) -> None:
    picture = Image.fromarray(noise(20, 30, 3).astype(np.uint8)).convert(mode)
    write_image(classes_only / "yes" / f"scan{kind}", picture)
    write_folder(classes_only, tmp_path / "out")
    with Image.open(tmp_path / "out" / "yes" / "scan.png") as written:
        assert (written.mode, written.format) == (mode, "PNG")
        assert np.array_equal(np.asarray(written), np.asarray(picture))


def test_palettes_transparency_and_exif_are_resolved_as_when_reading(
    classes_only: Path, write_image: Writer, head: Head, tmp_path: Path
) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    write_image(classes_only / "yes" / "turned.png", Image.fromarray(head()[:20]), exif=turned)
    write_image(classes_only / "yes" / "palette.png", Image.fromarray(head()).convert("P"))
    write_image(classes_only / "yes" / "clear.png", Image.fromarray(head()).convert("RGBA"))
    write_folder(classes_only, tmp_path / "out")
    records = read(classes_only).records
    for row, record in zip(rows_of(tmp_path / "out"), records, strict=True):
        assert np.array_equal(pixels_in(tmp_path / "out" / row["file_name"]), np.asarray(open_record(record)))


def test_braingan_and_imagefolder_agree_once_masks_are_left_out(tmp_path: Path) -> None:
    write_phantom(tmp_path / "heads", patients=4, slices=2, size=32)
    write_folder(tmp_path / "heads", tmp_path / "out")
    assert ImageFolder(str(tmp_path / "out")).classes == ["masks", "no_tumor", "tumor"]  # what the docstring says
    (tmp_path / "out" / "masks").rename(tmp_path / "moved")
    theirs = ImageFolder(str(tmp_path / "out"))
    (tmp_path / "moved").rename(tmp_path / "out" / "masks")
    ours = read(tmp_path / "out")
    assert (theirs.classes, theirs.targets) == (ours.classes, ours.targets)
    assert [path for path, _ in theirs.samples] == [str(record.path) for record in ours.records]


# Brightness


def test_16_bits_of_a_patient_share_one_window(data: Path, write_image: Writer, tmp_path: Path) -> None:
    bright = noise(40, 40, low=100, high=4000).astype(np.uint16)
    write_image(data / "tumor" / "p0.png", bright)
    write_image(data / "no_tumor" / "p0.png", bright // 2)
    write_folder(data, tmp_path / "out")
    two = [pixels_in(tmp_path / "out" / file).astype(int) for file in ("no_tumor/p0.png", "tumor/p0_2.png")]
    assert (two[1].max(), two[0].min()) == (255, 0)
    assert two[0].max() == pytest.approx(127, abs=4)


def test_16_bits_without_patients_are_spread_image_by_image(
    classes_only: Path, write_image: Writer, tmp_path: Path
) -> None:
    for name, scale in (("dark", 1), ("bright", 20)):
        write_image(classes_only / "yes" / f"{name}.png", (noise(40, 40, high=3000) * scale).astype(np.uint16))
    write_folder(classes_only, tmp_path / "out")
    for name in ("dark", "bright"):
        picture = pixels_in(tmp_path / "out" / "yes" / f"{name}.png")
        assert (picture.min(), picture.max(), picture.dtype) == (0, 255, np.uint8)


def test_slices_of_a_scan_share_a_window_and_scans_do_not(volumes: Callable[..., Path], tmp_path: Path) -> None:
    ramp = noise(4, 24, 24, 1, high=400) * np.array([1, 2, 3, 4]).reshape(4, 1, 1, 1)
    volumes("yes/p1/flair", ramp)
    volumes("no/p1/t1", ramp * 30)
    data = volumes("no/p2/t1", ramp)
    round_trip(data, tmp_path / "out")
    for place in ("yes/p1_flair", "no/p1_t1", "no/p2_t1"):
        brightest = [pixels_in(tmp_path / "out" / f"{place}-4_axial00{number}.png").max() for number in range(4)]
        assert brightest == pytest.approx([64, 128, 192, 255], abs=4)


def test_negative_surroundings_stay_darkest() -> None:
    volume = np.full((3, 40, 40, 1), -3.6, np.float32)
    volume[:, 10:30, 10:30] = noise(3, 20, 20, 1, low=-3, high=6)
    pictures = np.stack(to_pictures(list(volume), from_pictures=False))
    assert (pictures[:, :10] == 0).all()
    assert pictures[:, 10:30, 10:30].min() > 5


def test_surroundings_amid_the_values_are_black_and_all_tissue_is_brighter() -> None:
    brain = noise(3, 20, 20, 1, low=-2, high=2)
    volume = np.zeros((3, 40, 40, 1), np.float32)
    volume[:, 10:30, 10:30] = brain
    pictures = np.stack(to_pictures(list(volume), from_pictures=False))
    tissue = pictures[:, 10:30, 10:30].astype(int)
    assert (pictures[:, :10] == 0).all()
    assert tissue.min() == 1
    assert np.median(tissue) == pytest.approx(128, abs=10)
    assert np.corrcoef(tissue.ravel(), brain.ravel())[0, 1] > 0.999


def test_noisy_surroundings_are_spread_as_they_are() -> None:
    picture = to_pictures([noise(40, 40, 1, low=-5, high=5)], from_pictures=False)[0]
    assert np.median(picture) == pytest.approx(127, abs=8)


def test_an_even_scan_is_black_and_no_accident() -> None:
    assert not to_pictures([np.full((8, 8, 1), 7.5, np.float32)], from_pictures=False)[0].any()


def test_each_sequence_has_a_window_and_two_become_red_and_green() -> None:
    two = np.concatenate([noise(40, 40, 1, high=9), noise(40, 40, 1, low=-1e5, high=1e5, seed=1)], axis=2)
    picture = to_pictures([two], from_pictures=False)[0]
    assert picture.shape == (40, 40, 3)
    assert picture.max(axis=(0, 1)).tolist() == [255, 255, 0]
    three = to_pictures([np.concatenate([two, two[:, :, :1]], axis=2)], from_pictures=False)[0]
    assert np.array_equal(three[:, :, 2], three[:, :, 0])
    assert np.array_equal(three[:, :, :2], picture[:, :, :2])


def test_whole_numbers_of_picture_files_are_kept_and_of_volumes_spread() -> None:
    dark = np.rint(noise(20, 20, 1, high=90))
    assert np.array_equal(to_pictures([dark], from_pictures=True)[0], dark)
    assert to_pictures([dark], from_pictures=False)[0].max() == 255
    both = to_pictures([dark, dark * 300], from_pictures=True)  # 16 bits: one of the scan is enough
    assert both[0].max() <= 1


def test_more_than_three_sequences_are_refused_before_the_folder_is_taken(
    volumes: Callable[..., Path], tmp_path: Path
) -> None:
    data = volumes("yes/p1/scan", noise(2, 16, 16, 4))
    line = refusal(DataError, data, tmp_path / "out", skip_bad=True)
    assert "has 4 sequences, a picture holds 3 at most; choose some with an option of the format" in line
    assert not (tmp_path / "out").exists()


# Names and columns


def test_names_are_as_short_as_tells_them_apart_and_safe(
    classes_only: Path, write_image: Writer, head: Head, tmp_path: Path
) -> None:
    for name in ("a b/1.png", "a b/ä#1.tar.png", "c/1.jpg"):
        write_image(classes_only / "yes" / name, head())
    write_folder(classes_only, tmp_path / "out")
    names = {row["source"]: row["file_name"] for row in rows_of(tmp_path / "out")}
    assert names == {
        "no/0.png": "no/0.png",
        "no/1.png": "no/1.png",
        "yes/0.png": "yes/0_2.png",  # masks of all classes share a folder
        "yes/1.png": "yes/1_2.png",
        "yes/a b/1.png": "yes/a_b_1.png",
        "yes/a b/ä#1.tar.png": "yes/a_b___1.tar.png",
        "yes/c/1.jpg": "yes/c_1.png",
    }


def test_names_that_differ_only_by_case_or_at_their_far_end_stay_apart(
    classes_only: Path, write_image: Writer, head: Head, tmp_path: Path
) -> None:
    for name in ("Scan.png", "scan.bmp", f"1{'x' * 180}.png", f"2{'x' * 180}.png"):
        write_image(classes_only / "yes" / name, head())
    write_folder(classes_only, tmp_path / "out")
    names = [Path(row["file_name"]).name for row in rows_of(tmp_path / "out")]
    assert len({name.casefold() for name in names}) == 8
    assert max(map(len, names)) < 170


def test_names_of_slices_say_scan_and_place(volumes: Callable[..., Path], tmp_path: Path) -> None:
    volumes("yes/p1/t1", noise(2, 16, 16, 1))
    data = volumes("no/p2/t1", noise(2, 16, 16, 1))
    write_folder(data, tmp_path / "out")
    assert [row["file_name"] for row in rows_of(tmp_path / "out")] == [
        *("no/p2_t1-2_axial000.png", "no/p2_t1-2_axial001.png"),
        *("yes/p1_t1-2_axial000.png", "yes/p1_t1-2_axial001.png"),
    ]


def test_columns_of_the_source_follow_and_step_aside(volumes: Callable[..., Path], tmp_path: Path) -> None:
    data = volumes("yes/p1/t1", noise(1, 16, 16, 1))
    write_folder(data, tmp_path / "out")
    assert rows_of(tmp_path / "out") == [
        {
            "file_name": "yes/t1-1_axial000.png",
            "label": "yes",
            "patient": "p1",
            "mask": "masks/t1-1_axial000.png",
            "slice": "0",
            "series": "t1-1",
            "source_patient": "odd",
            "source_Subject_ID": "t1-1",  # a reader would take it for the patients
            "source": "yes/p1/t1-1.vol#axial000",
        }
    ]
    assert b"\r" not in (tmp_path / "out" / "metadata.csv").read_bytes()


def test_a_column_does_not_fall_onto_another() -> None:
    assert writing._column_names(["mask", "source_mask", "mask", "Case"]) == {
        "mask": "source_source_mask",
        "source_mask": "source_mask",
        "Case": "source_Case",
    }


def test_what_came_from_dicom_does_not_say_how_its_files_were_called(
    volumes: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(READERS, "_load", lambda name: Volumes)
    data = volumes("yes/p1/Jane_Doe", noise(2, 16, 16, 1))
    monkeypatch.setattr(Volumes, "read", _without_names(Volumes.read))
    write_folder(data, tmp_path / "out", format="dicom")
    rows = rows_of(tmp_path / "out")
    assert [row["file_name"] for row in rows] == ["yes/p1_3_0.png", "yes/p1_3_1.png"]
    assert "source" not in rows[0]
    assert not any(b"Doe" in content for content in files_in(tmp_path / "out").values())


def _without_names(reads: Callable[..., ImageSet]) -> Callable[..., ImageSet]:
    """A reader that calls each series 3 and says nothing else."""

    def read(self: Volumes, data: Path, findings: Findings) -> ImageSet:
        images = reads(self, data, findings)
        for record in images.records:
            object.__setattr__(record, "columns", (("series", "3"), record.columns[0]))
        return images

    return read


@pytest.mark.parametrize("name", ["masks", "Masks", "asked.json"])
def test_a_class_that_would_mix_with_what_lies_beside_is_refused(classes_only: Path, tmp_path: Path, name: str) -> None:
    rows = [f"{path.parent.name}/{path.name},{name if path.parent.name == 'no' else 'yes'}"
            for path in sorted(classes_only.glob("*/*.png"))]  # fmt: skip
    (classes_only / "no").rename(classes_only / "others")
    (classes_only / "metadata.csv").write_text("\n".join(["file_name,label", *rows]).replace("no/", "others/"))
    assert f"a class is called {name!r}, and so is what lies" in refusal(DataError, classes_only, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The folder


def test_a_finished_folder_gives_its_summary_and_touches_nothing(data: Path, tmp_path: Path) -> None:
    first = write_folder(data, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.suffix != ".json"}
    assert len(before) == 13
    assert write_folder(data, tmp_path / "out") == first
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_an_image_that_a_finished_folder_has_lost_is_named(data: Path, tmp_path: Path) -> None:
    write_folder(data, tmp_path / "out")
    (tmp_path / "out" / "no_tumor" / "p3.png").unlink()
    assert "no_tumor/p3.png: is not in " in refusal(DataError, data, tmp_path / "out")


def test_other_work_is_refused(volumes: Callable[..., Path], write_image: Writer, head: Head, tmp_path: Path) -> None:
    data = volumes("yes/p1/t1", noise(4, 16, 16, 1))
    write_folder(data, tmp_path / "out", options={"step": "2"})
    write_folder(data, tmp_path / "out", options={"step": 2})  # as the command line and as Python say it
    line = refusal(OutputError, data, tmp_path / "out")
    assert "is for other work (fingerprint " in line
    assert "options {'step': 2} there, {'step': 1} asked" in line
    assert "has no option 'size'" in refusal(SettingsError, data, tmp_path / "out", options={"size": 2})


@pytest.mark.parametrize("change", ["image", "mask", "label", "patient"])
def test_a_source_that_has_changed_is_other_work(
    data: Path, write_image: Writer, write_metadata: MetadataWriter, head: Head, tmp_path: Path, change: str
) -> None:
    rows = rows_of(data)
    rows[1]["mask"] = "masks/1.png"
    write_image(data / "masks" / "1.png", head())
    write_metadata(data, rows)
    write_folder(data, tmp_path / "out")
    if change in {"label", "patient"}:
        for row in rows:
            row[change] = row[change].replace("p1", "p0").replace("no_tumor", "normal")
        write_metadata(data, rows)
    else:
        write_image(data / {"image": "tumor/p0.png", "mask": "masks/1.png"}[change], head(brightness=17))
    assert "is for other work (fingerprint " in refusal(OutputError, data, tmp_path / "out")


def test_a_folder_of_others_or_amid_the_data_is_refused(data: Path, tmp_path: Path) -> None:
    assert "overlap" in refusal(OutputError, data, data / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    assert "holds thesis.tex, which braingan did not write" in refusal(OutputError, data, tmp_path / "out")
    assert "nowhere is not a folder" in refusal(DataError, tmp_path / "nowhere", tmp_path / "new")


# Bad files


def test_an_image_that_cannot_be_read_stops_and_then_is_left_out(data: Path, tmp_path: Path) -> None:
    (data / "tumor" / "p2.png").write_bytes(b"")
    line = refusal(DataError, data, tmp_path / "out")
    assert line == f"{data}: tumor/p2.png: is empty; --skip-bad goes on without bad files"
    assert not (tmp_path / "out" / "metadata.csv").exists()
    for _ in range(2):  # the second time, from the finished folder
        written = write_folder(data, tmp_path / "out", skip_bad=True)
        assert written.images == {"no_tumor": 6, "tumor": 5}
        assert written.bad_files == (BadFile("tumor/p2.png", "is empty"),)
    assert len(read(tmp_path / "out")) == 11
    assert "tumor/p2.png: is empty" in refusal(DataError, data, tmp_path / "out")


def test_the_first_bad_scan_stops_and_what_was_written_before_stays(
    volumes: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writing, "BATCH", 1)
    for place in ("a/p1/t1", "b/p2/t1", "c/p3/t1"):
        data = volumes(place, noise(3, 16, 16, 1))
    whole = data / "b/p2/t1-3.vol"
    content = whole.read_bytes()
    whole.write_bytes(b"")
    assert "b/p2/t1-3.vol#axial000: is empty (and 2 more bad" in refusal(DataError, data, tmp_path / "out")
    assert len(list((tmp_path / "out" / "a").iterdir())) == 3
    assert not (tmp_path / "out" / "c").exists()
    assert "class 'b' has no image that can be read" in refusal(DataError, data, tmp_path / "out", skip_bad=True)
    whole.write_bytes(content)
    assert "for other work" in refusal(OutputError, data, tmp_path / "out")


def test_a_mask_of_another_size_or_none_at_all_is_a_bad_file(
    data: Path, write_image: Writer, write_metadata: MetadataWriter, head: Head, tmp_path: Path
) -> None:
    rows = rows_of(data)
    rows[0]["mask"], rows[1]["mask"] = "masks/0.png", "masks/1.png"
    write_metadata(data, rows)
    write_image(data / "masks" / "0.png", head(size=30))
    (data / "masks" / "1.png").write_bytes(b"no picture")
    written = write_folder(data, tmp_path / "out", skip_bad=True)
    assert written.bad_files[0] == BadFile("no_tumor/p0.png", "has 40x40 pixels but its mask has 30x30")
    assert written.bad_files[1].file == "tumor/p0.png"
    assert written.bad_files[1].reason == "its mask 1.png is not a PNG, JPEG, TIFF or BMP image"
    assert written.masks == 0


def test_bad_files_of_the_structure_are_listed_too(classes_only: Path, tmp_path: Path) -> None:
    (classes_only / "yes" / "notes.txt").touch()
    assert "yes/notes.txt: is no image" in refusal(DataError, classes_only, tmp_path / "out")
    written = write_folder(classes_only, tmp_path / "out", skip_bad=True)
    assert [bad.file for bad in written.bad_files] == ["yes/notes.txt"]


# Interruption


@pytest.fixture
def slow_source(tmp_path: Path, write_metadata: MetadataWriter) -> Path:
    """Slices of 16 bits with masks, so that a window spans images on both sides of an interruption."""
    rows = []
    for patient in range(8):
        for number in range(16):
            label = ("no", "yes")[number % 2]
            name = f"{label}/p{patient}_{number}.png"
            for file, pixels in (
                (name, noise(64, 64, high=900 + 40 * number, seed=patient).astype(np.uint16)),
                (f"masks/p{patient}_{number}.png", np.eye(64, dtype=np.uint8) * 255),
            ):
                (tmp_path / "slow" / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "slow" / file, compress_level=1)
            rows.append(
                {"file_name": name, "label": label, "patient": f"p{patient}", "mask": f"masks/{Path(name).name}"}
            )
    write_metadata(tmp_path / "slow", rows)
    return tmp_path / "slow"


def test_an_interruption_at_any_file_leaves_what_a_second_call_completes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_phantom(tmp_path / "heads", patients=4, slices=2, size=32)
    write_folder(tmp_path / "heads", tmp_path / "whole")
    whole = files_in(tmp_path / "whole")

    for number in range(len(whole) - 2):
        left = iter(range(number))

        def write_some(*given: Any, left: Any = left) -> None:
            if next(left, None) is None:
                raise OutputError("no space left")
            write_png(*given)

        monkeypatch.setattr(writing, "write_png", write_some)
        assert refusal(OutputError, tmp_path / "heads", tmp_path / str(number)) == "no space left"
        monkeypatch.setattr(writing, "write_png", write_png)
        write_folder(tmp_path / "heads", tmp_path / str(number))
        assert files_in(tmp_path / str(number)) == whole


def test_a_killed_call_and_a_second_one_give_the_same_bytes(slow_source: Path, tmp_path: Path) -> None:
    write_folder(slow_source, tmp_path / "whole")
    out, after = tmp_path / "broken", random.randrange(1, 200)
    code = f"from braingan.data.writing import write_folder\nwrite_folder({str(slow_source)!r}, {str(out)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while process.poll() is None and sum(1 for _ in out.rglob("*.png")) < after:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"it had ended before {after} files were there"
    assert not (out / "metadata.csv").exists()
    (out / "yes").mkdir(exist_ok=True)
    (out / "yes" / ".p0_1.png.999.part").write_bytes(b"half")  # as a kill leaves it, were it a little later
    there = {path: path.stat().st_mtime_ns for path in out.rglob("p*.png") if "masks" not in path.parts}
    write_folder(slow_source, out)
    assert files_in(out) == files_in(tmp_path / "whole"), f"killed after {after} files"
    assert all(path.stat().st_mtime_ns == when for path, when in there.items()), "a finished image was made again"


# Real images


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real() -> Callable[[str], Path]:
    """The path of a real data folder, or a skipped test where it is missing."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"the real images are not here: {SHARED / name}")
        return SHARED / name

    return find


def test_lgg_as_published_comes_back(real: Callable[[str], Path], tmp_path: Path) -> None:
    data = real("lgg-original")
    after = round_trip(data, tmp_path / "out")
    assert (len(after), len({record.group for record in after.records})) == (60, 3)
    row = rows_of(tmp_path / "out")[-1]
    published = pixels_in(data / row["source"])
    assert np.array_equal(pixels_in(tmp_path / "out" / row["file_name"]), published[:, :, 1])
    write_folder(data, tmp_path / "colour", options={"sequence": "all"})
    assert np.array_equal(pixels_in(tmp_path / "colour" / row["file_name"]), published)


def test_volumes_come_back_as_slices(real: Callable[[str], Path], tmp_path: Path) -> None:
    after = round_trip(real("volumes/nifti/btp_01"), tmp_path / "out")
    assert after.classes == ["no_tumor", "tumor"]
    pictures = np.stack([np.asarray(open_record(record)) for record in after.records])
    assert pictures.dtype == np.uint8
    assert np.percentile(pictures, [0.5, 99.95]).tolist() == [0, 255]
    assert np.median(pictures) < 60


def test_dicom_comes_back_without_the_names_of_its_files(real: Callable[[str], Path], tmp_path: Path) -> None:
    data = real("volumes/dicom")
    after = round_trip(data, tmp_path / "out")
    names = [path.stem.encode() for path in data.iterdir()]
    contents = [*files_in(tmp_path / "out").values(), *(record.file.encode() for record in after.records)]
    assert names
    assert not any(name in content for name in names for content in contents)


@pytest.mark.slow
def test_all_volumes_come_back(real: Callable[[str], Path], tmp_path: Path) -> None:
    after = round_trip(real("volumes/nifti"), tmp_path / "out")
    assert {np.asarray(open_record(record)).shape[2:] for record in after.records} == {(), (3,)}


def test_a_z_scored_volume_is_black_around_the_head(real: Callable[[str], Path]) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = real("volumes/nifti/brats_pat0001/Flair_subtrMeanDivStd.nii.gz")
    volume = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)[:, :, 20:140:10]
    head = volume > volume.min()
    centred = np.where(head, volume - volume[head].mean(), 0).astype(np.float32)  # as others publish it
    for voxels in (volume, centred):
        slices = [voxels[:, :, place, None] for place in range(voxels.shape[2])]
        pictures = np.concatenate(to_pictures(slices, from_pictures=False), axis=2)
        assert not pictures[~head].any()
        assert (pictures[head] > 0).mean() > 0.99
        assert 80 < np.median(pictures[head]) < 140
