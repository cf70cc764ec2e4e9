"""A result as a table: aligned for a terminal, or in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from braingan.experiment.result import BenchmarkResult
from braingan.reporting.arm_facts import DECIDED, THRESHOLD, has_rankings, has_thresholds, measured, ranked
from braingan.reporting.facts import (
    NO_DEVICE,
    alarms,
    caveats,
    chosen_text,
    class_f1_text,
    contrast_text,
    description,
    difference,
    families,
    images_text,
    interval_text,
    p_text,
    plural,
    points_text,
    seeds,
    signed_text,
    summary,
    verdict_line,
)
from braingan.reporting.facts import notes as notes_of

WIDTH = 100
GAP = "  "
RED = "\033[1;31m{}\033[0m"
SCORES = "Training images of each arm (real, synthetic) and its scores on the test images (macro: means over classes):"
BY_CLASS = "F1 of each class, mean over runs:"
AGAINST = (
    "Differences in points, each with an interval of its own; p of the primary contrast is that of one comparison, "
    "p of the arms against real is after Holm's correction. Primary and exploratory: with synthetic images against "
    "best without, or against the arm that is named. Others: macro F1 against real."
)
SHORT = {"average precision": "AP", "sensitivity at 0.90": "sens. 0.90", "sensitivity at 0.95": "sens. 0.95",
         "specificity reached, 0.90": "spec.", "specificity reached, 0.95": "spec.",
         "calibration error": "calibr.",
         "macro F1, chosen threshold": "F1 thr."}  # fmt: skip
Rows = list[list[str]]


def terminal_table(result: BenchmarkResult, *, colour: bool = False) -> str:
    """The result as plain text, `WIDTH` columns wide where names allow; F1 by class moves below where it must.

    Args:
        result: of a benchmark.
        colour: write leaks in red, as terminals read it.
    """
    tables = [_filled(SCORES), *_beside(_scores(result), _classes(result), BY_CLASS)]
    if rankings := _rankings(result, spread=False):
        tables += [_filled(_of_rankings(result)), _aligned(rankings)]
    if differences := _differences(result):
        tables += [_filled(AGAINST), _aligned(differences)]
    said = [_filled(line) for line in _sayings(result)]
    notes = [_filled(note, "- ") for note in notes_of(result)]
    red = [RED.format(_filled(line)) if colour else _filled(line) for line in alarms(result)]
    verdict = [_filled(line) for line in (verdict_line(result), _reason(result)) if line]
    parts = [_filled(description(result)), *red, *verdict, *tables, "\n".join(notes), "\n".join(said)]
    return "\n\n".join(part for part in parts if part)


def markdown_table(result: BenchmarkResult) -> str:
    """The result in Markdown (pipe tables), with the same words."""
    left, right = _scores(result), _classes(result)
    rows = [a + b[1:] for a, b in zip(left, right, strict=True)]
    notes = [f"- {_escaped(note)}" for note in notes_of(result)]
    red = [f"**{_escaped(line)}**" for line in alarms(result)]
    verdict = [_escaped(line) for line in (verdict_line(result), _reason(result)) if line]
    if verdict:
        verdict[0] = f"**{verdict[0]}**"
    tables = [_markdown(rows), _markdown(_rankings(result, spread=True)), _markdown(_differences(result))]
    words = " ".join(map(_escaped, _sayings(result)))
    parts = [_escaped(description(result)), *red, *verdict, *tables, "\n".join(notes), words]
    return "\n\n".join(part for part in parts if part)


def _beside(left: Rows, right: Rows, title: str) -> list[str]:
    """One table where it fits, else two."""
    wide = _aligned([a + b[1:] for a, b in zip(left, right, strict=True)])
    return [wide] if len(wide.split("\n")[0]) <= WIDTH else [_aligned(left), title, _aligned(right)]


def _scores(result: BenchmarkResult) -> Rows:
    rows = [["arm", "real", "synthetic", *("macro precision", "macro recall", "macro F1", "accuracy")]]
    for arm in summary(result):
        images = [images_text(result, arm, key) for key in ("n_real", "n_synthetic")]
        rows.append([arm, *images, *measured(result, arm, DECIDED)])
    return rows


def _classes(result: BenchmarkResult) -> Rows:
    head = ["arm", *(f"F1 {name}" for name in result.classes)]
    return [head, *([arm, *class_f1_text(result, arm)] for arm in summary(result))]


def _rankings(result: BenchmarkResult, *, spread: bool) -> Rows:
    """Nothing for a result that has none."""
    if not has_rankings(result):
        return []
    wanted = ranked(result) | (THRESHOLD if has_thresholds(result) else {})
    rows = [["arm", *(SHORT.get(name, name) for name in wanted)]]
    for arm in summary(result):
        values = measured(result, arm, wanted)
        rows.append([arm, *(values if spread else [value.split(" ± ")[0] for value in values])])
    return rows


def _of_rankings(result: BenchmarkResult) -> str:
    """What stands in the table of rankings."""
    said = "Of probabilities, mean over runs (AP: average precision)"
    chosen = ["sensitivity at specificity 0.90 and 0.95 there, and the specificity on test images"
              if "sensitivity at 0.90" in ranked(result) else "",
              "macro F1 at the best one" if has_thresholds(result) else ""]  # fmt: skip
    told = "; ".join(filter(None, chosen))
    return f"{said}. Thresholds chosen on validation images: {told}:" if told else f"{said}:"


def _differences(result: BenchmarkResult) -> Rows:
    """The primary contrast, the declared family, and last what is exploratory."""
    rows = [[_compared(own), points_text(own["difference"]), interval_text(own), p_text(own["p_holm"]), own["verdict"]]
            for listed in families(result).values() for own in listed]  # fmt: skip
    return [["arm", "difference", "interval", "p", "verdict"], *rows] if rows else []


def _compared(own: Mapping[str, Any]) -> str:
    return str(own["arm"]) if own["family"] == "declared" else f"{own['family']}: {contrast_text(own)}"


def _markdown(rows: Rows) -> str:
    if not rows:
        return ""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    escaped = [[_escaped(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:]))


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
