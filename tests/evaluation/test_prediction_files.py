"""Predictions in CSV files: what is read, what is matched, and what is refused in one line."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braingan
from braingan.errors import BrainganError, DataError, SettingsError
from braingan.evaluation.file_comparison import NO_PATIENTS, compare_files
from braingan.evaluation.prediction_files import read_predictions

CLASSES = ("no", "yes")
Rows = list[dict[str, Any]]


def study(runs: int = 2, count: int = 60, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Targets (N,), probabilities of a and of b (runs, N, 2) and 10 patients (N,)."""
    random = np.random.default_rng(seed)
    targets = random.integers(2, size=count)
    shift = random.normal(0, 1.5, size=(2, runs, count)) + (2 * targets - 1) * np.array([0.6, 1.2])[:, None, None]
    positive = np.round(1 / (1 + np.exp(-shift)), 4)
    a, b = np.stack([1 - positive, positive], axis=-1)
    return targets, a, b, random.permutation(np.arange(count) % 10)


TARGETS, A, B, PATIENTS = study()


def rows_of(probabilities: np.ndarray, **others: Any) -> Rows:
    """Rows as `braingan benchmark` writes them; `others` are columns with one value."""
    return [
        {
            "seed": run, "file": f"{CLASSES[target]}/{image:03d}.png", "patient": f"P{PATIENTS[image]}",
            "target": CLASSES[target], "p_no": row[0], "p_yes": row[1],
        } | others
        for run, images in enumerate(probabilities)
        for image, (target, row) in enumerate(zip(TARGETS, images, strict=True))
    ]  # fmt: skip


def only(rows: Rows, *columns: str) -> Rows:
    """The rows with these columns."""
    return [{name: row[name] for name in columns} for row in rows]


def with_predicted(rows: Rows) -> Rows:
    return [row | {"predicted": CLASSES[int(row["p_yes"] > row["p_no"])]} for row in rows]


def write(path: Path, rows: Rows, **form: Any) -> Path:
    with path.open("w", newline="", encoding=form.pop("encoding", "utf-8")) as file:
        writer = csv.DictWriter(file, list(rows[0]), **form)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return write(tmp_path / "a.csv", rows_of(A))


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return write(tmp_path / "b.csv", rows_of(B))


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "auroc", "brier", "recall_at_specificity:0.8"])
def test_files_give_what_arrays_give(a: Path, b: Path, metric: str) -> None:
    found = braingan.compare_files(a, b, metric=metric, resamples=200, seed=3, confidence=0.9)
    assert isinstance(found, braingan.FileComparison)
    expected = braingan.compare(TARGETS, A, B, PATIENTS, metric=metric, resamples=200, seed=3, confidence=0.9)
    assert found.comparison == expected
    assert found.comparison.runs == (2, 2)
    assert (found.grouped_by, found.notes, found.classes, found.positive) == ("patient", (), CLASSES, "yes")


def test_predicted_classes_give_what_arrays_of_labels_give(tmp_path: Path) -> None:
    columns = ("seed", "file", "patient", "target", "predicted")
    files = [
        write(tmp_path / name, only(with_predicted(rows_of(given)), *columns)) for name, given in (("a", A), ("b", B))
    ]
    expected = braingan.compare(TARGETS, A.argmax(axis=2), B.argmax(axis=2), PATIENTS, resamples=200)
    assert compare_files(*files, resamples=200).comparison == expected


def test_where_a_file_has_both_measures_of_classes_take_what_it_predicted(tmp_path: Path, b: Path) -> None:
    always = write(tmp_path / "a.csv", [row | {"predicted": "yes"} for row in rows_of(A)])
    assert compare_files(always, b, metric="recall:yes", resamples=50).comparison.value_a == 1
    expected = braingan.compare(TARGETS, A, B, PATIENTS, metric="auroc", resamples=50)
    assert compare_files(always, b, metric="auroc", resamples=50).comparison == expected


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_asked_for_by_its_name(a: Path, b: Path, name: str) -> None:
    found = compare_files(a, b, metric=f"f1:{name}", resamples=50).comparison
    expected = braingan.compare(TARGETS, A, B, PATIENTS, metric=f"f1:{CLASSES.index(name)}", resamples=50)
    assert found.metric == f"f1:{name}"
    assert (found.value_a, found.low, found.p_value) == (expected.value_a, expected.low, expected.p_value)


def test_the_positive_class_can_be_chosen(a: Path, b: Path) -> None:
    found = compare_files(a, b, metric="average_precision", positive="no", resamples=50)
    expected = braingan.compare(
        1 - TARGETS, A[..., ::-1], B[..., ::-1], PATIENTS, metric="average_precision", resamples=50
    )
    assert found.comparison == expected
    assert (found.positive, found.classes) == ("no", ("yes", "no"))
    assert compare_files(a, b, metric="average_precision", resamples=50).comparison.value_a != expected.value_a
    recall = [compare_files(a, b, metric="recall:no", positive=name, resamples=50).comparison for name in CLASSES]
    assert recall[0].value_a == recall[1].value_a


def test_arms_of_one_file_are_compared(tmp_path: Path) -> None:
    both = write(tmp_path / "both.csv", rows_of(A[:1], arm="real", fold=0) + rows_of(B, arm="combined", fold=0))
    found = compare_files(both, both, arm_a="real", arm_b="combined", resamples=50)
    assert found.comparison == braingan.compare(TARGETS, A[:1], B, PATIENTS, resamples=50)
    assert found.comparison.runs == (1, 2)
    assert found.arms == ("real", "combined")


def test_runs_of_a_batch_count_as_one(tmp_path: Path, a: Path) -> None:
    """As those of one generator in a benchmark's predictions."""
    _, _, more, _ = study(runs=4)
    shared = [0, 1, 0, 1]
    rows = [row | {"batch": f"g{shared[row['seed']]}"} for row in rows_of(more)]
    found = compare_files(a, write(tmp_path / "b.csv", rows), resamples=50).comparison
    assert found == braingan.compare(TARGETS, A, more, PATIENTS, batches=(range(2), shared), resamples=50)
    assert found.runs == (2, 2)
    rows[-1]["batch"] = "g0"
    said = str(refusal(a, write(tmp_path / "wrong.csv", rows)))
    assert "run 3 is of the batches g0, g1; one for each run works" in said


def test_batches_of_different_repeats_are_different(tmp_path: Path, a: Path) -> None:
    _, _, more, _ = study(runs=4)
    rows = [row | {"run": row["seed"] // 2, "seed": row["seed"] % 2, "batch": 0} for row in rows_of(more)]
    found = compare_files(a, write(tmp_path / "b.csv", rows), resamples=50).comparison
    assert found.runs == (2, 2)
    assert found == braingan.compare(TARGETS, A, more, PATIENTS, batches=(range(2), [0, 0, 1, 1]), resamples=50)


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path: Path, a: Path, b: Path) -> None:
    rows = rows_of(B)
    shuffled = [rows[number] for number in np.random.default_rng(1).permutation(len(rows))]
    other = write(tmp_path / "other.csv", only(shuffled, "p_yes", "target", "file", "p_no", "seed", "patient"))
    first, second = (compare_files(a, path, metric="auroc", resamples=50).comparison for path in (b, other))
    for field, value in first.to_json().items():
        assert second.to_json()[field] == pytest.approx(value), field


@pytest.mark.parametrize(
    "form",
    [{"encoding": "utf-8-sig"}, {"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}, {"lineterminator": "\n\n"}],
)
def test_a_mark_at_the_beginning_other_line_ends_and_quotes_change_nothing(
    tmp_path: Path, a: Path, b: Path, form: dict[str, Any]
) -> None:
    other = write(tmp_path / "other.csv", rows_of(B), **form)
    assert compare_files(a, other, resamples=50).comparison == compare_files(a, b, resamples=50).comparison


def test_without_patients_files_are_taken_as_patients_and_the_result_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [
        write(tmp_path / "a.csv", [row | {"patient": ""} for row in rows_of(A)]),
        write(tmp_path / "b.csv", only(rows_of(B), "seed", "file", "target", "p_no", "p_yes")),
    ]
    found = compare_files(*files, resamples=200)
    names = [row["file"] for row in rows_of(A[:1])]
    assert found.comparison == braingan.compare(TARGETS, A, B, names, resamples=200)
    assert (found.grouped_by, found.notes) == ("file", (NO_PATIENTS.format("file"),))
    assert f"warning: {NO_PATIENTS.format('file')}" in str(found)
    assert "patients unknown" in str(found)
    assert NO_PATIENTS.format("file") in caplog.text


def test_patients_that_one_of_the_files_knows_are_those_of_both(tmp_path: Path, a: Path, b: Path) -> None:
    without = write(tmp_path / "without.csv", only(rows_of(B), "seed", "file", "target", "p_no", "p_yes"))
    whole = compare_files(a, b, resamples=50).comparison
    assert compare_files(a, without, resamples=50).comparison == whole
    swapped = compare_files(without, a, resamples=50)
    assert swapped.comparison.difference == pytest.approx(-whole.difference)
    assert swapped.grouped_by == "patient"


def test_folds_are_those_of_the_images(tmp_path: Path, b: Path) -> None:
    rows = [row | {"fold": int(row["patient"][1:]) % 2} for row in rows_of(A)]
    folded = write(tmp_path / "a.csv", rows)
    found = compare_files(folded, b, metric="auroc", resamples=50).comparison
    assert found == braingan.compare(TARGETS, A, B, PATIENTS, metric="auroc", folds=PATIENTS % 2, resamples=50)
    other = write(tmp_path / "other.csv", [row | {"fold": row["fold"] + row["seed"]} for row in rows])
    with pytest.raises(
        DataError, match=r"other.csv, line 62: .* has fold '\d', and '\d' in .*other.csv, line 2; the same"
    ):
        compare_files(other, b, metric="auroc", resamples=50)
    assert compare_files(other, b, resamples=50).comparison == braingan.compare(TARGETS, A, B, PATIENTS, resamples=50)


def test_repeats_of_a_cross_validation_have_folds_of_their_own(tmp_path: Path) -> None:
    dealt = np.random.default_rng(0).integers(2, size=(len(A), 1 + PATIENTS.max()))[:, PATIENTS]

    def written(name: str, runs: np.ndarray) -> Path:
        rows = rows_of(runs)
        return write(tmp_path / name, [row | {"fold": int(dealt.ravel()[at])} for at, row in enumerate(rows)])

    found = compare_files(written("a.csv", A), written("b.csv", B), metric="auroc", resamples=50).comparison
    assert found == braingan.compare(TARGETS, A, B, PATIENTS, metric="auroc", folds=dealt, resamples=50)


def test_runs_are_told_by_run_or_seed_or_both_and_images_by_file_or_image(tmp_path: Path, a: Path, b: Path) -> None:
    named = [{"image": row.pop("file"), "run": "x", **row} for row in rows_of(B)]
    other = write(tmp_path / "other.csv", named)
    assert compare_files(a, other, resamples=50).comparison == compare_files(a, b, resamples=50).comparison
    single = write(tmp_path / "single.csv", only(rows_of(B[:1]), "file", "target", "p_no", "p_yes"))
    assert compare_files(a, single, resamples=50).comparison.runs == (2, 1)


def test_three_classes_of_which_one_has_no_image_are_compared(tmp_path: Path) -> None:
    rows = [rows_of(given) for given in (A, B)]
    files = [
        write(tmp_path / name, [row | {"p_maybe": 0} for row in own]) for name, own in zip("ab", rows, strict=True)
    ]
    found = compare_files(*files, resamples=50)
    assert (found.classes, found.positive) == (("maybe", "no", "yes"), None)
    assert found.comparison.value_a == braingan.compare(TARGETS, A, B, PATIENTS, resamples=50).value_a


def test_a_result_is_json_with_the_names_of_the_files(a: Path, b: Path) -> None:
    found = compare_files(a, b, metric="f1:yes", resamples=50)
    value = found.to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["files"] == [str(a), str(b)]
    assert value["metric"] == "f1:yes"
    assert value["low"] == found.comparison.low
    assert value["runs"] == [2, 2]


def test_the_text_says_what_was_found_and_what_the_interval_does_not_contain(tmp_path: Path, a: Path, b: Path) -> None:
    found = compare_files(a, b, resamples=200)
    text, numbers = str(found), found.comparison
    assert f"macro_f1, b minus a: {numbers.difference:+.4f}, 95 % interval {numbers.low:+.4f} to" in text
    assert f"a  {numbers.value_a:.4f}  {a}, 2 runs" in text
    assert "10 patients, 60 images; classes no, yes (positive: yes)" in text
    assert "contains the choice of patients and the luck of training. It does not contain other hospitals" in text
    single = [write(tmp_path / f"{name}1.csv", rows_of(given[:1])) for name, given in (("a", A), ("b", B))]
    text = str(compare_files(*single, metric="brier", resamples=50))
    assert "a1.csv, 1 run\n" in text
    assert "It does not contain the luck of training" in text
    assert "a negative difference favours b" in text


HEADER = "file,target,patient,p_no,p_yes\n"
GOOD = HEADER + "".join(f"{n}.png,{CLASSES[n % 2]},P{n // 2},0.3,0.7\n" for n in range(8))
PLAIN = "file,target,patient,predicted\n" + "".join(f"{n}.png,{CLASSES[n % 2]},P{n // 2},yes\n" for n in range(8))
LAST = "7.png,yes,P3,0.3,0.7\n"

# what a message says -> the text of b, beside GOOD as a
REFUSED: dict[str, str | bytes] = {
    "b.csv is empty; a CSV file of predictions works": "",
    "b.csv is empty; a CSV file": "\n\r\n",
    "b.csv has no rows; one for each image": HEADER,
    "b.csv cannot be read as CSV in UTF-8": GOOD.encode("utf-16"),
    "b.csv, line 9: field larger than field limit .*; is a quote left open": GOOD.replace("7.png", "7" * 200_000),
    "b.csv, line 9: unexpected end of data; is a quote left open": GOOD.replace("7.png", '"7.png'),
    "b.csv, line 3: file '0.png,no.*holds a control character; is a quote": GOOD.replace("0.png", '"0.png').replace(
        "1.png", '1.png"'
    ),
    "b.csv, line 9: file '7.?png' holds a control character": GOOD.replace("7.png", "7\x00png"),
    "separated by ';', and commas": GOOD.replace(",", ";").replace(".", ","),
    "its columns are file;target;patient;.*: it seems to be separated by ';', and commas work": GOOD.replace(",", ";"),
    r"it seems to be separated by '\\t', and commas work": GOOD.replace(",", "\t"),
    "b.csv has no column target; its columns are file, patient, p_no, p_yes: a column of": GOOD.replace("target,", ""),
    "b.csv has no column predicted or p_<class>": "file,target\n0.png,no\n",
    "b.csv has probabilities of one class; a column p_<class> for each": "file,target,p_yes\n0.png,no,0.5\n",
    "b.csv has the column 'p_no' twice": GOOD.replace("p_yes", "p_no"),
    "b.csv has a column 'Patient ID'; patients are read from 'patient'": GOOD.replace("patient", "Patient ID"),
    "b.csv, line 9: 4 cells for 5 columns": GOOD.replace("7.png,yes,P3,", "7.png,yes,"),
    "b.csv, line 9: 6 cells for 5 columns": GOOD.replace("7.png,", "7.png,8,"),
    "b.csv, line 9: file is empty": GOOD.replace("7.png", " "),
    "b.csv, line 9: target is empty": GOOD.replace("7.png,yes", "7.png,"),
    "b.csv, line 9: patient is empty": GOOD.replace("7.png,yes,P3", "7.png,yes,"),
    "b.csv, line 9: nan, 0.7 are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,nan,0.7\n"),
    "b.csv, line 9: inf, -inf are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,inf,-inf\n"),
    "b.csv, line 9: , 0.7 are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,,0.7\n"),
    "b.csv, line 9: low, high are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,low,high\n"),
    "b.csv, line 9: 0.3, 0.6 with the sum 0.9 are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,0.3,0.6\n"),
    "b.csv, line 9: -0.3, 1.3 with the sum 1 are no probabilities": GOOD.replace(LAST, "7.png,yes,P3,-0.3,1.3\n"),
    "b.csv, line 10: 7.png has a row already, line 9; if these are training runs, a column run": GOOD + LAST,
    "b.csv, line 9: target 'Yes' has no column p_<class>; the classes are no, yes": GOOD.replace(
        "7.png,yes", "7.png,Yes"
    ),
    "b.csv, line 9: predicted 'maybe' has no column p_<class>": PLAIN.replace("P3,yes\n", "P3,maybe\n").replace(
        "6.png,no,P3,maybe", "6.png,no,P3,no"
    ),
    "has a column p_maybe and .*a.csv has not": GOOD.replace("p_yes", "p_maybe"),
    "a.csv, line 9: 7.png is not in .*b.csv; a and b need the same images": GOOD.replace(LAST, ""),
    "a.csv, line 8: 6.png and 1 more are not in .*b.csv": GOOD.replace(LAST, "").replace("6.png", "60.png"),
    "b.csv, line 10: 8.png is not in .*a.csv; a and b": GOOD + LAST.replace("7", "8", 1),
    "no image in common: a has '0.png', b has 'test/0.png'": GOOD.replace(".png", ".png").replace("\n", "\ntest/", 8),
    "b.csv, line 9: 7.png has target 'no', and 'yes' in .*a.csv, line 9; the same target": GOOD.replace(
        "7.png,yes", "7.png,no"
    ),
    "b.csv, line 9: 7.png has patient 'P4', and 'P3' in .*a.csv, line 9": GOOD.replace("yes,P3", "yes,P4"),
}


def refusal(a: Path, b: Path, **options: Any) -> BrainganError:
    with pytest.raises(BrainganError) as caught:
        compare_files(a, b, resamples=10, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return caught.value


@pytest.mark.parametrize("message", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, message: str) -> None:
    content = REFUSED[message]
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text(GOOD)
    b.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = refusal(a, b)
    assert isinstance(error, DataError)
    with pytest.raises(DataError, match=message):
        raise error


def test_a_predicted_class_that_no_image_has_is_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text(PLAIN)
    b.write_text(PLAIN.replace("yes\n", "Yes\n"))
    assert "b.csv, line 2: predicted 'Yes' is no image's target; the classes are no, yes" in str(refusal(a, b))


def test_runs_of_other_images_are_refused(tmp_path: Path, b: Path) -> None:
    less = write(tmp_path / "less.csv", rows_of(A)[:-1])
    assert "less.csv, line 61: " in str(refusal(less, b))
    assert " is not in run 1; all runs need the same images" in str(refusal(less, b))
    more = write(tmp_path / "more.csv", rows_of(A)[1:])
    assert "more.csv, line 61: " in str(refusal(more, b))
    assert " is not in run 0; all runs need the same images" in str(refusal(more, b))
    twice = write(tmp_path / "twice.csv", [*rows_of(A), rows_of(A)[-1]])
    assert "has a row already, line 121; one row in run 1 works" in str(refusal(twice, b))


def test_runs_that_contradict_each_other_are_refused(tmp_path: Path, b: Path) -> None:
    rows = rows_of(A)
    rows[-1]["patient"] = "another"
    assert "has patient 'another', and " in str(refusal(write(tmp_path / "other.csv", rows), b))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "f2"}, "metric 'f2' was asked; macro_f1, "),
        ({"metric": "f1:1"}, "metric 'f1:1' was asked; the classes are no, yes"),
        ({"metric": "f1"}, "metric 'f1' was asked; macro_f1"),
        ({"positive": "maybe"}, "positive class 'maybe' was asked and the classes are no, yes; one of two"),
        ({"arm_a": "real"}, "--arm-a real was asked and .*a.csv has no column arm; leave --arm-a out"),
        ({"confidence": 95}, "confidence 95 was asked"),
    ],
)
def test_settings_that_cannot_work_are_refused(a: Path, b: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        compare_files(a, b, **options)


def test_arms_must_be_asked_for_where_there_are_several(tmp_path: Path, b: Path) -> None:
    both = write(tmp_path / "both.csv", rows_of(A, arm="real") + rows_of(B, arm="combined"))
    assert "both.csv has the arms real, combined; --arm-a NAME takes one of them" in str(refusal(both, b))
    assert "--arm-b synthetic was asked; " in str(refusal(b, both, arm_b="synthetic"))
    assert "was given twice; give two files, or --arm-a and --arm-b" in str(refusal(both, both))
    alone = write(tmp_path / "alone.csv", rows_of(A, arm="real"))
    assert compare_files(alone, b, resamples=10).comparison.runs == (2, 2)


def test_measures_of_probabilities_are_refused_for_classes(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text(GOOD)
    b.write_text(PLAIN)
    error = refusal(a, b, metric="auroc")
    assert isinstance(error, SettingsError)
    assert "metric auroc was asked and" in str(error)
    assert "b.csv has no probabilities; columns p_<class> work" in str(error)


def test_what_the_statistics_refuse_names_the_classes(tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    text = "file,target,patient,predicted\n1.png,no,P1,no\n2.png,yes,P2,no\n3.png,no,P3,no\n"
    a.write_text(text)
    b.write_text(text)
    assert "1 patient has images of class 1; 2 or more work, or the metric accuracy (class 0 is no, 1 is yes)" in str(
        refusal(a, b)
    )


def test_what_is_no_file_is_refused(tmp_path: Path, b: Path) -> None:
    assert str(refusal(b, tmp_path / "nowhere.csv")).endswith(
        "nowhere.csv does not exist; give a CSV file of predictions"
    )
    (tmp_path / "answer").mkdir()
    write(tmp_path / "answer" / "predictions.csv", rows_of(A))
    assert f"is no file; give {tmp_path / 'answer' / 'predictions.csv'}" in str(refusal(tmp_path / "answer", b))


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_two_seconds(tmp_path: Path) -> None:
    row = "real,0,{},no_tumor/TCGA_CS_{}.png,TCGA_{},no_tumor,0.993675,0.006325\n"
    path = tmp_path / "many.csv"
    lines = (row.format(number // 20_000, number % 20_000, number % 200) for number in range(100_000))
    path.write_text("arm,fold,seed,file,patient,target,p_no_tumor,p_tumor\n" + "".join(lines))
    started = time.process_time()
    table = read_predictions(path, "real", "--arm-a")
    assert time.process_time() - started < 2
    assert len(table["file"]) == 100_000
