"""Backends by name, from anybody's distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from braingan import BackendError, SettingsError, create_backend, list_backends, register_backend
from braingan.generation import registry
from braingan_dcgan import DCGAN

THIRD_PARTY = Path(__file__).parent.parent / "third_party"


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Forget what a test registers."""
    before = dict(registry.BACKENDS.registered)
    yield
    registry.BACKENDS.registered.clear()
    registry.BACKENDS.registered.update(before)


def write_plugin(site: Path, distribution: str, entry_points: str, code: str = "") -> None:
    """An installed distribution: its metadata, and a module."""
    info = site / f"{distribution.replace('-', '_')}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[braingan.generators]\n{entry_points}\n")
    (site / f"{distribution.replace('-', '_')}.py").write_text(code)


def test_the_three_backends_that_come_with_braingan_are_listed() -> None:
    found = {info.name: info for info in list_backends()}
    assert {"dcgan", "wgan", "wgan-gp"} <= found.keys()
    assert all(info.distribution == "braingan" and info.error is None and info.description for info in found.values())


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(BackendError, match="'dcgann' is unknown; did you mean 'dcgan'"):
        create_backend("dcgann")
    with pytest.raises(BackendError, match="there are dcgan, insert, paste, wgan, wgan-gp"):
        create_backend("zzzzzz")


def test_a_broken_plugin_is_listed_with_its_error_and_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, "broken-plugin", "broken = broken_plugin:Missing", "import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {info.name: info for info in list_backends()}
    assert "a_module_that_is_not_there" in str(found["broken"].error)
    assert found["broken"].distribution == "broken-plugin"
    assert found["dcgan"].error is None
    with pytest.raises(BackendError, match="'broken' of broken-plugin cannot be loaded: ModuleNotFoundError"):
        create_backend("broken")


def test_a_name_declared_twice_names_both_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path, "copycat", "dcgan = copycat:Own", "class Own: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendError, match="'dcgan' is declared by braingan and copycat"):
        create_backend("dcgan")
    assert create_backend("wgan")


def test_a_backend_registered_by_hand_can_be_made_and_a_taken_name_is_refused(by_hand: None) -> None:
    register_backend("mine")(DCGAN)
    assert create_backend("mine") == DCGAN()
    assert "mine" in [info.name for info in list_backends()]
    with pytest.raises(BackendError, match="'mine' of braingan_dcgan is declared by braingan_dcgan already"):
        register_backend("mine")(DCGAN)
    with pytest.raises(BackendError, match="'wgan' of braingan_dcgan is declared by braingan already"):
        register_backend("wgan")(DCGAN)


def test_hyperparameters_are_read_as_the_type_of_their_default() -> None:
    assert create_backend("dcgan", base_channels="16", dropout="0") == DCGAN(base_channels=16, dropout=0.0)
    with pytest.raises(SettingsError, match="no hyper-parameter 'width'; it has latent_size"):
        create_backend("dcgan", width=3)
    with pytest.raises(SettingsError, match="base_channels='many' was given; int values like 32 work"):
        create_backend("dcgan", base_channels="many")
    with pytest.raises(SettingsError, match=r"base_channels='1\.5'"):
        create_backend("dcgan", base_channels="1.5")


def test_a_third_partys_plugin_installs_appears_and_keeps_the_contract(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    subprocess.run(["cp", "-r", str(THIRD_PARTY), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(target)}
    command = [sys.executable, "-c", "import braingan.cli; braingan.cli.main()", "backends", "--json"]
    listed = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    own = next(info for info in listed if info["name"] == "constant")
    assert own == {
        "name": "constant",
        "description": "The mean of each class and a little noise.",
        "distribution": "braingan-constant",
        "version": "1.2.3",
        "error": None,
    }
    check = "import braingan, braingan.testing as t; t.check_backend(braingan.create_backend('constant'))"
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
