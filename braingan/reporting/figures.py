"""The figures of a report, as SVG to put into a page. No pyplot: nothing outside is touched."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from braingan.experiment.result import BenchmarkResult
from braingan.reporting.facts import class_f1

WIDTH = 4.6  # inches: one column of the page, and still legible on a telephone
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito: told apart by everybody
SEED_COLOURS = COLOURS[::-1]  # not those of the arms, for as long as there are others
LINES = ("-", "--")  # for those who print without colours
INK, FAINT = "#1f2933", "#d5dbe1"
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
STYLE: Any = {  # Any: matplotlib types the keys, and differently in each version
    "svg.hashsalt": "braingan",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$x"
    "axes.edgecolor": "#8996a3",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


@matplotlib.rc_context(STYLE)
def macro_figure(result: BenchmarkResult) -> str:
    """Macro precision, recall and F1 of each arm: means as bars, single runs as dots."""
    measures = {"precision": "precision", "recall": "recall", "f1": "F1"}
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(result.arms):
        own = [entry for entry in result.scores if entry["arm"] == arm]
        values = [[entry["macro"][measure] for entry in own] for measure in measures]
        at, height = _places(number, len(result.arms), len(measures))
        axes.bar(at, [np.mean(group) for group in values], height, color=_colour(number), alpha=0.75, label=arm)
        _spread(axes, at, values, height, upright=True)
    axes.set_xticks(range(len(measures)), [f"macro {name}" for name in measures.values()])
    axes.set_ylim(0, 1)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(axis="y")
    _legend(figure, axes)
    return _svg(figure, "macro", "Macro precision, recall and F1 of each arm; the table below has the numbers")


@matplotlib.rc_context(STYLE)
def class_figure(result: BenchmarkResult) -> str:
    """F1 of each class and arm: means as bars, single runs as dots."""
    classes, arms = result.classes, result.arms
    figure = Figure(figsize=(WIDTH, max(3.3, 1 + 0.2 * len(classes) * (len(arms) + 1))), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(arms):
        values = list(class_f1(result, arm).values())
        at, height = _places(number, len(arms), len(classes))
        axes.barh(at, [np.mean(group) for group in values], height, color=_colour(number), alpha=0.75, label=arm)
        _spread(axes, at, values, height, upright=False)
    axes.set_yticks(range(len(classes)), [_short(name) for name in classes])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("F1")
    axes.grid(axis="x")
    _legend(figure, axes)
    return _svg(figure, "classes", f"F1 of each class ({', '.join(classes)}) and arm; the table has the numbers")


@matplotlib.rc_context(STYLE)
def loss_figure(generators: Sequence[Mapping[str, Any]]) -> str:
    """Losses of discriminator and generator over the training steps, a line for each seed."""
    panels = {"d_loss": "discriminator loss", "g_loss": "generator loss"}
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    for axes, (key, name) in zip(figure.subplots(2, sharex=True), panels.items(), strict=True):
        for number, generator in enumerate(generators):
            steps, values = zip(*((line["step"], line[key]) for line in generator["losses"]), strict=True)
            label = f"seed {generator['seed']}"
            axes.plot(steps, values, color=SEED_COLOURS[number % len(COLOURS)], linewidth=1.1, label=label)
        axes.set_ylabel(name)
        axes.grid()
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(generators) <= len(COLOURS):
        _legend(figure, axes)
    return _svg(figure, "losses", "Losses of discriminator and generator over the training steps")


@matplotlib.rc_context(STYLE)
def intensity_figure(intensity: Mapping[str, Sequence[float]]) -> str:
    """How often each brightness occurs in real and in synthetic images; the darkest bin may be cut off."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    for number, (name, shares) in enumerate(intensity.items()):
        edges = np.linspace(0, 256, len(shares) + 1)
        axes.stairs(shares, edges, color=_colour(number), fill=True, alpha=0.2)
        axes.stairs(shares, edges, color=_colour(number), linewidth=1.5, linestyle=LINES[number % 2], label=name)
    tissue = max(max(shares[1:], default=0) for shares in intensity.values())
    axes.set_ylim(0, 1.1 * tissue or 1)  # the background would flatten everything else
    axes.set_xlim(0, 256)
    axes.set_xlabel("pixel value (0 black, 255 white)")
    axes.set_ylabel("share of pixels")
    axes.grid(axis="y")
    _legend(figure, axes)
    return _svg(figure, "intensity", "Distribution of pixel values in real and in synthetic training images")


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _places(number: int, arms: int, groups: int) -> tuple[np.ndarray, float]:
    """Where the bars of one arm stand, side by side with those of the others, and how thick they are."""
    thickness = 0.8 / arms
    return np.arange(groups) + (number - (arms - 1) / 2) * thickness, 0.9 * thickness


def _spread(axes: Axes, at: np.ndarray, values: Sequence[Sequence[float]], thickness: float, *, upright: bool) -> None:
    """Single runs as dots, side by side in the order of their seeds; the standard deviation as a whisker."""
    runs = np.asarray(values)  # (bars, runs)
    beside = at[:, None] + (thickness * np.linspace(-0.3, 0.3, runs.shape[1]) if runs.shape[1] > 1 else 0)
    style: dict[str, Any] = {"s": 11, "color": "white", "edgecolor": INK, "linewidth": 0.7, "zorder": 4}
    axes.scatter(*((beside, runs) if upright else (runs, beside)), **style)
    if runs.shape[1] > 1:
        means = runs.mean(axis=1)
        std: dict[str, Any] = {"yerr" if upright else "xerr": runs.std(axis=1, ddof=1)}
        places = (at, means) if upright else (means, at)
        axes.errorbar(*places, **std, color=INK, linestyle="none", elinewidth=1.1, capsize=3, zorder=3)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), handlelength=1.2)


def _short(name: str) -> str:
    return textwrap.shorten(name, 24, placeholder=" ...") if " " in name else name[:24]


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element, whose ids begin with `name`: several stand in one page."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of a class name that the font lacks: the reader's browser has it
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would style the whole page
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg {size[0] if size else ""} role="img" aria-label="{escape(label)}">'
    return head + svg[svg.index(">") + 1 :].replace("xlink:href", "href")
