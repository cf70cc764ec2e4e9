from dataclasses import replace
from typing import Any

from braingan.experiment.result import EXTENDED
from braingan.reporting.facts import caveats
from braingan.reporting.methods import claim_items, methods
from braingan.reporting.table import markdown_table, terminal_table

Maker = Any  # tests/reporting/conftest.py


def test_the_paragraph_is_made_of_the_facts_of_the_result(make_result: Maker) -> None:
    said = " ".join(methods(make_result(folds=2)))
    for fact in (
        "48 images of 12 patients (24 healthy, 24 tumor)",
        "resized to 64 by 64 pixels",
        "divided by patient into 2 test parts (cross-validation, seed 0)",
        "No patient stood in two parts of a fold.",
        "In each fold, a generator (dcgan) was trained on the training part alone, for at most 1000 steps of 64",
        "(ratio): 0.5.",
        "Classifiers (resnet10t, from random weights) were trained with AdamW for 300 steps of 32 images",
        "The learning rate rose to 0.002 over the first fifth of the steps and fell in a cosine",
        "weight decay was 0.05.",
        "turned by up to 10 degrees, shifted by up to 6 % of their side",
        "compared combined at the ratio that was best on validation images",
        "A further 2 comparisons with real images alone",
        "A difference of 2 points was taken",
        "Software: python 3.12, braingan 0.2.0. Computer: Linux.",
    ):
        assert fact in said


def test_it_says_nothing_that_was_not_done(make_result: Maker) -> None:
    result = make_result()
    unknown = result.splits | {"grouped_by": "file"}
    bare = make_result(comparisons=[], choice=None, splits=unknown, generators=[])
    said = " ".join(methods(bare))
    assert "No comparison was tested." in said
    assert "Patients were not known." in said
    assert "patients (" not in said
    assert "enerator" not in said
    numbers = {number for number, _ in claim_items(bare)}
    assert not numbers & {20, 26, 29, 33, 37}
    assert {20, 26, 29, 37} <= {number for number, _ in claim_items(result)}


def test_one_run_of_each_arm_is_not_said_to_show_how_runs_vary(make_result: Maker) -> None:
    several, one = make_result(), make_result(seeds=1)
    assert "and from the variance between training runs" in methods(several)[3]
    assert "for these trained classifiers only" in methods(one)[3]
    assert "variance between training runs" not in methods(one)[3]
    assert "which are over patients and seeds" in caveats(several)[0]
    assert "which are over patients alone" in caveats(one)[0]


def test_the_learning_rate_is_the_one_that_was_asked_for(make_result: Maker) -> None:
    result = make_result()
    slow = replace(result, settings=result.settings | {"classifier_learning_rate": 1e-4})
    assert "The learning rate rose to 0.0001 " in methods(slow)[2]
    before = {name: value for name, value in result.settings.items() if name != "folds"}  # of the earlier format
    assert "learning rate" not in methods(replace(result, settings=before))[2]


def test_limits_and_another_site_are_told(make_result: Maker) -> None:
    settings = make_result().settings | {"limit": {"tumor": 60}, "external": "elsewhere", "curve": [0.5]}
    limited = make_result(settings=settings)
    said = " ".join(methods(limited))
    assert "Training was limited to 60 training images of class tumor, chosen at random." in said
    assert "50 % of the training patients were used as well" in said
    assert "scored on images of another site" in said
    assert {10, 33} <= {number for number, _ in claim_items(limited)}


def test_of_a_partial_result_it_tells_the_design(make_result: Maker) -> None:
    """Of two repeats of two folds, one repeat is finished."""
    whole = make_result(folds=2)
    partial = replace(whole, settings=whole.settings | {"repeats": 2})
    assert "divided by patient into 2 test parts (cross-validation" in methods(partial)[0]


def test_a_test_folder_is_named(make_result: Maker) -> None:
    result = make_result()
    text = methods(replace(result, settings=result.settings | {"test": "tomorrow"}))[0]
    tested = len(result.splits["folds"][0]["test"])
    assert f"for validation, and {tested} for testing came from a folder of their own (tomorrow)" in text


def test_what_was_extended_is_not_called_declared_before_the_runs(make_result: Maker) -> None:
    result = make_result()
    assert "declared before the runs" in methods(result)[3]
    text = methods(replace(result, notes=[f"{EXTENDED} (seeds 3, now 5): ..."]))[3]
    assert "of a benchmark that was extended after its start, compared" in text
    assert "declared before the runs" not in text


def test_of_more_than_two_classes_no_sensitivity_is_told(make_result: Maker) -> None:
    three = make_result(classes=("glioma", "meningioma", "pituitary"))
    assert "sensitivity" not in " ".join(methods(three))
    assert "specificities of 0.90 and 0.95 on validation images" in methods(make_result())[3]
    assert "sens." not in markdown_table(three)
    assert "pecificity" not in terminal_table(three)
    assert "sensitivity at specificity 0.90 and 0.95" in " ".join(terminal_table(make_result()).split())
    assert "| sens. 0.90 | spec. | sens. 0.95 | spec. |" in markdown_table(make_result())


def test_a_family_without_a_primary_contrast_was_tested_all_the_same(make_result: Maker) -> None:
    result = make_result()
    alone = replace(result, comparisons=[own for own in result.comparisons if own["family"] == "declared"], choice=None)
    text = methods(alone)[3]
    assert "No comparison was tested" not in text
    assert "There was no primary contrast." in text
    assert "2 comparisons with real images alone formed a declared family" in text
    assert {29, 37} <= {number for number, _ in claim_items(alone)}


def test_where_intervals_come_from_is_what_compare_does(make_result: Maker) -> None:
    text = methods(make_result())[3]
    assert "Standard errors came from a bootstrap of 10000 resamples of patients with all their images" in text
    assert "t distributions with Satterthwaite's degrees of freedom" in text


def test_leakage_that_was_allowed_is_told_in_the_paragraph(make_result: Maker) -> None:
    clean = make_result()
    assert "no evidence" not in methods(clean)[0]
    assert "the scores are no evidence" in methods(replace(clean, leakage=["leak: 3 test images"]))[0]
    dropped = replace(clean, settings=clean.settings | {"drop_leaking": True})
    assert "same picture as one for training or validation are left out" in methods(dropped)[0]


def test_how_generators_were_used_is_told(make_result: Maker) -> None:
    result = make_result()
    settings = result.settings | {"share": 0.5, "hyperparameters": {"healthy": "", "variation": 0.5}}
    kept = [own | {"chosen_on_validation": True} for own in result.generators]
    told = methods(replace(result, settings=settings, generators=kept))[1]
    assert "(dcgan: variation 0.5) was trained on" in told
    assert "The step whose samples were nearest to validation images was kept." in told
    assert "a share of 0.5 was synthetic" in told
    moved = [own | {"losses": []} for own in result.generators]  # such as paste: it moves what it is given
    assert "was fitted to the training part alone." in methods(replace(result, generators=moved))[1]
    assert "nearest to validation images" not in methods(result)[1]


def test_pictures_that_stay_together_are_what_is_split(make_result: Maker) -> None:
    result = make_result()
    twins = replace(result, splits=result.splits | {"grouped_by": "twins"}, units={})
    assert "split once by picture (files that show the same picture together)" in methods(twins)[0]
