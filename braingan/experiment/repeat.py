"""Running a benchmark again from its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from braingan.data.files import sha256_of
from braingan.data.folds import Folds
from braingan.errors import SettingsError
from braingan.experiment.result import BenchmarkResult
from braingan.experiment.settings import DEFAULT_PRESET, FIELDS, PRESETS, BenchmarkSettings, option_of
from braingan.generation.storage import MODEL

FREE = {"device", "skip_bad", "allow_leakage", "weights"}  # may differ from the run that is repeated
GIVEN = ("test", "external", "generator", "weights")  # a result names them; they have to be given again


def settings_and_splits(
    asked: BenchmarkSettings, *, config: Path | None, split: Path | None, folders: dict[str, Path | None],
    preset: str | None,
) -> tuple[BenchmarkSettings, Folds | None]:  # fmt: skip
    """What to run: as asked, or as in a `result.json`.

    Args:
        asked: settings as given.
        config: a `result.json` to repeat; None for what was asked.
        split: a file of one split or several.
        folders: `test`, `external` and `generator`, where given.
        preset: the one that was asked for, None where none was.

    Raises:
        SettingsError: options that exclude each other.
        OutputError: a file that cannot be read.
        SplitError: a split file that is none.
    """
    if config is None:
        if split and folders["test"]:
            raise SettingsError(
                "--split and --test were both asked; a split names its own test images: give one of them"
            )
        return asked, Folds.load(Path(split)) if split else None
    if split:
        raise SettingsError("--config and --split were both asked; --config brings its own split: give one of them")
    if preset is not None:
        raise SettingsError("--config and --preset were both asked; --config brings its own settings: leave one out")
    before = BenchmarkResult.load(config)
    settings = BenchmarkSettings.from_json({key: value for key, value in before.settings.items() if key in FIELDS})
    default = BenchmarkSettings(**PRESETS[DEFAULT_PRESET])
    changed = [
        name
        for name in sorted(set(FIELDS) - FREE)
        if getattr(asked, name) not in (getattr(default, name), getattr(settings, name))
    ]
    if changed:
        option = option_of(changed[0])
        raise SettingsError(f"--config and {option} were both asked; --config brings its own settings: leave one out")
    again = folders | {"weights": Path(asked.weights) if asked.weights else None}
    for name in GIVEN:
        used, given = before.settings.get(name), again[name]
        if bool(used) != bool(given):
            was = f"with --{name} {used}" if used else f"without --{name}"
            raise SettingsError(f"{config} was made {was}; repeat it {was}")
    _check_same(before, config, again)
    skip_bad = asked.skip_bad or settings.skip_bad
    allow_leakage = asked.allow_leakage or settings.allow_leakage
    settings = replace(
        settings, device=asked.device, skip_bad=skip_bad, allow_leakage=allow_leakage, weights=asked.weights
    )
    return settings, Folds.from_json(before.splits)


def _check_same(before: BenchmarkResult, config: Path, again: dict[str, Path | None]) -> None:
    """Refuse another generator, or other weights to start from, than those of the result."""
    hashes = {own["sha256"] for own in before.generators}
    known = {"generator": hashes, "weights": {before.settings.get("weights_sha256")} - {None}}
    for name, file in (("generator", MODEL), ("weights", "")):
        given = again[name]
        if given is None or not known[name]:
            continue
        path = Path(given, file)
        if path.exists() and sha256_of(path) not in known[name]:
            raise SettingsError(f"{config} was made with another --{name} than {given}; repeat it with that one")
