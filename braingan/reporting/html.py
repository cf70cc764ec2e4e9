"""A result as one HTML file that needs nothing else: no script, no request, no second file."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from braingan.data.files import replacing
from braingan.data.split import PARTS
from braingan.errors import OutputError
from braingan.experiment.result import BenchmarkResult
from braingan.progress import readable_seconds
from braingan.reporting import facts, figures

BAD_FILES_SHOWN = 50


def write_report(result: BenchmarkResult, path: Path, *, pictures: Mapping[str, Path] | None) -> None:
    """Write a report, whole or not at all; the same result and pictures give the same bytes.

    Args:
        result: what to report.
        path: of the HTML file.
        pictures: caption -> PNG file, shown side by side; None leaves them out, and says so.

    Raises:
        OutputError: a picture cannot be read, or the file cannot be written.
    """
    page = _page(result, pictures)
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")


def render(template: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """A page of this folder as text, in the style that all pages share.

    Args:
        template: its file name.
        filters: that it uses.
        values: that it shows.
    """
    here = files("braingan.reporting")
    # autoescape: names of classes, files and folders are somebody else's words
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= filters
    style = here.joinpath("style.css").read_text(encoding="utf-8").rstrip()
    return environment.from_string(here.joinpath(template).read_text(encoding="utf-8")).render(style=style, **values)


def _page(result: BenchmarkResult, pictures: Mapping[str, Path] | None) -> str:
    return render(
        "report.html",
        {"score": facts.score_text, "duration": _duration, "setting": _setting},
        result=result,
        facts=facts,
        difference=facts.difference(result),
        figures=_figures(result),
        pictures=None if pictures is None else {caption: _embedded(path) for caption, path in pictures.items()},
        parts=PARTS,
        group={"patient": "patients", "twins": "groups"}.get(result.splits["grouped_by"], "files"),
        bad_files_shown=BAD_FILES_SHOWN,
    )


def _figures(result: BenchmarkResult) -> dict[str, str | None]:
    trained = [generator for generator in result.generators if generator.get("losses")]
    intensity = {name: shares for name, shares in result.intensity.items() if shares}
    return {
        "macro": figures.macro_figure(result),
        "classes": figures.class_figure(result),
        "losses": figures.loss_figure(trained) if trained else None,
        "intensity": figures.intensity_figure(intensity) if intensity else None,
    }


def _embedded(path: Path) -> str:
    try:
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    except OSError as error:
        raise OutputError(f"cannot read the picture {path}: {error.strerror or error}") from error


def _duration(seconds: float | None) -> str:
    return "unknown" if seconds is None else readable_seconds(seconds)


def _setting(value: Any) -> str:
    """A setting as a person reads it: words as they are, everything else as JSON."""
    if value is None or value == {}:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
