"""Figures of the scores, as SVG to put into a page; those of single predictions are in `curve_figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from braingan.experiment.result import BenchmarkResult
from braingan.reporting.arm_facts import ratio_of
from braingan.reporting.drawing import (
    COLOURS,
    INK,
    LINES,
    MARKERS,
    SOFT,
    colour,
    figure_of,
    legend,
    short,
    styled,
    svg,
)
from braingan.reporting.facts import class_f1, contrast_text, metric_text, scores_of, summary

SEED_COLOURS = COLOURS[::-1]  # not those of the arms, for as long as there are others
FAMILY_COLOURS = {"primary": COLOURS[0], "declared": INK, "exploratory": SOFT}
ROW = 0.27  # inches for each line of text
DOT: Any = {"s": 12, "color": "white", "edgecolor": INK, "linewidth": 0.7, "zorder": 4}


@styled
def forest_figure(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """Differences with their intervals: the primary contrast on top, the declared family, what is exploratory."""
    rows = _forest_rows(comparisons)
    figure = figure_of(0.75 + ROW * len(rows))
    axes = figure.subplots()
    for at, (_, own) in enumerate(rows):
        if own is None:
            continue
        family = FAMILY_COLOURS[own["family"]]
        middle, low, high = (100 * own[key] for key in ("difference", "low", "high"))
        axes.plot([low, high], [at, at], color=family, linewidth=2.4 if own["primary"] else 1.4,
                  linestyle=":" if own["family"] == "exploratory" else "-", solid_capstyle="butt")  # fmt: skip
        filled = "white" if own["family"] == "exploratory" else family
        axes.plot([middle], [at], marker="D" if own["primary"] else "o", markersize=7 if own["primary"] else 5,
                  color=family, markerfacecolor=filled)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    margin = next((100 * own["margin"] for _, own in rows if own and own.get("margin")), None)
    if margin:
        axes.axvspan(-margin, margin, color=COLOURS[4], alpha=0.18, linewidth=0)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    for text, (_, own) in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("bold" if own is None or own["primary"] else "normal")
        text.set_fontsize(9.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("difference in points (right: better)")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x")
    told = "; ".join(f"{label}: {100 * own['difference']:+.1f}" for label, own in rows if own)
    return svg(figure, "forest", f"Differences with intervals, in points; the table has the numbers. {told}")


def _forest_rows(comparisons: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any] | None]]:
    """Labels with what they stand for; None for a heading."""
    rows: list[tuple[str, Mapping[str, Any] | None]] = []
    of = {family: [own for own in comparisons if own["family"] == family] for family in FAMILY_COLOURS}
    rows += [(f"primary, {metric_text(own['metric'])}", own) for own in of["primary"]]
    if of["declared"]:
        rows.append((f"against {of['declared'][0]['baseline']}:", None))
        rows += [(short(own["arm"]), own) for own in of["declared"]]
    if of["exploratory"]:
        rows.append(("exploratory:", None))
        rows += [(contrast_text(own), own) for own in of["exploratory"]]
    return rows


@styled
def macro_figure(result: BenchmarkResult) -> str:
    """Macro F1 of each arm: means as bars, single runs as dots."""
    arms = list(summary(result))
    figure = figure_of(0.7 + ROW * max(3, len(arms)))
    axes = figure.subplots()
    values = [[entry["macro"]["f1"] for entry in scores_of(result, arm)] for arm in arms]
    axes.barh(range(len(arms)), [np.mean(own) for own in values], 0.62, color=COLOURS[0], alpha=0.45)
    for at, own in enumerate(values):
        if len(own) > 1:
            axes.errorbar(np.mean(own), at, xerr=np.std(own, ddof=1), color=INK, elinewidth=1.1, capsize=3, zorder=3)
        axes.scatter(own, at + _beside(len(own)), **DOT)
    _by_arm(axes, arms, "macro F1")
    return svg(figure, "macro", f"Macro F1 of each arm ({', '.join(arms)}); the table has the numbers")


@styled
def class_figure(result: BenchmarkResult) -> str:
    """F1 of each class and arm: means."""
    classes, arms = result.classes, list(summary(result))
    figure = figure_of(1.0 + ROW * max(3, len(arms)) + 0.2 * (len(classes) // 4))
    axes = figure.subplots()
    for number, name in enumerate(classes):
        means = [np.mean(class_f1(result, arm)[name]) for arm in arms]
        axes.plot(means, range(len(arms)), linestyle="none", marker=MARKERS[number % len(MARKERS)], markersize=6,
                  color=colour(number), alpha=0.9, label=short(name))  # fmt: skip
    _by_arm(axes, arms, "F1 of each class")
    axes.grid(axis="y", linewidth=0.4)
    legend(figure, axes, columns=3)
    return svg(figure, "classes", f"F1 of each class ({', '.join(classes)}) and arm; the table has the numbers")


def _by_arm(axes: Axes, arms: Sequence[str], measure: str) -> None:
    axes.set_yticks(range(len(arms)), [short(arm) for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlim(0, 1.01)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel(measure)
    axes.grid(axis="x")


def _beside(count: int) -> np.ndarray:
    """Where the dots of single runs stand around a bar, in the order of the runs."""
    return np.linspace(-0.2, 0.2, count) if count > 1 else np.zeros(1)


@styled
def ratio_figure(result: BenchmarkResult) -> str | None:
    """Macro F1 at each ratio, and the best without synthetic images at 0: on validation images, and on test images.

    None where nothing was chosen.
    """
    choice, primary = result.choice, result.primary
    if choice is None or primary is None:
        return None
    labels = [label for label in choice["scores"] if label.split("@")[0] == choice["arm"]]
    labels.sort(key=lambda label: ratio_of(result, label))
    best = [choice["scores"][name][fold] for fold, name in enumerate(choice["baseline"])]
    own = summary(result)
    if not labels or not all(label in own for label in labels):
        return None
    panels = {
        "validation (choices)": [best, *(choice["scores"][label] for label in labels)],
        "test (scores)": [[primary["value_a"]]]
        + [[entry["macro"]["f1"] for entry in scores_of(result, label)] for label in labels],
    }
    figure = figure_of(3.9)
    for number, (axes, (name, values)) in enumerate(zip(figure.subplots(2, sharex=True), panels.items(), strict=True)):
        means = [np.mean(entry) for entry in values]
        axes.plot(range(len(means)), means, color=colour(number), marker=MARKERS[number], linestyle=LINES[number],
                  markersize=6, zorder=3)  # fmt: skip
        for at, entry in enumerate(values):
            axes.scatter(np.full(len(entry), at), entry, **(DOT | {"zorder": 2}))
        axes.set_ylabel(f"macro F1\n{name}")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        axes.margins(x=0.08, y=0.15)
    ticks = ["0\nbest without", *(f"{ratio_of(result, label):g}" for label in labels)]
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel(f"synthetic images for each real one ({choice['arm']})")
    return svg(figure, "ratio", "Macro F1 at each ratio, on validation images and on test images")


@styled
def curve_figure(curve: Mapping[str, Any], unit: str = "patient") -> str:
    """Macro F1 over the number of training patients, or what else was resampled, with the line of the exchange rate."""
    patients, f1 = (np.array([point[key] for point in curve["points"]]) for key in ("patients", "macro_f1"))
    doublings = np.log2(patients)
    figure = figure_of(3.3)
    axes = figure.subplots()
    line = f1.mean() + curve["per_doubling"] * (doublings - doublings.mean())
    axes.plot(doublings, line, color=SOFT, linewidth=1, linestyle="--", label="fitted line")
    axes.plot(doublings, f1, color=COLOURS[0], marker="o", markersize=6, linewidth=1.4, label=curve["arm"])
    axes.set_xticks(doublings, [f"{value:g}" for value in patients])
    axes.set_xlabel(f"training {unit}s (mean over folds)")
    axes.set_ylabel("macro F1")
    axes.margins(x=0.08, y=0.2)
    axes.grid(axis="y")
    legend(figure, axes)
    return svg(figure, "curve", f"Macro F1 of {curve['arm']} over the number of training {unit}s")


@styled
def loss_figure(generators: Sequence[Mapping[str, Any]]) -> str:
    """Losses of discriminator and generator over the training steps, a line for each training."""
    panels = {"d_loss": "discriminator loss", "g_loss": "generator loss"}
    figure = figure_of(3.9)
    several = len({generator.get("fold", 0) for generator in generators}) > 1
    for axes, (key, name) in zip(figure.subplots(2, sharex=True), panels.items(), strict=True):
        for number, generator in enumerate(generators):
            steps, values = zip(*((line["step"], line[key]) for line in generator["losses"]), strict=True)
            label = f"fold {generator['fold']}, seed {generator['seed']}" if several else f"seed {generator['seed']}"
            axes.plot(steps, values, color=SEED_COLOURS[number % len(COLOURS)], linewidth=1.1, label=label)
        axes.set_ylabel(name)
        axes.grid()
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(generators) <= len(COLOURS):
        legend(figure, axes, columns=3)
    return svg(figure, "losses", "Losses of discriminator and generator over the training steps")


@styled
def intensity_figure(intensity: Mapping[str, Sequence[float]]) -> str:
    """How often each brightness occurs in real and in synthetic images; the darkest bin may be cut off."""
    figure = figure_of(3.3)
    axes = figure.subplots()
    for number, (name, shares) in enumerate(intensity.items()):
        edges = np.linspace(0, 256, len(shares) + 1)
        axes.stairs(shares, edges, color=colour(number), fill=True, alpha=0.2)
        axes.stairs(shares, edges, color=colour(number), linewidth=1.5, linestyle=LINES[number % 2], label=name)
    tissue = max(max(shares[1:], default=0) for shares in intensity.values())
    axes.set_ylim(0, 1.1 * tissue or 1)  # the background would flatten everything else
    axes.set_xlim(0, 256)
    axes.set_xlabel("pixel value (0 black, 255 white)")
    axes.set_ylabel("share of pixels")
    axes.grid(axis="y")
    legend(figure, axes)
    return svg(figure, "intensity", "Distribution of pixel values in real and in synthetic training images")
