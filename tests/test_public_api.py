"""The public names, and that the command line is the API."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import typer.main

import braingan
from braingan import api, cli

VERBS = [
    "inspect", "prepare", "datasets", "phantom", "train", "runs", "sample", "augment", "benchmark", "report",
    "compare_files",
]  # fmt: skip
PLAIN = {"arms", "backends", "formats"}  # commands that only print a list of plugins
OWN = {"as_json", "strict", "help"}  # of commands only: how a result is shown, and what the shell learns of it


def test_importing_braingan_and_asking_for_help_imports_no_torch() -> None:
    code = (
        "import sys, braingan, braingan.cli\n"
        "try: braingan.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'sklearn', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_training_and_augmenting_start_without_what_only_scoring_needs() -> None:
    code = (
        "import sys, braingan.generation.train, braingan.augmentation.augment\n"
        "print(*sorted({'torchvision', 'timm', 'sklearn', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "\n"


def test_every_public_name_can_be_imported_and_none_is_missing_from_all() -> None:
    assert sorted(braingan.__all__) == sorted(braingan._HOME_OF)
    assert all(getattr(braingan, name) is not None for name in braingan.__all__)


def test_verbs_stay_functions_when_the_rooms_behind_them_are_imported() -> None:
    import braingan.experiment.run
    import braingan.inspection.inspecting
    import braingan.reporting.write

    assert braingan.benchmark is api.benchmark
    assert braingan.inspect is api.inspect
    assert all(callable(getattr(braingan, verb)) for verb in VERBS)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pix2pix'"):
        braingan.pix2pix  # noqa: B018


@pytest.mark.parametrize("verb", VERBS)
def test_commands_and_functions_have_the_same_names_and_defaults(verb: str) -> None:
    command = typer.main.get_command(cli.app).commands[cli.NAMES.get(verb, verb)]  # type: ignore[attr-defined]
    shown = {option.name: option for option in command.params if option.name not in OWN}
    function = inspect.signature(getattr(braingan, verb)).parameters
    assert list(shown) == list(function)
    for name, parameter in function.items():
        required = parameter.default is inspect.Parameter.empty
        assert shown[name].required == required
        if not required:
            assert shown[name].default == parameter.default, name
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            flag = cli.FLAGS.get(name, name).replace("_", "-")
            assert f"--{flag}" in shown[name].opts


def test_every_command_is_compared_with_its_function() -> None:
    commands: set[str] = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert commands - PLAIN == {cli.NAMES.get(verb, verb) for verb in VERBS}
    assert set(cli.NAMES) <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_explained(verb: str) -> None:
    function = getattr(braingan, verb)
    assert set(cli._argument_help(function)) == set(inspect.signature(function).parameters)
