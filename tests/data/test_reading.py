"""Formats by name: which reader is picked, and readers from anybody's distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import braingan
from braingan import DataError, SettingsError
from braingan.data.findings import Findings
from braingan.data.reading import list_readers, read_data, recognise

PLUGIN = """
from dataclasses import dataclass
from braingan.data.building import Found, build_set

@dataclass(frozen=True)
class Lists:
    '''Pictures that a list.txt names.'''
    patient: str = "p"

    def recognises(self, files):
        return "list.txt" in files

    def read(self, data, findings):
        names = (data / "list.txt").read_text().split()
        found = [Found(data / name, name, f"class{number % 2}", f"{self.patient}{number}")
                 for number, name in enumerate(names)]
        return build_set(data, found, findings)
"""


def install(site: Path, distribution: str, entry_points: str, code: str) -> None:
    """An installed distribution: its metadata, and a module."""
    info = site / f"{distribution}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[braingan.readers]\n{entry_points}\n")
    (site / f"{distribution}.py").write_text(code)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    data = tmp_path / "listed"
    data.mkdir()
    for number in range(4):
        Image.fromarray(np.full((16, 16), 40 * number, np.uint8)).save(data / f"{number}.png")
    (data / "list.txt").write_text("\n".join(f"{number}.png" for number in range(4)))
    return data


def test_the_readers_that_come_with_braingan_are_listed() -> None:
    found = {info.name: info for info in list_readers()}
    assert {"cheng", "dicom", "folders", "kaggle_3m", "nifti"} <= found.keys()
    assert all(info.error is None and info.description for info in found.values())


def test_a_third_partys_reader_is_picked_and_takes_its_options(
    tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "listreader", "lists = listreader:Lists", PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert recognise(listed) == "lists"
    images = braingan.read_images(listed, options={"patient": "who"})
    assert [record.group for record in images.records] == ["who0", "who1", "who2", "who3"]
    assert images.classes == ["class0", "class1"]
    assert braingan.inspect(listed, format="lists").patients == 4


def test_a_folder_that_two_readers_claim_is_refused_until_one_is_named(
    tmp_path: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "listreader2", "lists = listreader2:Lists\nothers = listreader2:Lists", PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(DataError, match="looks like lists and like others; say which with --format"):
        braingan.read_images(listed)
    assert len(braingan.read_images(listed, format="others")) == 4


def test_a_broken_reader_harms_no_other(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "brokenreader", "broken = brokenreader:Missing", "import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert recognise(data) == "folders"
    assert "a_module_that_is_not_there" in str({info.name: info.error for info in list_readers()}["broken"])
    with pytest.raises(DataError, match="format 'broken' of brokenreader cannot be loaded"):
        braingan.read_images(data, format="broken")


def test_an_unknown_format_or_option_says_what_there_is(data: Path) -> None:
    with pytest.raises(DataError, match="format 'nifty' is unknown; did you mean 'nifti'"):
        braingan.read_images(data, format="nifty")
    with pytest.raises(SettingsError, match="format 'nifti' has no option 'plane'; it has axis"):
        read_data(data, Findings(skip_bad=False), format="nifti", options={"plane": "axial"})
