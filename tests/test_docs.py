"""What the documentation shows, works: Python blocks run, commands have the options that they are given."""

from __future__ import annotations

import re
import shlex
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer.main

from braingan import cli
from braingan.generation import callbacks, registry

ROOT = Path(__file__).parent.parent
WITHOUT_CODE = {"index.md", "architecture.md"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r'^--8<-- "(.*)"$', lambda match: (ROOT / match[1]).read_text(), text, flags=re.M) for text in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_documentation_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry.BACKENDS, "registered", dict(registry.BACKENDS.registered))
    monkeypatch.setattr(callbacks.LOGGERS, "registered", dict(callbacks.LOGGERS.registered))
    module = types.ModuleType("a_page")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "a_page", module)
    codes = blocks(page, "python")
    assert codes or page.name in WITHOUT_CODE
    for code in codes:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, str(page), "exec", dont_inherit=True), vars(module))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_documentation_exist_with_their_options(page: Path) -> None:
    commands: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for line in "".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["braingan"]:
            assert commands[words[1]].make_context(words[1], words[2:]).params


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
