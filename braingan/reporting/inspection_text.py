"""An inspection as plain text for a terminal."""

from __future__ import annotations

import textwrap

from braingan.inspection.result import Inspection
from braingan.reporting.facts import NO_DEVICE, plural

WIDTH = 100


def terminal_inspection(inspection: Inspection) -> str:
    """What is wrong, the most urgent first, then what to know."""
    known = [line for line in inspection.advice if line not in inspection.serious]
    blocks = [_filled(summary(inspection))]
    if inspection.serious:
        blocks += [f"Serious ({len(inspection.serious)}):", *(_filled(line, "! ") for line in inspection.serious)]
    else:
        blocks.append("Nothing serious was found.")
    if known:
        blocks += ["To know:", *(_filled(line, "- ") for line in known)]
    return "\n\n".join([*blocks, NO_DEVICE])


def summary(inspection: Inspection) -> str:
    """The data in one line."""
    parts = []
    for name, part in inspection.parts.items():
        patients = "patients unknown" if part["patients"] is None else plural(part["patients"], "patient")
        classes = ", ".join(f"{count} {label}" for label, count in part["classes"].items())
        parts.append(f"{name}: {plural(part['images'], 'image')} ({classes}), {patients}")
    shown = parts[0].removeprefix("train: ") if len(parts) == 1 else "; ".join(parts)
    return f"{inspection.data}: {shown}"


def _filled(text: str, bullet: str = "") -> str:
    # names of files may hold anything, also what moves a terminal's cursor
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return textwrap.fill(printable, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
