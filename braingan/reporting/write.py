"""Everything that people read, beside `result.json`, which machines read."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path

from braingan.data.files import replacing
from braingan.errors import OutputError
from braingan.experiment.assembly import result_so_far
from braingan.experiment.cells import claimed
from braingan.experiment.plan import PLAN
from braingan.experiment.result import RESULT, BenchmarkResult
from braingan.inspection.beside import inspection_beside
from braingan.reporting.html import Enclosed, write_report
from braingan.reporting.pictured import pictures_of
from braingan.reporting.predicted import read_predicted
from braingan.reporting.table import markdown_table


def write_reports(result: BenchmarkResult, out: Path, *, without_images: bool) -> None:
    """Write `table.md` and `report.html` into the folder of a benchmark, from what lies there.

    Args:
        result: of the benchmark in `out`.
        out: where `predictions.csv`, `pictures/`, `inspection.json` and `cache/` lie, or some of them.
        without_images: leave out all pictures, and patients' ids, for a report that is committed or sent.

    Raises:
        OutputError: a file is damaged, of another benchmark, or cannot be written.
    """
    with replacing(out / "table.md") as beside:
        beside.write_text(markdown_table(result), encoding="utf-8", errors="replace")  # folders' names need not be text
    pictures = {name: out / "pictures" / f"{name}.png" for name in ("real", "synthetic")}
    enclosed = Enclosed(
        pictures=None if without_images else {name: path for name, path in pictures.items() if path.exists()},
        predicted=read_predicted(out / "predictions.csv", result),
        thumbnails=partial(pictures_of, out, result),
        inspection=inspection_beside(out),
    )
    write_report(result, out / "report.html", enclosed)


def rewrite_reports(out: Path, *, without_images: bool) -> BenchmarkResult:
    """Write `table.md` and `report.html` again from what lies in the folder of a benchmark; gives the result.

    While the benchmark is running, or was stopped, they are about what is finished.

    Raises:
        OutputError: the folder is no benchmark's, nothing is finished, or see `write_reports`.
    """
    if not out.is_dir():
        raise OutputError(f"{out} is no folder; give the folder of a benchmark")
    running = (out / PLAN).exists()  # or was, in this version
    # A benchmark that ends meanwhile waits, and then replaces what is partial.
    with claimed(out.resolve(), RESULT, wait=True) if running else nullcontext():
        result = result_so_far(out)
        write_reports(result, out, without_images=without_images)
    return result
