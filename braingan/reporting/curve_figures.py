"""Figures of single predictions: ROC curves and calibration, as SVG to put into a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braingan.reporting.curves import GRID, calibration, mean_roc
from braingan.reporting.drawing import LINES, MARKERS, SOFT, colour, figure_of, legend, styled, svg
from braingan.reporting.predicted import View


@styled
def roc_figure(targets: np.ndarray, views: Sequence[View], classes: Sequence[str], positive: int) -> str | None:
    """A mean ROC curve for each view; None where there are none."""
    curves = {view.name: mean_roc(targets, view, positive) for view in views}
    known = {name: rates for name, rates in curves.items() if rates is not None}
    if not known:
        return None
    figure = figure_of(4.3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8)
    for number, (name, rates) in enumerate(known.items()):
        axes.plot(GRID, rates, color=colour(number), linestyle=LINES[number % len(LINES)], linewidth=1.8, label=name)
    kind = f"of {classes[positive]}" if len(classes) == 2 else "mean over classes"
    axes.set_xlabel("false-positive rate (1 - specificity)")
    axes.set_ylabel(f"sensitivity, {kind}")
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.grid()
    legend(figure, axes, columns=1)
    return svg(figure, "roc", f"Mean ROC curves of {', '.join(known)}")


@styled
def calibration_figure(targets: np.ndarray, views: Sequence[View], classes: Sequence[str], positive: int) -> str:
    """Said and found probabilities for each view; larger marks stand for more predictions."""
    figure = figure_of(4.3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8)
    for number, view in enumerate(views):
        bins = calibration(targets, view, positive)
        largest = max((own.count for own in bins), default=1)
        said, found = [own.said for own in bins], [own.found for own in bins]
        axes.plot(said, found, color=colour(number), linestyle=LINES[number % len(LINES)], linewidth=1.2,
                  marker=MARKERS[number % len(MARKERS)], markersize=3, label=view.name)  # fmt: skip
        axes.scatter(said, found, [8 + 70 * own.count / largest for own in bins], color=colour(number), alpha=0.35,
                     linewidth=0)  # fmt: skip
    sought = classes[positive] if len(classes) == 2 else None
    axes.set_xlabel(f"probability of {sought} that was said" if sought else "probability of the most probable class")
    axes.set_ylabel(f"share that was {sought}" if sought else "share that was right")
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.grid()
    legend(figure, axes, columns=1)
    return svg(figure, "calibration", f"Calibration of {', '.join(view.name for view in views)}")
