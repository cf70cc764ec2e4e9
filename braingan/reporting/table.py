"""A result as a table: aligned for a terminal, or in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from braingan.experiment.result import BenchmarkResult
from braingan.reporting.facts import (
    MEASURES,
    NO_DEVICE,
    caveats,
    chosen_text,
    class_f1_text,
    description,
    difference,
    images_text,
    leaks,
    plural,
    score_text,
    seeds,
    signed_text,
    verdict_line,
)

WIDTH = 100
GAP = "  "
RED = "\033[1;31m{}\033[0m"
SCORES = "Training images of each arm (real, synthetic) and its scores on the test images:"
BY_CLASS = "F1 of each class, mean over seeds:"
AGAINST_REAL = "Macro F1 against real: difference, 95 % interval, p after Holm's correction:"
Rows = list[list[str]]


def terminal_table(result: BenchmarkResult, *, colour: bool = False) -> str:
    """The result as plain text, `WIDTH` columns wide where names allow; F1 by class moves below where it must.

    Args:
        result: of a benchmark.
        colour: write leaks in red, as terminals read it.
    """
    left, right = _scores(result), _classes(result)
    wide = _aligned([a + b[1:] for a, b in zip(left, right, strict=True)])
    fits = len(wide.split("\n")[0]) <= WIDTH
    tables = [SCORES, wide] if fits else [SCORES, _aligned(left), BY_CLASS, _aligned(right)]
    if declared := _declared(result):
        tables += [AGAINST_REAL, _aligned(declared)]
    said = [_filled(line) for line in _sayings(result)]
    notes = [_filled(note, "- ") for note in result.notes]
    red = [RED.format(_filled(line)) if colour else _filled(line) for line in leaks(result)]
    verdict = [_filled(line) for line in (verdict_line(result), _reason(result)) if line]
    parts = [_filled(description(result)), *red, *verdict, *tables, "\n".join(notes), "\n".join(said)]
    return "\n\n".join(part for part in parts if part)


def markdown_table(result: BenchmarkResult) -> str:
    """The result in Markdown (a pipe table), with the same words."""
    left, right = _scores(result), _classes(result)
    head, *rows = [a + b[1:] for a, b in zip(left, right, strict=True)]
    notes = [f"- {_escaped(note)}" for note in result.notes]
    red = [f"**{_escaped(line)}**" for line in leaks(result)]
    verdict = [_escaped(line) for line in (verdict_line(result), _reason(result)) if line]
    if verdict:
        verdict[0] = f"**{verdict[0]}**"
    against = _markdown(_declared(result))
    words = " ".join(map(_escaped, _sayings(result)))
    parts = [_escaped(description(result)), *red, *verdict, _markdown([head, *rows]), against, "\n".join(notes), words]
    return "\n\n".join(part for part in parts if part)


def _scores(result: BenchmarkResult) -> Rows:
    rows = [["arm", "real", "synthetic", *("macro precision", "macro recall", "macro F1", "accuracy")]]
    for arm, scores in result.summary.items():
        images = [images_text(result, arm, key) for key in ("n_real", "n_synthetic")]
        rows.append([arm, *images, *(score_text(scores[measure]) for measure in MEASURES)])
    return rows


def _classes(result: BenchmarkResult) -> Rows:
    return [["arm", *(f"F1 {name}" for name in result.classes)]] + [
        [arm, *class_f1_text(result, arm)] for arm in result.arms
    ]


def _markdown(rows: Rows) -> str:
    if not rows:
        return ""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    escaped = [[_escaped(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:]))


def _declared(result: BenchmarkResult) -> Rows:
    own = [entry for entry in result.comparisons if entry["family"] == "declared"]
    rows = [[entry["arm"], f"{entry['difference']:+.3f}", f"{entry['low']:+.3f} to {entry['high']:+.3f}",
             f"{entry['p_holm']:.2g}", entry["verdict"]] for entry in own]  # fmt: skip
    return [["arm", "difference", "interval", "p", "verdict"], *rows] if rows else []


def _reason(result: BenchmarkResult) -> str:
    return "" if result.primary is None else str(result.primary["reason"])


def _sayings(result: BenchmarkResult) -> list[str]:
    gain = difference(result)
    shown = f"Macro F1, combined - real: {signed_text(gain)} over {plural(seeds(result), 'seed')}." if gain else ""
    return [line for line in (shown, *chosen_text(result), *caveats(result), NO_DEVICE) if line]


def _aligned(rows: Rows) -> str:
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    return GAP.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])


def _filled(text: str, bullet: str = "") -> str:
    return textwrap.fill(_printable(text), WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))


def _printable(text: str) -> str:
    # names of folders may hold anything, also what moves a terminal's cursor
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _escaped(text: str) -> str:
    return re.sub(r"[\\`*<>|\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(text.split()))
