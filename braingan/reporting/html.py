"""A result as one HTML file that needs nothing else: no script, no request, no second file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from braingan.data.files import replacing
from braingan.errors import OutputError
from braingan.experiment.result import BenchmarkResult
from braingan.inspection.result import Inspection
from braingan.progress import readable_seconds
from braingan.reporting import arm_facts, facts, figures, methods
from braingan.reporting.changed import Changed, changed_images
from braingan.reporting.curve_figures import calibration_figure, roc_figure
from braingan.reporting.curves import confusion_shares, patient_rows
from braingan.reporting.predicted import Predicted, contrast_of, views_of

BAD_FILES_SHOWN = 50
CHANGED_SHOWN = 24  # of each kind


@dataclass(frozen=True)
class Enclosed:
    """What lies beside a result and goes into its page.

    Attributes:
        pictures: caption -> PNG file, shown side by side; None leaves all pictures and patients' ids out, and says so.
        predicted: what each arm says of each image; None where that is not known.
        thumbnails: name of a tested image -> `data:` address of its picture.
        inspection: of the data; None where nobody has looked at them.
    """

    pictures: Mapping[str, Path] | None = None
    predicted: Predicted | None = None
    thumbnails: Callable[[list[str]], Mapping[str, str]] | None = None
    inspection: Inspection | None = None


def write_report(result: BenchmarkResult, path: Path, enclosed: Enclosed) -> None:
    """Write a report, whole or not at all; the same result and enclosures give the same bytes.

    Args:
        result: what to report.
        path: of the HTML file.
        enclosed: what goes into it as well.

    Raises:
        OutputError: a picture cannot be read, or the file cannot be written.
    """
    page = _page(result, enclosed)
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8", errors="replace")  # a folder's name need not be text


def render(template: str, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """A page of this folder as text, in the style that all pages share.

    Args:
        template: its file name.
        filters: that it uses.
        values: that it shows.
    """
    # autoescape: names of classes, files and folders are somebody else's words
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_text)
    )
    environment.filters |= filters
    return environment.get_template(template).render(style=_text("style.css").rstrip(), **values)


def with_commands(line: str) -> Markup:
    """A line of advice, with commands set as such. Other backticks may be part of a file's name."""
    return Markup(re.sub(r"`(braingan [^`]*)`", r"<code>\1</code>", str(escape(line))))


def _text(name: str) -> str:
    return files("braingan.reporting").joinpath(name).read_text(encoding="utf-8")


def _page(result: BenchmarkResult, enclosed: Enclosed) -> str:
    pictures, kind = enclosed.pictures, result.splits["grouped_by"]
    if kind == "patient" != facts.unit_of(result):
        kind = "file"  # of the test images no patients are known, so that there is nothing to count
    return render(
        "report.html",
        {
            "score": facts.score_text,
            "duration": _duration,
            "setting": _setting,
            "points": facts.points_text,
            "commands": with_commands,
        },
        result=result,
        facts=facts,
        arm_facts=arm_facts,
        methods=methods,
        inspection=enclosed.inspection,
        difference=facts.difference(result),
        figures=_figures(result),
        pictures=None if pictures is None else {caption: _embedded(path) for caption, path in pictures.items()},
        **_closer(result, enclosed),
        group={"patient": "patients", "twins": "groups"}.get(kind, "files"),
        limits={"bad_files": BAD_FILES_SHOWN, "changed": CHANGED_SHOWN},
    )


def _figures(result: BenchmarkResult) -> dict[str, str | None]:
    trained = [generator for generator in result.generators if generator.get("losses")]
    intensity = {name: shares for name, shares in result.intensity.items() if shares}
    scores = bool(facts.scored(result))
    return {
        "forest": figures.forest_figure(result.comparisons) if result.comparisons else None,
        "macro": figures.macro_figure(result) if scores else None,
        "classes": figures.class_figure(result) if scores else None,
        "ratio": figures.ratio_figure(result),
        "curve": figures.curve_figure(result.curve, facts.unit_of(result, "training")) if result.curve else None,
        "losses": figures.loss_figure(trained) if trained else None,
        "intensity": figures.intensity_figure(intensity) if intensity else None,
    }


def _closer(result: BenchmarkResult, enclosed: Enclosed) -> dict[str, Any]:
    """What only single predictions show; empty where there are none."""
    predicted = enclosed.predicted
    if predicted is None:
        return {"views": [], "changed": None, "contrast": [], "thumbnails": {}, "curves": {}}
    views = views_of(result, predicted)
    contrast = contrast_of(result, views)
    changed = None if contrast is None else _by_kind(changed_images(predicted, *contrast))
    shown = [own.file for listed in (changed or {}).values() for own in listed[:CHANGED_SHOWN]]
    pictured = enclosed.pictures is not None and enclosed.thumbnails is not None and shown
    known = all(predicted.patients)
    targets, classes, positive = predicted.targets, predicted.classes, facts.positive(result)
    return {
        "views": [
            {
                "name": view.name,
                "made_of": view.made_of,
                "confusion": confusion_shares(targets, view).tolist(),
                "patients": patient_rows(targets, predicted.patients, view, classes, positive) if known else None,
            }
            for view in views
        ],
        "changed": changed,
        "contrast": [view.name for view in contrast or ()],
        "thumbnails": enclosed.thumbnails(shown) if pictured and enclosed.thumbnails else {},
        "curves": {
            "roc": roc_figure(targets, views, classes, positive),
            "calibration": calibration_figure(targets, views, classes, positive) if views else None,
        },
    }


def _by_kind(changed: list[Changed]) -> dict[str, list[Changed]]:
    return {
        name: [own for own in changed if own.fixed is fixed] for name, fixed in (("fixed", True), ("broken", False))
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
