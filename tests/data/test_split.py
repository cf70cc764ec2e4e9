import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from braingan.data.folds import Fold, Folds
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import PARTS, Split, SplitFile, everything, given_split, grouping, locate, split_by_group
from braingan.errors import OutputError, SplitError

Maker = Callable[..., PreparedSet]


@pytest.fixture
def patients(prepared_of: Maker) -> PreparedSet:
    """Thirty patients, most with two classes, five with a rare third; one to four slices of each."""
    members = []
    for patient in range(30):
        labels = ("normal", "tumor") if patient % 2 else ("normal",) if patient % 3 else ("rare", "tumor")
        members += [(f"p{patient}", label) for label in labels for _ in range(1 + patient % 4)]
    return prepared_of(members)


def groups(files: tuple[SplitFile, ...]) -> set[str]:
    return {file.group for file in files}


def parts_of(split: Split) -> list[tuple[SplitFile, ...]]:
    return [getattr(split, part) for part in PARTS]


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_on_both_sides_of_a_split(patients: PreparedSet, seed: int) -> None:
    split = split_by_group(patients, seed=seed)
    train, val, test = (groups(part) for part in parts_of(split))
    assert not train & val
    assert not train & test
    assert not val & test
    assert len(train | val | test) == 30


@pytest.mark.parametrize("seed", range(5))
def test_every_image_is_in_one_part_and_every_class_in_every_part(patients: PreparedSet, seed: int) -> None:
    split = split_by_group(patients, seed=seed)
    files = [file.file for part in parts_of(split) for file in part]
    assert sorted(files) == sorted(record.file for record in patients.source.records)
    for part in parts_of(split):
        assert {file.label for file in part} == {"normal", "rare", "tumor"}


@pytest.mark.parametrize("seed", range(5))
def test_validation_and_test_get_roughly_a_fifth_each(patients: PreparedSet, seed: int) -> None:
    train, val, test = (len(part) for part in parts_of(split_by_group(patients, seed=seed)))
    assert 0.12 * len(patients) < val < 0.28 * len(patients)
    assert 0.12 * len(patients) < test < 0.28 * len(patients)
    assert 0.5 * len(patients) < train < 0.7 * len(patients)


def test_the_same_seed_gives_the_same_split_and_another_another(patients: PreparedSet) -> None:
    assert split_by_group(patients, seed=3) == split_by_group(patients, seed=3)
    assert len({tuple(sorted(groups(split_by_group(patients, seed=seed).test))) for seed in range(4)}) > 1


def test_without_patients_every_file_stands_for_itself(prepared_of: Maker) -> None:
    prepared = prepared_of([("x", label) for label in "ab" for _ in range(10)], has_patients=False)
    split = split_by_group(prepared)
    assert grouping(prepared) == split.grouped_by == "file"
    assert [len(part) for part in parts_of(split)] == [12, 4, 4]


def test_a_split_of_two_parts_holds_out_a_fifth_and_no_test_images(patients: PreparedSet) -> None:
    split = split_by_group(patients, seed=1, parts=("train", "val"))
    assert split.test == ()
    assert len(split.train) + len(split.val) == len(patients)
    assert 0.12 * len(patients) < len(split.val) < 0.28 * len(patients)
    assert not groups(split.train) & groups(split.val)
    assert {file.label for file in split.val} == {"normal", "rare", "tumor"}


def test_everything_may_be_for_training(patients: PreparedSet) -> None:
    split = everything(patients)
    assert len(split.train) == len(patients)
    assert split.val == split.test == ()
    assert split.seed is None


def test_a_split_names_files_by_content_class_and_patient(patients: PreparedSet) -> None:
    split = split_by_group(patients)
    record, sha = patients.source.records[0], patients.hashes[0]
    (named,) = [file for part in parts_of(split) for file in part if file.file == record.file]
    assert named == SplitFile(record.file, sha, patients.source.classes[record.label], record.group)


def test_the_hash_of_the_training_images_depends_on_their_content_only(patients: PreparedSet) -> None:
    split = split_by_group(patients)
    assert replace(split, train=split.train[::-1], val=(), seed=9).train_hash == split.train_hash
    renamed = tuple(replace(file, file=f"renamed/{file.file}") for file in split.train)
    assert replace(split, train=renamed).train_hash == split.train_hash
    assert replace(split, train=split.train[1:]).train_hash != split.train_hash


# Saved splits


def test_a_split_comes_back_as_it_was_saved(patients: PreparedSet, tmp_path: Path) -> None:
    split = split_by_group(patients, seed=4)
    split.save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json") == split


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"split\.json does not exist"):
        Split.load(tmp_path / "split.json")


@pytest.mark.parametrize(
    "value",
    [
        {"train": [], "val": [], "test": []},
        [],
        "text",
        None,
        {"grouped_by": "file", "train": ["a.png"]},
        {"grouped_by": "file", "train": [{"file": "a.png"}]},
        {"grouped_by": "file", "train": 3},
    ],
)
def test_json_that_is_no_split_is_refused(tmp_path: Path, value: Any) -> None:
    (tmp_path / "split.json").write_text(json.dumps(value))
    with pytest.raises(SplitError, match=r"this is no split file: .+; it needs train, val, test and grouped_by"):
        Split.load(tmp_path / "split.json")


def test_a_file_of_several_splits_is_not_taken_for_an_empty_one(tmp_path: Path, patients: PreparedSet) -> None:
    fold = Fold(split_by_group(patients))
    Folds((fold, fold)).save(tmp_path / "split.json")
    with pytest.raises(SplitError, match=r"a file of splits, .+, and a single split is needed; .+ --folds 1 .+ works"):
        Split.load(tmp_path / "split.json")


def test_a_split_with_a_patient_in_two_parts_is_refused(patients: PreparedSet) -> None:
    value = split_by_group(patients).to_json()
    value["test"] = [*value["test"], value["train"][0] | {"file": "another.png"}]
    group = value["train"][0]["group"]
    with pytest.raises(SplitError, match=f"patient '{group}' is in train and in test; it needs one side"):
        Split.from_json(value)


def test_a_split_with_a_file_in_two_parts_is_refused(prepared_of: Maker) -> None:
    value = split_by_group(
        prepared_of([("x", label) for label in "ab" for _ in range(10)], has_patients=False)
    ).to_json()
    value["val"] = [*value["val"], value["train"][0]]
    with pytest.raises(SplitError, match=r"file '.*' is in train and in val; it needs one side"):
        Split.from_json(value)


# Too little


def test_too_few_patients_are_refused(prepared_of: Maker) -> None:
    prepared = prepared_of([(f"p{patient}", label) for patient in range(4) for label in "ab" for _ in range(3)])
    with pytest.raises(SplitError, match="4 patients were found; a split by patient needs at least 5"):
        split_by_group(prepared)


def test_too_few_files_are_refused(prepared_of: Maker) -> None:
    with pytest.raises(SplitError, match="4 files were found; a split by file needs at least 5"):
        split_by_group(prepared_of([("x", label) for label in "aabb"], has_patients=False))


def test_a_class_with_too_few_patients_is_refused(prepared_of: Maker) -> None:
    prepared = prepared_of([(f"p{n}", "normal") for n in range(9)] + [("p0", "rare")] * 5 + [("p1", "rare")])
    with pytest.raises(SplitError, match=r"class 'rare' has 2 patient\(s\); 3 parts need at least 3"):
        split_by_group(prepared)
    assert {file.label for file in split_by_group(prepared, parts=("train", "val")).val} == {"normal", "rare"}


def test_classes_of_few_images_only_are_refused(prepared_of: Maker) -> None:
    prepared = prepared_of([(f"p{n}{label}", label) for label in "ab" for n in range(4)])
    with pytest.raises(SplitError, match="the largest class has 4 images; a split needs at least 5"):
        split_by_group(prepared)


def test_patients_that_cannot_be_shared_out_are_refused(prepared_of: Maker) -> None:
    members = ["1a", "2a", "3a", "3b", "4b", "5b"]  # only patient 3 has both classes, and three parts need both
    prepared = prepared_of([(patient, label) for patient, label in members for _ in range(3)])
    words = "no split of 5 patients gives each of 3 parts every class; it would take more of them, or parts of your own"
    with pytest.raises(SplitError, match=words):
        split_by_group(prepared)


def test_a_rare_class_is_in_every_part_although_one_shuffle_may_miss_it(prepared_of: Maker) -> None:
    members = [(f"p{n}", "normal") for n in range(40)] + [(f"r{n}", "rare") for n in range(3)]
    for seed in range(10):
        for part in parts_of(split_by_group(prepared_of(members), seed=seed)):
            assert {file.label for file in part} == {"normal", "rare"}


# A split and the images it was made from


def test_a_split_is_found_again_among_the_images(patients: PreparedSet, caplog: pytest.LogCaptureFixture) -> None:
    split = split_by_group(patients)
    with caplog.at_level(logging.WARNING, "braingan"):
        parts = locate(split, patients)
    assert sorted(parts.train + parts.val + parts.test) == list(range(len(patients)))
    assert [patients.source.records[index].file for index in parts.val] == [file.file for file in split.val]
    assert parts.left_out == 0
    assert not caplog.text


def test_images_that_a_split_leaves_out_are_counted(patients: PreparedSet, caplog: pytest.LogCaptureFixture) -> None:
    split = split_by_group(patients)
    with caplog.at_level(logging.WARNING, "braingan"):
        parts = locate(replace(split, train=split.train[3:]), patients)
    assert parts.left_out == 3
    assert f"the split leaves out 3 of {len(patients)} images" in caplog.text


def change(split: Split, **changed: str) -> Split:
    """The split with its first test image described in another way."""
    return replace(split, test=(replace(split.test[0], **changed), *split.test[1:]))


def test_a_file_that_is_not_there_any_more_is_refused(patients: PreparedSet) -> None:
    split = change(split_by_group(patients), file="tumor/gone.png")
    with pytest.raises(SplitError, match=r"the split names tumor/gone\.png, which is not among the images; give the"):
        locate(split, patients)


def test_a_file_that_has_changed_is_refused(patients: PreparedSet) -> None:
    with pytest.raises(SplitError, match=r"has changed since the split was made \(other content\); make a new split"):
        locate(change(split_by_group(patients), sha256="f" * 64), patients)


def test_a_file_of_another_class_or_patient_is_refused(patients: PreparedSet) -> None:
    split = split_by_group(patients)
    file = split.test[0]
    there = f"is '{file.label}' of '{file.group}' here but"
    with pytest.raises(SplitError, match=f"{file.file} {there} 'cyst' of '{file.group}' in the split"):
        locate(change(split, label="cyst"), patients)
    with pytest.raises(SplitError, match=f"{there} '{file.label}' of 'stranger' in the split"):
        locate(change(split, group="stranger"), patients)


def test_bad_files_that_were_skipped_are_missing_in_the_split_too(data: Path, tmp_path: Path) -> None:
    split = split_by_group(prepare_folder(data, Preprocessing(size=16), tmp_path / "cache"))
    split.save(tmp_path / "split.json")
    (data / split.train[0].file).write_bytes(b"")
    prepared = prepare_folder(data, Preprocessing(size=16), tmp_path / "cache", skip_bad=True)
    parts = locate(given_split(tmp_path / "split.json", prepared), prepared)
    assert [len(parts.train), len(parts.val), len(parts.test)] == [
        len(split.train) - 1,
        len(split.val),
        len(split.test),
    ]
    assert parts.left_out == 0
