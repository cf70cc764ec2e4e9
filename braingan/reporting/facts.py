"""What the tables and the page both say of a result: its words and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from braingan.data.folds import LEFT_OUT
from braingan.data.split import PARTS, UNITS
from braingan.evaluation.positive import positive_label
from braingan.experiment.result import BASELINE, BenchmarkResult, mean_and_std, summarise

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1", "accuracy": "accuracy"}
METRICS = {"macro_f1": "macro F1", "auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}
FAMILIES = ("primary", "declared", "exploratory")
PARTIAL = "PARTIAL"  # how the note begins that not all is finished
UNKNOWN = "–"  # noqa: RUF001 - a dash, as tables have it

SPREAD = (
    "Scores are means ± standard deviations over {runs}; whether a difference is more than chance is said by the "
    "intervals, which are over {over}."
)
NO_VERDICT = (
    "No verdict: it takes an arm with synthetic images, one without and validation images; a difference about as large "
    "as the spread over seeds means nothing."
)
NOT_COMPARED = "No verdict: both sides were run, but they could not be compared; the notes say why."
ONE_SPLIT = "All seeds share one split: only its test {unit}s count, and another split would give other numbers"
MORE_FOLDS = "; --folds 5 tests every {unit} once"
ONE_SEED = "One seed shows no spread at all; --seeds 3 or more does."
ONE_GENERATOR = (
    "All seeds used images of one and the same generator: what another training of it would change is not included in "
    "any interval; --generators 3 includes it."
)
GIVEN_GENERATOR = (
    "The generator was given: what another training of it would change is not included in any interval; --generators 3 "
    "instead of --generator includes it."
)
GENERATOR_A_FOLD = (
    "Each fold has one generator: what another training of it would change is included in the intervals only as far as "
    "folds differ; --generators 3 includes it."
)
NO_DEVICE = "Research software, not a medical device."


def score_text(score: Mapping[str, float | None]) -> str:
    """Mean and standard deviation as a reader wants them.

    >>> score_text({"mean": 0.8121, "std": 0.0131}), score_text({"mean": 0.8, "std": None})
    ('0.812 ± 0.013', '0.800')
    """
    if score["mean"] is None:
        return UNKNOWN
    spread = "" if score["std"] is None else f" ± {score['std']:.3f}"
    return f"{score['mean']:.3f}{spread}"


def signed_text(score: Mapping[str, float | None]) -> str:
    """A difference, with its sign.

    >>> signed_text({"mean": 0.02, "std": 0.01}), signed_text({"mean": -0.02, "std": None})
    ('+0.020 ± 0.010', '-0.020')
    """
    return ("" if (score["mean"] or 0) < 0 else "+") + score_text(score)


def points_text(value: float) -> str:
    """A difference in hundredths of the measure.

    >>> points_text(0.0314), points_text(-0.00001)
    ('+3.1', '0.0')
    """
    shown = f"{100 * value:+.1f}"
    return shown[1:] if shown in {"+0.0", "-0.0"} else shown


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def counted(names: Sequence[str]) -> str:
    """Names with how often each occurs.

    >>> counted(["real", "real", "natural"]), counted(["real"])
    ('real in 2 folds, natural in 1 fold', 'real')
    """
    counts = Counter(names)
    if len(counts) < 2:
        return "".join(counts)
    return ", ".join(f"{name} in {plural(count, 'fold')}" for name, count in counts.most_common())


def scored(result: BenchmarkResult) -> list[dict[str, Any]]:
    """Scores over the images of all folds; where there are none (an earlier version), those of the single runs."""
    return result.scores or [{"repeat": run.get("fold", 0)} | run for run in result.runs]


def summary(result: BenchmarkResult) -> dict[str, Any]:
    """Arm -> measure -> mean and standard deviation."""
    return result.summary or summarise(scored(result))


def scores_of(result: BenchmarkResult, arm: str) -> list[dict[str, Any]]:
    """The scores of one arm."""
    return [entry for entry in scored(result) if entry["arm"] == arm]


def runs_of(result: BenchmarkResult, arm: str) -> list[dict[str, Any]]:
    """The runs of one arm, in the order in which they ran."""
    return [run for run in result.runs if run["arm"] == arm]


def images_text(result: BenchmarkResult, arm: str, key: str) -> str:
    """How many training images an arm had: one number, or from-to where runs differ."""
    counts = sorted({int(run[key]) for run in runs_of(result, arm)})
    if not counts:
        return UNKNOWN
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def class_f1(result: BenchmarkResult, arm: str) -> dict[str, list[float]]:
    """F1 of each class over the images of all folds, one value for each repeat and seed."""
    own = scores_of(result, arm)
    return {name: [entry["per_class"][name]["f1"] for entry in own] for name in result.classes}


def class_f1_text(result: BenchmarkResult, arm: str) -> list[str]:
    """F1 of each class, the mean over runs."""
    return [f"{np.mean(values):.3f}" if values else UNKNOWN for values in class_f1(result, arm).values()]


def difference(result: BenchmarkResult) -> dict[str, float | None] | None:
    """Macro F1 of `combined` minus `real`, each run against the one of the same seed.

    For results without comparisons, which say it better; None for these, and where an arm is missing.
    """
    if result.comparisons:
        return None
    f1 = {(own["arm"], own["repeat"], own["seed"]): own["macro"]["f1"] for own in scored(result)}
    pairs = [(value, f1.get(("real", *at))) for (arm, *at), value in f1.items() if arm == "combined"]
    gains = [combined - real for combined, real in pairs if real is not None]
    return mean_and_std(gains) if gains else None


def seeds(result: BenchmarkResult) -> int:
    """How many seeds ran."""
    return len({run["seed"] for run in result.runs})


def runs_per_arm(result: BenchmarkResult) -> int:
    """Over how many runs (repeats and seeds) the scores of an arm are spread, at most."""
    counts = Counter(entry["arm"] for entry in scored(result))
    return max(counts.values(), default=0)


def caveats(result: BenchmarkResult) -> list[str]:
    """How far the numbers can be believed: what every reader must be told, whatever the result."""
    runs = "repeats and seeds" if result.folds > result.folds_a_repeat else "seeds"
    covered = result.primary is None or result.primary.get("covers_runs", True)
    spread = SPREAD.format(runs=runs, over=f"{unit_of(result)}s" + (f" and {runs}" if covered else " alone"))
    said = [spread if result.primary else NOT_COMPARED if result.choice else NO_VERDICT]
    if runs_per_arm(result) == 1:
        said.append(ONE_SEED)
    elif result.folds == 1:
        settings = result.settings
        given = settings.get("test") or settings.get("generator") or result.splits.get("seed") is None
        more = "" if given or result.folds_a_repeat > 1 else MORE_FOLDS  # the latter: folds that are not finished
        said.append(f"{ONE_SPLIT}{more}.".format(unit=unit_of(result)))
    if result.generators and result.settings.get("generator"):
        said.append(GIVEN_GENERATOR)
    elif generator_a_fold(result):
        said.append(ONE_GENERATOR if result.folds == 1 else GENERATOR_A_FOLD)
    return said


def generator_a_fold(result: BenchmarkResult) -> bool:
    """Whether each fold has one generator, so that its luck is that of the fold."""
    return len({(own.get("fold", 0), own["seed"]) for own in result.generators}) == result.folds


def metric_text(name: str) -> str:
    """How people call a measure."""
    return METRICS.get(name, name.replace("_", " "))


def contrast_text(comparison: Mapping[str, Any]) -> str:
    """The measure of a contrast with the chosen side, and its baseline where that is another than the best without."""
    against = "" if comparison["baseline"] == BASELINE else f", against {comparison['baseline']}"
    return f"{metric_text(comparison['metric'])}{against}"


def families(result: BenchmarkResult) -> dict[str, list[dict[str, Any]]]:
    """The comparisons of each family that there is: the primary contrast, what was declared, what is exploratory."""
    found = {name: [own for own in result.comparisons if own["family"] == name] for name in FAMILIES}
    return {name: listed for name, listed in found.items() if listed}


def by_arm(comparisons: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that are against real images alone, by arm."""
    return {own["arm"]: own for own in comparisons if own["baseline"] == "real"}


def worth_text(result: BenchmarkResult) -> str:
    """What synthetic images are worth on the learning curve: the exchange rate."""
    curve = result.curve or {}
    unit, worth = unit_of(result, "training"), curve["worth"]
    rise = f"Twice the training {unit}s give {points_text(curve['per_doubling'])} points of macro F1 on this curve."
    if result.primary is None:
        return f"{rise} There is no primary contrast, and so nothing to exchange."
    if worth["patients"] is None:
        return f"{rise} An exchange rate cannot be told: the curve does not rise, or the number would be a guess."
    ends = [UNKNOWN if worth[key] is None else f"{worth[key]:+g}" for key in ("low", "high")]
    return (
        f"{rise} {_synthetic_images(result)} change as much as about {worth['patients']:+g} training {unit}s would "
        f"({ends[0]} to {ends[1]} at the ends of the contrast's interval, on this very line; that the line is one of "
        "several that would fit is not in it): an order of magnitude, no more."
    )


def _synthetic_images(result: BenchmarkResult) -> str:
    """How many synthetic images the primary contrast adds to a fold, in words."""
    arms = (result.choice or {}).get("augmented", [])
    counts = [own["n_synthetic"] for own in result.runs
              if (fold := own.get("fold", 0)) < len(arms) and own["arm"] == arms[fold]]  # fmt: skip
    return f"{np.mean(counts):.0f} synthetic images" if counts else "The synthetic images of the primary contrast"


def interval_text(comparison: Mapping[str, Any]) -> str:
    """Both ends in points."""
    return f"{points_text(comparison['low'])} to {points_text(comparison['high'])}"


def confidence_text(comparison: Mapping[str, Any]) -> str:
    """Such as `95 %`."""
    return f"{100 * comparison.get('confidence', 0.95):g} %"


def p_text(value: float | None) -> str:
    """A p-value, with no more digits than it can bear.

    >>> p_text(0.4227), p_text(0.00002), p_text(None)
    ('0.42', '< 0.001', '–')
    """
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def verdict_line(result: BenchmarkResult) -> str:
    """The verdict in a few words; nothing where there is none."""
    primary = result.primary
    if primary is None:
        return ""
    ratio = "" if result.recommended_ratio is None else f" Recommended ratio: {result.recommended_ratio:g}."
    return (
        f"Verdict: {primary['verdict']}. {primary['arm'].capitalize()} against {primary['baseline']}: "
        f"{metric_text(primary['metric'])} {points_text(primary['difference'])} points "
        f"({confidence_text(primary)} interval {interval_text(primary)}), p {p_text(primary['p_holm'])}.{ratio}"
    )


def tested_files(result: BenchmarkResult) -> list[dict[str, Any]]:
    """The images that scores come from, of all folds."""
    files, folds = result.splits["files"], result.splits["folds"]
    return [files[place] for place in dict.fromkeys(place for fold in folds for place in fold["test"])]


def chosen_text(result: BenchmarkResult) -> list[str]:
    """What was chosen on validation images, a line a side; what the images do alone; what else is sure."""
    if result.choice is None:
        return []
    sides, unit = (("With synthetic images", "augmented"), ("Best without", "baseline")), unit_of(result, "training")
    chosen = [f"{name} (chosen on validation {unit}s in each fold): {counted(result.choice[side])}."
              for name, side in sides]  # fmt: skip
    alike = [
        f"With the same augmentation on both sides, against {own['baseline']}: {points_text(own['difference'])} points "
        f"({interval_text(own)}), exploratory."
        for own in result.comparisons
        if own["family"] == "exploratory" and own["baseline"] != BASELINE
    ]
    return chosen + alike + _declared_besides(result)


def _declared_besides(result: BenchmarkResult) -> list[str]:
    """A line on arms with synthetic images that help or hurt by the declared family, which the verdict is not about."""
    with_images = {run["arm"] for run in result.runs if run["n_synthetic"]}
    declared = [own for own in result.comparisons if own["family"] == "declared" and own["arm"] in with_images]
    sure = [f"{own['arm']} {own['verdict']} ({points_text(own['difference'])} points, {interval_text(own)})"
            for own in declared if own["verdict"] in ("helps", "hurts")]  # fmt: skip
    return [f"In the declared family, against real images alone: {', '.join(sure)}."] if sure else []


def ratios(result: BenchmarkResult) -> str:
    """The ratios that were tried; a result of an earlier version has one."""
    given = result.settings["ratio"]
    return ", ".join(f"{ratio:g}" for ratio in (given if isinstance(given, list) else [given]))


def unit_of(result: BenchmarkResult, part: str = "test") -> str:
    """What was resampled, in the singular: patients, where these are known. Of `training`, what learning counts."""
    return str(result.units.get(part, UNITS[result.splits["grouped_by"]]))


def positive(result: BenchmarkResult) -> int:
    """Label of the class that is looked for; results of earlier versions have the latter."""
    return positive_label(result.classes, result.settings["positive"]) if "positive" in result.settings else 1


def groups_in(files: Iterable[Mapping[str, Any]]) -> int:
    """How many patients (or files, where no patients are known) some images come from."""
    return len({file["group"] for file in files})


_TOGETHER = {"twins": " with twins kept together"}


def leaks(result: BenchmarkResult) -> list[str]:
    """What was allowed although it leaks, each as a line that cannot be overlooked."""
    return [f"LEAKAGE ALLOWED, these scores are no evidence: {line}" for line in result.leakage]


def alarms(result: BenchmarkResult) -> list[str]:
    """What comes before everything else: leaks, and that not all is finished."""
    return [*leaks(result), *(note for note in result.notes if note.startswith(PARTIAL))]


def notes(result: BenchmarkResult) -> list[str]:
    """What a reader must know, without the alarms."""
    return [note for note in result.notes if not note.startswith(PARTIAL)]


def test_images(result: BenchmarkResult) -> str:
    """What the scores come from, and what the split kept together."""
    files, kind = tested_files(result), result.splits["grouped_by"]
    images = plural(len(files), "test image")
    if result.settings.get("test"):
        images += f" from {result.settings['test']}"
    folds = f" in {result.folds} folds" if result.folds > 1 else ""
    if kind != "patient" and unit_of(result) == "patient":  # of a test folder
        return f"{images} of {plural(groups_in(files), 'patient')} (no patients known in training)"
    if kind != "patient":
        return f"{images}, split by file{_TOGETHER.get(kind, '')}{folds} (no patients known)"
    if unit_of(result) != "patient":  # of a test folder
        return f"{images} (of unknown patients)"
    return f"{images} of {plural(groups_in(files), 'patient')}, split by patient{folds}"


def description(result: BenchmarkResult) -> str:
    """In one line: what was measured, with what, on what."""
    settings = result.settings
    return "; ".join(
        [
            f"{settings['data']}",
            f"{settings['backend']} generator at {settings['size']} px, ratio {ratios(result)}"
            + (f", share {settings['share']:g}" if settings.get("share") is not None else ""),
            f"{settings['model']} classifier",
            plural(seeds(result), "seed"),
            test_images(result),
        ]
    )


def parts_of(result: BenchmarkResult) -> list[str]:
    """The parts of a fold; images that limits left out are one where there are any."""
    return [*PARTS, *([LEFT_OUT] if any(fold.get(LEFT_OUT) for fold in result.splits["folds"]) else [])]


def split_rows(result: BenchmarkResult, fold: int) -> list[tuple[str, list[tuple[int, int]]]]:
    """For each class, and for all together: (images, groups) of each part of a fold; see `parts_of`."""
    files, places = result.splits["files"], result.splits["folds"][fold]
    rows = []
    for name in (*result.classes, None):
        own = [[files[at] for at in places.get(part, ())] for part in parts_of(result)]
        chosen = [[file for file in part if name in (None, file["label"])] for part in own]
        rows.append((name or "all", [(len(part), groups_in(part)) for part in chosen]))
    return rows


def darkest(result: BenchmarkResult) -> str:
    """How many of the pixels are in the darkest bin of the histograms."""
    return " and ".join(f"{shares[0]:.0%} of {name} pixels" for name, shares in result.intensity.items() if shares)
