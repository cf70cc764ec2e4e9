"""Files below a folder, and which of them can be named in a line and opened."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

CLUTTER = {"thumbs.db", "desktop.ini"}  # left by file managers, nobody's data
REVERSING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def walk(folder: Path, _above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All entries below a folder that are no folders, hidden or clutter, sorted; links to folders are followed once."""
    here = folder.resolve()
    if here in _above:  # a link to a folder that it lies in
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
            continue
        if entry.is_dir():
            yield from walk(entry, (*_above, here))
        else:
            yield entry


def names_below(folder: Path) -> list[str]:
    """The same as names relative to the folder, with forward slashes, sorted."""
    return sorted(entry.relative_to(folder).as_posix() for entry in walk(folder))


def name_problem(name: str) -> str:
    """Why a file's name cannot stand in a line or a table as it is; empty where it can."""
    if name == printable(name):
        return ""
    utf8 = name == name.encode(errors="replace").decode()
    return f"has a name {'with control characters' if utf8 else 'that is not UTF-8'}; rename it"


def printable(name: str) -> str:
    """The name, with question marks for bytes that are not UTF-8 and characters that break or reverse a line."""
    return "".join("?" if _breaks(character) else character for character in name)


def _breaks(character: str) -> bool:
    """Control characters, lone surrogates, line and paragraph separators, and what reverses text."""
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in REVERSING


def file_problem(file: Path) -> str:
    """Why opening it would fail, or wait for ever; empty where it is a file, or a link to one."""
    if file.is_file():
        return ""
    return "is no file" if file.exists() else "does not exist"  # a link that leads nowhere
