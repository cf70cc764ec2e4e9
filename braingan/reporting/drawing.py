"""What all figures share: their look, and the way into a page. No pyplot: nothing outside is touched."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 4.6  # inches: one column of the page, and still legible on a telephone
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # Okabe & Ito: told apart by everybody
MARKERS = ("o", "s", "^", "D", "v", "P")  # for those who print without colours
LINES = ("-", "--", ":", "-.")
INK, SOFT, FAINT = "#1f2933", "#7b8794", "#d5dbe1"
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

styled = matplotlib.rc_context(STYLE)


def figure_of(height: float) -> Figure:
    """An empty figure, one column wide.

    Args:
        height: in inches.
    """
    return Figure(figsize=(WIDTH, height), layout="constrained")


def colour(number: int) -> str:
    """The colour of a series; after six they come again."""
    return COLOURS[number % len(COLOURS)]


def legend(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """Names of the series above the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns), handlelength=1.6)


def short(name: str) -> str:
    """A name that leaves room for a figure, with both of its ends, as names may begin alike.

    >>> short("glioblastoma_idh_wildtype"), short("real+classic@50% patients"), short("_other")
    ('glioblastoma_idh...dtype', 'real+classic@50%...ients', ' _other')
    """
    shown = name if len(name) <= 24 else f"{name[:16]}...{name[-5:]}"
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib keeps such names out of a legend


def svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element, whose ids begin with `name`: several stand in one page.

    Args:
        figure: the figure.
        name: a word of its own in the page.
        label: for those who cannot see it.
    """
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of a class name that the font lacks: the reader's browser has it
        figure.savefig(text, format="svg", transparent=True, metadata=NO_METADATA)
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<style.*?</style>", "", drawn, flags=re.DOTALL)  # it would style the whole page
    drawn = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", drawn)
    size = re.search(r'viewBox="[^"]*"', drawn)
    head = f'<svg {size[0] if size else ""} role="img" aria-label="{escape(label)}">'
    return head + drawn[drawn.index(">") + 1 :].replace("xlink:href", "href")
