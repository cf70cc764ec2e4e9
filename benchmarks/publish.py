"""Writing a result where it can be quoted: without pictures, and with the command that made it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braingan import BenchmarkResult
from braingan.reporting.table import markdown_table
from braingan.versions import versions

RESULTS = Path(__file__).parent / "results"


def made_with(packages: Mapping[str, str] | None = None) -> str:
    """Versions and kind of machine in words; by default those of this process."""
    return ", ".join(f"{package} {version}" for package, version in (packages or versions()).items())


def publish_rows(
    stem: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], text: str, folder: Path = RESULTS
) -> None:
    """Write `STEM.json` (facts, versions, and a row a line) and `STEM.md`.

    Args:
        stem: of the files.
        facts: what all rows have in common.
        rows: what was measured.
        text: the same for people, in Markdown.
        folder: to write to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head, lines = json.dumps({**facts, "versions": versions()})[1:-1], ",\n  ".join(map(json.dumps, rows))
    (folder / f"{stem}.json").write_text(f'{{{head},\n "rows": [\n  {lines}\n ]}}\n', encoding="utf-8")
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")


def publish(
    result: BenchmarkResult, stem: str, *, report: Path | None = None, name: str = "", given: str | None = None
) -> None:
    """Write `results/STEM.json` (a field a line), `results/STEM.md` and, where there is a report, `results/STEM.html`.

    Args:
        result: of a benchmark.
        stem: of the files.
        report: a page without pictures.
        name: what the script was given before the data folder.
        given: all that it was given, where that is not NAME DATA OUT.
    """
    RESULTS.mkdir(exist_ok=True)
    fields = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.to_json().items())
    (RESULTS / f"{stem}.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
    given = given or " ".join(filter(None, [name, result.settings["data"], "OUT"]))
    command = f"python benchmarks/{Path(sys.argv[0]).name} {given}"
    cost = f"Computing time {result.seconds:.0f} s; {made_with(result.versions)}."
    text = f"{markdown_table(result)}\n\nCommand: `{command}`\n\n{cost}\n"
    (RESULTS / f"{stem}.md").write_text(text, encoding="utf-8")
    if report:
        shutil.copy(report, RESULTS / f"{stem}.html")
