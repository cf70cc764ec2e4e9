from typing import Any

import pytest

from braingan.reporting.table import markdown_table, terminal_table

Maker = Any  # tests/report/conftest.py
FOUR = ("glioma", "meningioma", "no_tumor", "pituitary")


def row_of(table: str, arm: str) -> list[str]:
    """The cells of the first row of an arm."""
    line = next(line for line in table.splitlines() if line.lstrip("| ").startswith(arm))
    return line.replace("|", " ").replace(" ± ", "±").split()


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_the_numbers_are_those_of_the_summary(make_result: Maker, table: Any) -> None:
    result = make_result()
    shown = table(result)
    for arm, scores in result.summary.items():
        expected = [
            f"{scores[key]['mean']:.3f}±{scores[key]['std']:.3f}" for key in ("precision", "recall", "f1", "accuracy")
        ]
        assert row_of(shown, arm)[3:7] == expected


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_images_are_counted_by_kind(make_result: Maker, table: Any) -> None:
    shown = table(make_result())
    assert [row_of(shown, arm)[1:3] for arm in ("real", "synthetic", "combined")] == [
        ["48", "0"],
        ["0", "24"],
        ["48", "24"],
    ]


def test_class_f1_is_the_mean_over_runs(make_result: Maker) -> None:
    result = make_result()
    runs = [run["per_class"]["tumor"]["f1"] for run in result.runs if run["arm"] == "combined"]
    assert row_of(markdown_table(result), "combined")[-1] == f"{sum(runs) / 3:.3f}"


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_a_single_seed_shows_no_spread_and_says_so(make_result: Maker, table: Any) -> None:
    shown = table(make_result(seeds=1))
    assert not any("±" in cell for arm in ("real", "synthetic", "combined") for cell in row_of(shown, arm))
    assert "One seed shows no spread" in shown


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("classes", [("no", "yes"), ("no_tumor", "tumor"), FOUR])
def test_the_terminal_table_fits_100_columns(make_result: Maker, classes: tuple[str, ...], seeds: int) -> None:
    shown = terminal_table(make_result(classes, seeds, notes=["word " * 60]))
    assert max(map(len, shown.splitlines())) <= 100
    assert all(f"F1 {name}" in shown for name in classes)


def test_the_difference_is_taken_within_each_seed(make_result: Maker) -> None:
    result = make_result(seeds=2)
    f1 = {(run["arm"], run["seed"]): run["macro"]["f1"] for run in result.runs}
    gains = [f1["combined", seed] - f1["real", seed] for seed in (0, 1)]
    spread = abs(gains[0] - gains[1]) / 2**0.5
    assert f"combined - real: {sum(gains) / 2:+.3f} ± {spread:.3f} over 2 seeds" in terminal_table(result)


def test_without_the_real_arm_no_difference_is_shown(make_result: Maker) -> None:
    result = make_result()
    alone = make_result(
        runs=[run for run in result.runs if run["arm"] == "combined"], summary={"combined": result.summary["combined"]}
    )
    assert "combined - real" not in terminal_table(alone)


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_it_says_what_was_measured_and_how_far_to_believe_it(make_result: Maker, table: Any) -> None:
    shown = " ".join(table(make_result()).split())
    assert "scans; dcgan generator at 64 px, ratio 0.5; resnet10t classifier; 3 seeds" in shown
    assert "16 test images of 4 patients, split by patient" in shown
    assert "no significance test" in shown
    assert "a difference about as large as the spread means nothing" in shown
    assert "Research software, not a medical device." in shown
    assert "- Four test patients are few." in shown
    assert "- The scanner changed half-way." in shown


def test_without_patients_it_says_that_files_were_split(make_result: Maker) -> None:
    split = make_result().split | {"grouped_by": "file"}
    assert "16 test images, split by file (no patients known)" in markdown_table(make_result(split=split))


def test_a_test_folder_and_a_given_generator_are_named(make_result: Maker) -> None:
    given = make_result().settings | {"test": "other-hospital", "generator": "run1"}
    shown = markdown_table(make_result(settings=given))
    assert "16 test images from other-hospital" in shown
    assert "One given generator serves every seed" in shown


def test_names_cannot_move_the_cursor_or_break_the_markdown(make_result: Maker) -> None:
    result = make_result(("a|b", "\x1b[2Jc"))
    assert "\x1b" not in terminal_table(result)
    head, rule = [line for line in markdown_table(result).splitlines() if line.startswith("|")][:2]
    assert head.replace(r"\|", "").count("|") == rule.count("|")
