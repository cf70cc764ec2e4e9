from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan.reporting.table import markdown_table, terminal_table

Maker = Any  # tests/reporting/conftest.py
ROOT = Path(__file__).parents[2]
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
    runs = [own["per_class"]["tumor"]["f1"] for own in result.scores if own["arm"] == "combined"]
    assert row_of(markdown_table(result), "combined")[-1] == f"{sum(runs) / 3:.3f}"


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_the_verdict_stands_before_the_tables(make_result: Maker, table: Any) -> None:
    result = make_result()
    shown = " ".join(table(result).split())
    assert shown.index("Verdict: ") < shown.index(result.primary["reason"]) < shown.index("macro precision")
    assert f"macro F1 {100 * result.primary['difference']:+.1f} points" in shown


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_every_difference_has_its_interval_and_family(make_result: Maker, table: Any) -> None:
    result = make_result()
    lines = table(result).splitlines()
    for own in result.comparisons:
        name = own["arm"] if own["family"] == "declared" else f"{own['family']}: "
        interval = f"{100 * own['low']:+.1f} to {100 * own['high']:+.1f}"
        assert any(line.lstrip("| ").startswith(name) and interval in line for line in lines), own
    starts = [line.lstrip("| ").partition(": ")[0] for line in lines]
    assert starts.index("primary") < starts.index("exploratory")


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_what_the_images_did_without_the_augmentation_is_told(alike_result: Any, table: Any) -> None:
    shown = table(alike_result)
    assert (
        "With the same augmentation on both sides, against real+classic: -1.2 points (-3.1 to 0.0), exploratory."
        in " ".join(shown.split())
    )
    row = next(line for line in shown.splitlines() if "macro F1, against real+classic" in line)
    assert row.lstrip("| ").startswith("exploratory: ")


def test_an_arm_of_the_declared_family_that_helps_is_told_beside_the_verdict(make_result: Maker) -> None:
    result = make_result()
    said = "In the declared family, against real images alone:"
    assert said not in terminal_table(replace(result, comparisons=[
        own | {"verdict": "under-powered"} for own in result.comparisons]))  # fmt: skip
    helping = [own | ({"verdict": "helps", "difference": 0.037, "low": 0.016, "high": 0.059}
                      if own["arm"] == "combined" and own["family"] == "declared" else {"verdict": "under-powered"})
               for own in result.comparisons]  # fmt: skip
    assert f"{said} combined helps (+3.7 points, +1.6 to +5.9)." in " ".join(
        terminal_table(replace(result, comparisons=helping)).split())  # fmt: skip


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_what_is_not_finished_is_said_first(make_result: Maker, table: Any) -> None:
    shown = table(make_result(notes=["PARTIAL: 3 of 9 classifiers are finished.", "Few patients."]))
    assert shown.index("PARTIAL") < shown.index("Verdict: ") < shown.index("Few patients.")
    assert shown.count("PARTIAL") == 1


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


def test_many_arms_at_many_ratios_fit_100_columns(make_result: Maker) -> None:
    result, long = make_result(), "combined+classic@0.25"
    renamed = {"combined": long}
    scores = [own | {"arm": renamed.get(own["arm"], own["arm"])} for own in result.scores]
    runs = [own | {"arm": renamed.get(own["arm"], own["arm"])} for own in result.runs]
    summary = {renamed.get(arm, arm): own for arm, own in result.summary.items()}
    shown = terminal_table(make_result(scores=scores, runs=runs, summary=summary))
    assert long in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_without_comparisons_the_difference_is_taken_within_each_seed(make_result: Maker) -> None:
    result = make_result(seeds=2, comparisons=[], choice=None)
    f1 = {(own["arm"], own["seed"]): own["macro"]["f1"] for own in result.scores}
    gains = [f1["combined", seed] - f1["real", seed] for seed in (0, 1)]
    spread = abs(gains[0] - gains[1]) / 2**0.5
    assert f"combined - real: {sum(gains) / 2:+.3f} ± {spread:.3f} over 2 seeds" in terminal_table(result)
    assert "combined - real" not in terminal_table(make_result(seeds=2))


def test_without_the_real_arm_no_difference_is_shown(make_result: Maker) -> None:
    result = make_result()
    alone = make_result(
        runs=[run for run in result.runs if run["arm"] == "combined"],
        scores=[own for own in result.scores if own["arm"] == "combined"],
        summary={"combined": result.summary["combined"]},
        comparisons=[],
        choice=None,
    )
    assert "combined - real" not in terminal_table(alone)


@pytest.mark.parametrize("table", [terminal_table, markdown_table])
def test_it_says_what_was_measured_and_how_far_to_believe_it(make_result: Maker, table: Any) -> None:
    shown = " ".join(table(make_result()).split())
    assert "scans; dcgan generator at 64 px, ratio 0.5; resnet10t classifier; 3 seeds" in shown
    assert "16 test images of 4 patients, split by patient" in shown
    assert "whether a difference is more than chance is said by the intervals" in shown
    assert "All seeds used images of one and the same generator" in shown
    assert "Research software, not a medical device." in shown
    assert "- Four test patients are few." in shown
    assert "- The scanner changed half-way." in shown


def test_without_patients_it_says_that_files_were_split(make_result: Maker) -> None:
    splits = make_result().splits | {"grouped_by": "file"}
    assert "16 test images, split by file (no patients known)" in markdown_table(make_result(splits=splits))


def test_a_test_folder_is_named(make_result: Maker) -> None:
    given = make_result().settings | {"test": "other-hospital"}
    assert "16 test images from other-hospital" in markdown_table(make_result(settings=given))


def test_a_result_of_version_0_1_is_shown_without_what_it_lacks() -> None:
    result = braingan.BenchmarkResult.load(ROOT / "benchmarks" / "results" / "lgg-flair.json")
    shown = terminal_table(result)
    assert "Macro F1, combined - real: -0.049 ± 0.004 over 3 seeds." in shown
    assert "Of probabilities" not in shown
    assert row_of(markdown_table(result), "real")[:4] == ["real", "1027", "0", "0.897±0.013"]


def test_names_cannot_move_the_cursor_or_break_the_markdown(make_result: Maker) -> None:
    result = make_result(("a|b", "\x1b[2Jc"))
    assert "\x1b" not in terminal_table(result)
    head, rule = [line for line in markdown_table(result).splitlines() if line.startswith("|")][:2]
    assert head.replace(r"\|", "").count("|") == rule.count("|")
