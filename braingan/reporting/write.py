"""Everything that people read, beside `result.json`, which machines read."""

from __future__ import annotations

from pathlib import Path

from braingan.data.files import replacing
from braingan.experiment.result import BenchmarkResult
from braingan.reporting.html import write_report
from braingan.reporting.table import markdown_table


def write_reports(result: BenchmarkResult, out: Path, *, without_images: bool) -> None:
    """Write `table.md` and `report.html` into the folder of a benchmark.

    Args:
        result: of the benchmark in `out`.
        out: where `pictures/real.png` and `pictures/synthetic.png` lie.
        without_images: leave these out, for a report that is committed or sent.
    """
    with replacing(out / "table.md") as beside:
        beside.write_text(markdown_table(result), encoding="utf-8")
    pictures = None if without_images else {name: out / "pictures" / f"{name}.png" for name in ("real", "synthetic")}
    write_report(result, out / "report.html", pictures=pictures)
