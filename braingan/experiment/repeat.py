"""Running a benchmark again from its result."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from braingan.data.split import Split
from braingan.errors import SettingsError
from braingan.experiment.result import BenchmarkResult
from braingan.experiment.settings import BenchmarkSettings

FREE = {"device", "skip_bad", "allow_leakage"}  # may differ from the run that is repeated


def settings_and_split(
    asked: BenchmarkSettings, *, config: Path | None, split: Path | None, test: Path | None, generator: Path | None
) -> tuple[BenchmarkSettings, Split | None]:
    """What to run: as asked, or as in a `result.json`.

    Raises:
        SettingsError: options that exclude each other.
        OutputError: a file that cannot be read.
        SplitError: a split file that is none.
    """
    if config is None:
        if split and test:
            raise SettingsError(
                "--split and --test were both asked; a split names its own test images: give one of them"
            )
        return asked, Split.load(Path(split)) if split else None
    if split:
        raise SettingsError("--config and --split were both asked; --config brings its own split: give one of them")
    before = BenchmarkResult.load(config)
    own = {field.name for field in fields(BenchmarkSettings)}
    settings = BenchmarkSettings.from_json({key: value for key, value in before.settings.items() if key in own})
    default = BenchmarkSettings()
    changed = [
        name
        for name in sorted(own - FREE)
        if getattr(asked, name) not in (getattr(default, name), getattr(settings, name))
    ]
    if changed:
        option = changed[0].replace("_", "-")
        raise SettingsError(f"--config and --{option} were both asked; --config brings its own settings: leave one out")
    for name, given in (("test", test), ("generator", generator)):
        used = before.settings.get(name)
        if bool(used) != bool(given):
            was = f"with --{name} {used}" if used else f"without --{name}"
            raise SettingsError(f"{config} was made {was}; repeat it {was}")
    skip_bad = asked.skip_bad or settings.skip_bad
    allow_leakage = asked.allow_leakage or settings.allow_leakage
    settings = replace(settings, device=asked.device, skip_bad=skip_bad, allow_leakage=allow_leakage)
    return settings, Split.from_json(before.split)
