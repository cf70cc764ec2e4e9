"""Groups of twins: what a split has to keep together where no patients are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import split_by_group
from braingan.duplicates.grouping import group_duplicates, looks_of, twin_groups
from braingan.duplicates.twins import Twin

Prepare = Callable[[Path], PreparedSet]


def twin(first: int, second: int) -> Twin:
    return Twin(first, second, "identical", 1.0)


def groups_of(prepared: PreparedSet) -> dict[str, str]:
    return {record.file: record.group for record in prepared.source.records}


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    return lambda data: prepare_folder(data, Preprocessing(size=32), tmp_path / "cache")


@pytest.fixture
def copied(heads: Path, tmp_path: Path) -> Path:
    """The phantom without its patients, and copies of three pictures, one of them of the other class."""
    data = tmp_path / "data"
    for label in ("no_tumor", "tumor"):
        shutil.copytree(heads / label, data / label)
    first, second, third = sorted((data / "no_tumor").glob("*_00.png"))[:3]
    shutil.copy(first, data / "tumor" / "a_copy.png")
    with Image.open(second) as image:
        ImageOps.mirror(image).save(data / "no_tumor" / "A_before.png")
    with Image.open(third) as image:
        image.convert("RGB").save(data / "no_tumor" / "z_again.bmp")
        image.save(data / "no_tumor" / "z_again.jpg", quality=50)
    return data


def test_links_are_followed_and_groups_are_in_order() -> None:
    assert twin_groups([], 5) == []
    assert twin_groups([twin(4, 7), twin(0, 2), twin(1, 4)], 9) == [[0, 2], [1, 4, 7]]
    assert twin_groups([twin(2, 3), twin(0, 3), twin(1, 2)], 4) == [[0, 1, 2, 3]]


def test_twins_share_the_name_of_the_first_file(copied: Path, prepare: Prepare) -> None:
    prepared = prepare(copied)
    grouped = group_duplicates(prepared)
    names = sorted(path.name for path in (copied / "no_tumor").glob("*_00.png"))[:3]
    changed = {file: group for file, group in groups_of(grouped).items() if file != group}
    assert changed == {
        "tumor/a_copy.png": f"no_tumor/{names[0]}",
        f"no_tumor/{names[1]}": "no_tumor/A_before.png",
        "no_tumor/z_again.bmp": f"no_tumor/{names[2]}",
        "no_tumor/z_again.jpg": f"no_tumor/{names[2]}",
    }
    assert grouped.source.targets == prepared.source.targets
    assert not grouped.source.has_patients
    assert grouped.images is prepared.images
    assert set(groups_of(prepared)) == set(groups_of(prepared).values())  # the one given is as it was


def test_a_split_keeps_twins_on_one_side_and_says_so(copied: Path, prepare: Prepare) -> None:
    grouped = group_duplicates(prepare(copied))
    for seed in range(5):
        split = split_by_group(grouped, seed=seed)
        assert split.grouped_by == "twins"
        sides = [{file.group for file in part} for part in (split.train, split.val, split.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(grouped) - 4


def test_known_patients_are_left_alone_whatever_the_pictures_show(
    heads: Path, tmp_path: Path, prepare: Prepare
) -> None:
    data = tmp_path / "known"
    shutil.copytree(heads, data)
    rows = (data / "metadata.csv").read_text().splitlines()
    file = rows[1].split(",")[0]
    shutil.copy(data / file, (data / file).with_name("copy.png"))
    rows.append(
        ",".join([str(Path(file).with_name("copy.png")), rows[1].split(",")[1], "P9999", *rows[1].split(",")[3:]])
    )
    (data / "metadata.csv").write_text("\n".join(rows) + "\n")
    prepared = prepare(data)
    assert group_duplicates(prepared) is prepared


def test_without_twins_nothing_changes(heads: Path, tmp_path: Path, prepare: Prepare) -> None:
    data = tmp_path / "data"
    for label in ("no_tumor", "tumor"):
        shutil.copytree(heads / label, data / label)
    prepared = prepare(data)
    assert group_duplicates(prepared) is prepared
    assert split_by_group(prepared).grouped_by == "file"


def test_the_looks_of_prepared_images_are_their_views_and_contents(heads: Path, prepare: Prepare) -> None:
    prepared = prepare(heads)
    looks = looks_of(prepared)
    assert len(looks) == len(prepared) == len(looks.views)
    assert tuple(looks.hashes) == prepared.hashes
    assert looks.views.any(axis=(1, 2)).all()
