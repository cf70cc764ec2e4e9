"""Everything that people read, beside `result.json`, which machines read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from braingan.data.files import replacing
from braingan.errors import OutputError
from braingan.experiment.result import BenchmarkResult
from braingan.reporting.html import Enclosed, write_report
from braingan.reporting.pictured import pictures_of
from braingan.reporting.predicted import read_predicted
from braingan.reporting.table import markdown_table

RESULT = "result.json"


def write_reports(result: BenchmarkResult, out: Path, *, without_images: bool) -> None:
    """Write `table.md` and `report.html` into the folder of a benchmark, from what lies there.

    Args:
        result: of the benchmark in `out`.
        out: where `predictions.csv`, `pictures/` and `cache/` lie, or some of them.
        without_images: leave out all pictures, and patients' ids, for a report that is committed or sent.

    Raises:
        OutputError: a file is damaged, of another benchmark, or cannot be written.
    """
    with replacing(out / "table.md") as beside:
        beside.write_text(markdown_table(result), encoding="utf-8")
    pictures = {name: out / "pictures" / f"{name}.png" for name in ("real", "synthetic")}
    enclosed = Enclosed(
        pictures=None if without_images else {name: path for name, path in pictures.items() if path.exists()},
        predicted=read_predicted(out / "predictions.csv", result),
        thumbnails=partial(pictures_of, out, result),
    )
    write_report(result, out / "report.html", enclosed)


def rewrite_reports(out: Path, *, without_images: bool) -> BenchmarkResult:
    """Write `table.md` and `report.html` again from the result in a folder, which is returned.

    Raises:
        OutputError: there is no result in it, or see `write_reports`.
    """
    path = out / RESULT
    if not path.is_file():
        where = "has no result.json" if out.is_dir() else "is no folder"
        raise OutputError(f"{out} {where}; give the folder of a benchmark that has finished")
    result = BenchmarkResult.load(path)
    write_reports(result, out, without_images=without_images)
    return result
