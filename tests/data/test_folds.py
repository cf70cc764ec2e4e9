"""Cross-validation by patient: every image is tested once a repeat, and nobody is on two sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from braingan.data.folds import Fold, Folds, split_folds
from braingan.data.preparation import PreparedSet
from braingan.data.split import PARTS, Split, SplitFile, split_by_group
from braingan.errors import OutputError, SplitError

Maker = Callable[..., PreparedSet]


@pytest.fixture
def patients(prepared_of: Maker) -> PreparedSet:
    """Twenty-four patients, most with two classes, eight with a rare third; one to four slices of each."""
    members = []
    for patient in range(24):
        labels = ("normal", "tumor") if patient % 2 else ("normal",) if patient % 3 else ("rare", "tumor")
        members += [(f"p{patient}", label) for label in (*labels, "rare")[: 2 + (patient % 5 == 1)]
                    for _ in range(1 + patient % 4)]  # fmt: skip
    return prepared_of(members)


def names(files: tuple[SplitFile, ...]) -> set[str]:
    return {file.file for file in files}


def groups(files: tuple[SplitFile, ...]) -> set[str]:
    return {file.group for file in files}


def parts_of(split: Split) -> list[tuple[SplitFile, ...]]:
    return [getattr(split, part) for part in PARTS]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_every_image_is_in_exactly_one_test_part_of_a_repeat(patients: PreparedSet, count: int, seed: int) -> None:
    splits = split_folds(patients, count, 2, seed=seed)
    everything = sorted(record.file for record in patients.source.records)
    assert len(splits) == 2 * count
    for repeat in (splits[:count], splits[count:]):
        assert sorted(file.file for split in repeat for file in split.test) == everything
    for split in splits:
        assert sorted(file.file for part in parts_of(split) for file in part) == everything


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_no_patient_is_in_two_parts_of_a_fold_and_every_part_has_every_class(
    patients: PreparedSet, count: int, seed: int
) -> None:
    for split in split_folds(patients, count, 2, seed=seed):
        train, val, test = map(groups, parts_of(split))
        assert not train & val
        assert not train & test
        assert not val & test
        assert len(train | val | test) == 24
        assert [{file.label for file in part} for part in parts_of(split)] == [{"normal", "rare", "tumor"}] * 3
        assert split.grouped_by == "patient"


def test_a_fifth_of_the_patients_that_are_not_tested_is_for_validation(patients: PreparedSet) -> None:
    for split in split_folds(patients, 3, 1, seed=0):
        train, val, _ = map(groups, parts_of(split))
        assert 0.1 <= len(val) / len(train | val) <= 0.35


def test_the_same_seed_gives_the_same_folds_and_another_gives_others(patients: PreparedSet) -> None:
    first = split_folds(patients, 3, 2, seed=4)
    assert split_folds(patients, 3, 2, seed=4) == first
    assert split_folds(patients, 3, 1, seed=4) == first[:3]  # more repeats leave the first as it is
    assert {names(split.test) != names(other.test) for split, other in zip(
        first, split_folds(patients, 3, 2, seed=5), strict=True)} == {True}  # fmt: skip
    assert {split.seed for split in first} == {4}


def test_another_repeat_deals_the_patients_anew(patients: PreparedSet) -> None:
    splits = split_folds(patients, 3, 2, seed=0)
    first, second = ({frozenset(groups(split.test)) for split in own} for own in (splits[:3], splits[3:]))
    assert not first & second


def test_one_fold_is_a_single_split(patients: PreparedSet) -> None:
    one, again = split_folds(patients, 1, 2, seed=3)
    assert one == split_by_group(patients, seed=3)
    assert names(one.test) != names(again.test)


def test_folds_survive_json(patients: PreparedSet, tmp_path: Path) -> None:
    splits = split_folds(patients, 3, 2, seed=0)
    folds = Folds(tuple(Fold(replace(split, train=split.train[2:]), split.train[:2]) for split in splits))
    assert Folds.from_json(json.loads(json.dumps(folds.to_json()))) == folds
    folds.save(tmp_path / "split.json")
    assert Folds.load(tmp_path / "split.json") == folds
    written = json.loads((tmp_path / "split.json").read_text())
    assert sorted(file["file"] for file in written["files"]) == sorted(
        record.file for record in patients.source.records
    )


def test_a_single_split_is_written_as_a_split_and_read_as_folds(patients: PreparedSet, tmp_path: Path) -> None:
    split = split_by_group(patients)
    folds = Folds((Fold(split),))
    folds.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split
    assert Folds.load(tmp_path / "split.json") == folds
    assert folds.one
    limited = Folds((Fold(replace(split, train=split.train[1:]), split.train[:1]),))
    limited.save(tmp_path / "limited.json")
    assert Folds.load(tmp_path / "limited.json") == limited


def test_a_class_of_too_few_patients_for_so_many_folds_is_refused_in_one_line(prepared_of: Maker) -> None:
    members = [(f"p{number}", label) for number in range(6) for label in ("normal", "tumor")]
    with pytest.raises(SplitError, match=r"class 'normal' has 6 patient\(s\); 7 parts need at least 7") as caught:
        split_folds(prepared_of(members), 7, 1, seed=0)
    assert "\n" not in str(caught.value)
    with pytest.raises(SplitError, match="4 patients were found; a split by patient needs at least 5"):
        split_folds(prepared_of(members[:8]), 2, 1, seed=0)


def test_folds_that_cannot_all_have_every_class_are_refused_in_one_line(prepared_of: Maker) -> None:
    members = [(f"p{number}", "normal") for number in range(12)] + [(f"p{number}", "rare") for number in range(3)]
    words = r"2 folds were asked, and no way of dealing 12 patients .*fewer folds"
    with pytest.raises(SplitError, match=words) as caught:
        split_folds(prepared_of(members), 2, 1, seed=0)  # two rare patients in a test part leave one for two parts
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.pop("files"), "this is no file of splits"),
        (lambda value: value.pop("grouped_by"), "this is no file of splits"),
        (lambda value: value.update(folds=[]), "this file of splits has no folds"),
        (lambda value: value["folds"][1]["test"].append(9999), "this is no file of splits"),
        (lambda value: value["folds"][1].update(val=value["folds"][1]["train"]), "is in train and in val"),
        (lambda value: value["files"][0].pop("sha256"), "this is no (file of splits|split file)"),
    ],
)
def test_a_damaged_file_of_folds_is_refused_in_one_line(
    patients: PreparedSet, tmp_path: Path, change: Callable[..., object], words: str
) -> None:
    value = Folds(tuple(Fold(split) for split in split_folds(patients, 2, 1, seed=0))).to_json()
    change(value)
    (tmp_path / "split.json").write_text(json.dumps(value))
    with pytest.raises(SplitError, match=words) as caught:
        Folds.load(tmp_path / "split.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "7", '{"train": 3}'])
def test_what_is_no_split_at_all_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises((SplitError, OutputError), match=r"split\.json|split"):
        Folds.load(tmp_path / "split.json")
