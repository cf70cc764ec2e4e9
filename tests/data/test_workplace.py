"""An output folder is apart from the data, ours or nobody's, and for one piece of work."""

from __future__ import annotations

from pathlib import Path

import pytest

from braingan.data.workplace import check_place, claim
from braingan.errors import OutputError


def test_a_new_or_empty_folder_is_claimed_and_taken_up_for_the_same_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_place(out, tmp_path / "data")
    claim(out, {"size": 32, "hyperparameters": {"width": (1, 2)}})
    (out / "work").touch()
    check_place(out, tmp_path / "data")
    claim(out, {"size": 32, "hyperparameters": {"width": (1, 2)}})


def test_other_work_is_refused_and_the_difference_shown(tmp_path: Path) -> None:
    claim(tmp_path, {"size": 32, "device": "cpu", "hyperparameters": {"width": 1}})
    with pytest.raises(OutputError, match=r"for other work \(size 32 there, 64 asked; width 1 there, 2 asked\)"):
        claim(tmp_path, {"size": 64, "device": "cpu", "hyperparameters": {"width": 2}})
    claim(tmp_path, {"size": 32, "device": "cuda", "hyperparameters": {"width": 1}}, may_change={"device"})


def test_a_hyperparameter_named_like_a_setting_is_another_thing(tmp_path: Path) -> None:
    claim(tmp_path, {"steps": 10, "hyperparameters": {"steps": 50}}, may_change={"steps"})
    claim(tmp_path, {"steps": 20, "hyperparameters": {"steps": 50}}, may_change={"steps"})
    with pytest.raises(OutputError, match="hyperparameter steps 50 there, 200 asked"):
        claim(tmp_path, {"steps": 20, "hyperparameters": {"steps": 200}}, may_change={"steps"})


def test_a_folder_that_holds_something_foreign_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    check_place(tmp_path)
    (tmp_path / "thesis.tex").touch()
    for refuse in (lambda: check_place(tmp_path), lambda: claim(tmp_path, {})):
        with pytest.raises(OutputError, match=r"holds thesis\.tex, which braingan did not write"):
            refuse()
    with pytest.raises(OutputError, match="is a file; give a folder"):
        check_place(tmp_path / "thesis.tex")


@pytest.mark.parametrize(("out", "data"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("a/../a/b", "a")])
def test_an_output_folder_that_overlaps_with_data_is_refused(tmp_path: Path, out: str, data: str) -> None:
    with pytest.raises(OutputError, match=r"overlap; give one apart from the data"):
        check_place(tmp_path / out, None, tmp_path / data)
