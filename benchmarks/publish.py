"""Writing a result where it can be quoted: without pictures, and with the command that made it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from braingan import BenchmarkResult
from braingan.reporting.table import markdown_table

RESULTS = Path(__file__).parent / "results"


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
    versions = ", ".join(f"{package} {version}" for package, version in result.versions.items())
    text = f"{markdown_table(result)}\n\nCommand: `{command}`\n\nComputing time {result.seconds:.0f} s; {versions}.\n"
    (RESULTS / f"{stem}.md").write_text(text, encoding="utf-8")
    if report:
        shutil.copy(report, RESULTS / f"{stem}.html")
