import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import braingan
from braingan.cli import app
from braingan.data.folds import Folds
from braingan.data.preparation import PreparedSet
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageRecord, ImageSet
from braingan.errors import OutputError
from braingan.experiment.inputs import CellInputs
from braingan.reporting.pictured import pictures_of

Maker = Any  # tests/reporting/conftest.py
Out = Callable[..., Path]
TEST0 = "healthy/test0_0.png"


def images_of(result: Any) -> PreparedSet:
    files = result.splits["files"]
    records = [ImageRecord(Path(own["file"]), own["file"], result.classes.index(own["label"]), own["group"])
               for own in files]  # fmt: skip
    images = torch.arange(len(files), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 16, 16).contiguous()
    return PreparedSet(
        images, torch.zeros(len(files), 64, 64, dtype=torch.uint8), ImageSet(records, result.classes),
        tuple(own["sha256"] for own in files), Preprocessing(size=16),
    )  # fmt: skip


def test_a_report_is_written_again_from_its_folder(make_result: Maker, make_out: Out, tmp_path: Path) -> None:
    out = make_out(make_result(), tmp_path / "out")
    result = braingan.report(out)
    assert result == make_result()
    first = (out / "report.html").read_bytes(), (out / "table.md").read_bytes()
    braingan.report(out, without_images=True)
    assert b"data:image/png" in first[0]
    assert b"data:image/png" not in (out / "report.html").read_bytes()
    braingan.report(out)
    assert ((out / "report.html").read_bytes(), (out / "table.md").read_bytes()) == first


def test_a_result_alone_is_enough(make_result: Maker, tmp_path: Path) -> None:
    make_result().save(tmp_path / "result.json")
    braingan.report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "There are no pictures in the output folder." in page


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match=r"holds no benchmark \(plan\.json is missing\); give the output folder of one"
    ):
        braingan.report(tmp_path)
    with pytest.raises(OutputError, match=r"gone is no folder"):
        braingan.report(tmp_path / "gone")


def test_the_command_prints_the_table_and_where_the_page_is(
    make_result: Maker, make_out: Out, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = make_out(make_result(), tmp_path)
    app(["report", str(out)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Verdict: " in shown
    assert shown.rstrip().endswith(str(out / "report.html"))


def test_images_that_changed_sides_are_pictured_where_they_were_kept(
    make_result: Maker, make_out: Out, tmp_path: Path
) -> None:
    result = make_result()
    out = make_out(result, tmp_path)
    CellInputs(images_of(result), Folds.from_json(result.splits)).save(out / "cache")
    braingan.report(out)
    page = (out / "report.html").read_text()
    assert f'alt="{TEST0}"' in page
    assert "There are no pictures of them here" not in page


def test_another_image_of_the_same_name_is_not_pictured(make_result: Maker, tmp_path: Path) -> None:
    result = make_result()
    kept = images_of(result)
    CellInputs(kept, Folds.from_json(result.splits)).save(tmp_path / "cache")
    assert list(pictures_of(tmp_path, result, [TEST0])) == [TEST0]
    changed = [own | {"sha256": "f" * 64} if own["file"] == TEST0 else own for own in result.splits["files"]]
    other = replace(result, splits=result.splits | {"files": changed})
    assert pictures_of(tmp_path, other, [TEST0]) == {}


def test_an_image_that_is_left_out_does_not_stand_for_a_tested_one_of_its_name(
    make_result: Maker, tmp_path: Path
) -> None:
    result = make_result()
    CellInputs(images_of(result), Folds.from_json(result.splits)).save(tmp_path / "cache")
    namesake = next(own for own in result.splits["files"] if own["file"] == TEST0) | {"sha256": "f" * 64}
    files, fold = result.splits["files"], result.splits["folds"][0]
    splits = result.splits | {"files": [*files, namesake], "folds": [fold | {"left_out": [len(files)]}]}
    assert list(pictures_of(tmp_path, replace(result, splits=splits), [TEST0])) == [TEST0]


def test_a_damaged_cache_leaves_the_pictures_out(make_result: Maker, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cells-0.safetensors").write_bytes(b"nothing")
    assert pictures_of(tmp_path, make_result(), [TEST0]) == {}


def test_a_folder_whose_name_is_no_text_is_reported_on(
    make_result: Maker, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """As Latin-1 names are on Linux: it must not end a benchmark of hours in a traceback."""
    out = tmp_path / os.fsdecode(b"K\xf6pfe")
    out.mkdir()
    result = make_result()
    replace(result, settings=result.settings | {"data": out.name}).save(out / "result.json")
    with pytest.raises(SystemExit) as ended:
        app(["report", str(out)])
    assert ended.value.code in (None, 0)
    assert b"K?pfe" in capfdbinary.readouterr().out
    assert "K?pfe" in (out / "report.html").read_text(encoding="utf-8")
    assert "K?pfe" in (out / "table.md").read_text(encoding="utf-8")
