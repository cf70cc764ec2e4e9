"""What would waste hours or fool its user is refused before training, or said in the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import LeakageError, SettingsError, SplitError
from braingan.evaluation.recipes import Recipe
from braingan.experiment import arms
from braingan.experiment.arms import Arm, register_arm

Options = dict[str, Any]


@pytest.fixture
def asked(tiny: Options, tiny_model: str) -> Options:
    """Real images alone, in a second."""
    return tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real"], "inspection": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 2}, "1 fold and 2 repeats were asked"),
        ({"curve": "0.5,0.5"}, "a curve of 0.5, 0.5 was asked; different parts work"),
        ({"generators": 2}, "2 generators and 1 seeds were asked"),
        ({"limit": {"tumor": "60.7"}}, "--limit tumor=60.7 was asked; CLASS=NUMBER works"),
        ({"limit": {"tumour": 6}}, "a limit for class 'tumour' was asked; the data have no_tumor, tumor"),
        ({"classifier_learning_rate": 0}, "a classifier learning rate of 0 was asked; above 0 works, such as 0.002"),
        ({"margin": 2}, "margin 2 was asked; above 0 and below 1 works"),
        ({"arms": ["real+mixup"], "classifier_batch_size": 1}, r"arm 'real\+mixup' mixes images, and batches of 1"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(
    data: Path, tmp_path: Path, asked: Options, options: Options, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        braingan.benchmark(data, tmp_path / "out", **asked | options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "cells").exists()


def test_no_backend_is_asked_for_anything_where_no_arm_needs_one(data: Path, tmp_path: Path, asked: Options) -> None:
    own = {"backend": "insert", "hyperparameters": {}}  # which needs masks, and these data have none
    result = braingan.benchmark(data, tmp_path / "out", **asked | own)
    assert (result.generators, result.primary, result.recommended_ratio) == ([], None, None)


def test_a_test_image_that_shows_the_same_picture_as_a_validation_image_is_a_leak(
    data: Path, tmp_path: Path, asked: Options
) -> None:
    test = tmp_path / "elsewhere"  # copies of all images, by other patients' names
    shutil.copytree(data, test)
    table = test / "metadata.csv"
    table.write_text(table.read_text().replace("data-P", "other-P"))
    with pytest.raises(LeakageError, match=r"leak: 40 of 40 test images .* as a training or validation image"):
        braingan.benchmark(data, tmp_path / "out", **asked, test=test)


def test_splits_of_two_repeats_are_not_taken_for_four_folds(data: Path, tmp_path: Path, asked: Options) -> None:
    first = braingan.benchmark(data, tmp_path / "first", **asked, folds=2, repeats=2)
    with pytest.raises(SplitError, match=r"the 4 splits test some groups twice .*; give --folds and --repeats"):
        braingan.benchmark(data, tmp_path / "out", **asked, split=tmp_path / "first" / "split.json")
    again = braingan.benchmark(
        data, tmp_path / "again", **asked, split=tmp_path / "first" / "split.json", folds=2, repeats=2
    )
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]


def test_limits_are_not_applied_to_splits_that_have_them(data: Path, tmp_path: Path, asked: Options) -> None:
    braingan.benchmark(data, tmp_path / "first", **asked, limit={"tumor": 6})
    split = tmp_path / "first" / "split.json"
    with pytest.raises(SettingsError, match="limits were asked for splits that leave images out already"):
        braingan.benchmark(data, tmp_path / "out", **asked, split=split, limit={"tumor": 4})
    result = braingan.benchmark(data, tmp_path / "again", **asked, split=split)
    assert result.runs[0]["n_real"] == 12 + 6


def test_a_left_out_image_of_a_test_patient_is_refused(data: Path, tmp_path: Path, asked: Options) -> None:
    braingan.benchmark(data, tmp_path / "first", **asked, limit={"tumor": 6})
    split = json.loads((tmp_path / "first" / "split.json").read_text())
    fold = split["folds"][0]
    fold["left_out"].append(fold["test"].pop())
    (tmp_path / "sly.json").write_text(json.dumps(split))
    with pytest.raises(SplitError, match="is left out of training and held out; it needs one side"):
        braingan.benchmark(data, tmp_path / "out", **asked, split=tmp_path / "sly.json")


def test_what_was_extended_after_results_were_known_says_so(data: Path, tmp_path: Path, asked: Options) -> None:
    first = braingan.benchmark(data, tmp_path / "out", **asked)
    assert not any("Extended" in note for note in first.notes)
    more = braingan.benchmark(data, tmp_path / "out", **asked | {"seeds": 2}, margin=0.01)
    (note,) = (note for note in more.notes if "Extended" in note)
    assert "seeds 1, now 2" in note
    assert "margin 0.02, now 0.01" in note


def test_arms_in_another_order_are_no_extension(data: Path, tmp_path: Path, asked: Options) -> None:
    for names in (["real", "duplicates"], ["duplicates", "real"]):
        result = braingan.benchmark(data, tmp_path / "out", **asked | {"arms": names})
    assert not any("Extended" in note for note in result.notes)


def test_an_arm_that_has_changed_is_trained_anew(
    data: Path, tmp_path: Path, asked: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for recipe in (Recipe(), Recipe(sampling="natural", augmentation="strong")):
        monkeypatch.setattr(arms.ARMS, "registered", dict(arms.ARMS.registered))
        arms.ARMS.registered.pop("mine", None)
        register_arm("mine")(lambda recipe=recipe: Arm(lambda images: images.real, recipe=recipe))
        braingan.benchmark(data, tmp_path / "out", **asked | {"arms": ["real", "mine"]})
        seen.append((tmp_path / "out" / "cells" / "mine-fold0-seed0.json").read_text())
    assert seen[0] != seen[1]


def test_a_validation_part_that_lacks_a_class_is_refused_as_it_would_choose_badly(
    data: Path, tmp_path: Path, asked: Options
) -> None:
    braingan.benchmark(data, tmp_path / "out", **asked)
    split = json.loads((tmp_path / "out" / "split.json").read_text())
    one_class = tmp_path / "one class.json"
    whole = json.dumps(split)
    own = split["folds"][0] if "folds" in split else split
    own["val"] = [file for file in own["val"] if file["label"] == "tumor"]
    one_class.write_text(json.dumps(split))
    assert one_class.read_text() != whole
    with pytest.raises(SplitError, match="the validation part has no image of class 'no_tumor'; give a split that has"):
        braingan.benchmark(data, tmp_path / "again", **asked, split=one_class)
