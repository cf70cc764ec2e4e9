"""Writing a result where it can be quoted: without pictures, and with the command that made it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from braingan import BenchmarkResult
from braingan.reporting.table import markdown_table

RESULTS = Path(__file__).parent / "results"


def publish(result: BenchmarkResult, name: str) -> None:
    """Write `results/NAME.json` (a field a line) and `results/NAME.md`."""
    RESULTS.mkdir(exist_ok=True)
    fields = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.to_json().items())
    (RESULTS / f"{name}.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
    command = f"python benchmarks/{Path(sys.argv[0]).name} {result.settings['data']} OUT"
    versions = ", ".join(f"{package} {version}" for package, version in result.versions.items())
    text = f"{markdown_table(result)}\n\nCommand: `{command}`\n\nComputing time {result.seconds:.0f} s; {versions}.\n"
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
