"""A known public set as plain text for a terminal."""

from __future__ import annotations

import textwrap

from braingan.data.known import KnownSet

WIDTH = 100


def known_text(known: KnownSet) -> str:
    """What it is, under which terms, and which traps it sets."""
    expected = ", ".join(f"{pattern}: {count}" for pattern, count in known.expected.items())
    lines = [
        ("cite", known.citation), ("licence", known.licence), ("where", known.where), ("holds", known.contents),
        ("expected", expected), ("read as", known.reader), *(("note", note) for note in known.notes),
    ]  # fmt: skip
    filled = [textwrap.fill(text, WIDTH, initial_indent=f"  {name:<9} ", subsequent_indent=" " * 12)
              for name, text in lines if text]  # fmt: skip
    return "\n".join([f"{known.name}: {known.title}", *filled])
