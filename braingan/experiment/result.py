"""What a benchmark found, as a record that is JSON in and out. `docs/benchmark.md` describes the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from braingan.data.files import read_json, write_json
from braingan.errors import OutputError

Json = dict[str, Any]


@dataclass(frozen=True)
class BenchmarkResult:
    """Scores of every arm and seed, and all that is needed to judge and repeat them.

    Attributes:
        settings: see `BenchmarkSettings`, and `data`, `test`: names of the folders.
        versions: of Python and packages, and the kind of machine.
        split: train, val, test (files with content hashes), grouped_by, seed.
        classes: names in label order.
        preprocessing: how images were prepared.
        runs: one a cell: `arm`, `fold`, `seed`, `n_real`, `n_synthetic`, `per_class`, `macro`, `accuracy`,
            `seconds`.
        summary: arm -> measure (`precision`, `recall`, `f1`, `accuracy`) -> `mean`, `std` over runs (the
            deviation of a sample; null for a single run).
        generators: one a seed: `seed`, `sha256`, `seconds`, `losses` (step, d_loss, g_loss).
        intensity: histograms of the pixels of `real` and `synthetic` training images: shares that sum to 1.
        bad_files: what was left out because it could not be read: `file`, `reason`.
        notes: what a reader must know before believing the numbers.
        leakage: what was allowed although it leaks (`--allow-leakage`): the scores are no evidence of anything.
        seconds: computing time of all runs and generators.
    """

    settings: Json
    versions: Json
    split: Json
    classes: list[str]
    preprocessing: Json
    runs: list[Json]
    summary: Json
    generators: list[Json]
    intensity: Json
    bad_files: list[Json]
    notes: list[str]
    seconds: float
    leakage: list[str] = field(default_factory=list)

    def to_json(self) -> Json:
        """As a JSON-able dictionary."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            OutputError: the file cannot be read, or is no result.
        """
        value = read_json(Path(path))
        try:
            return cls(**{known.name: value[known.name] for known in fields(cls) if known.name in value})
        except (TypeError, KeyError) as error:
            raise OutputError(f"{path} is no benchmark result of this version: {error}") from error

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order in which they ran."""
        return list(self.summary)


def summarise(runs: Sequence[Mapping[str, Any]]) -> Json:
    """Mean and standard deviation over runs, for each arm and measure."""
    summary: Json = {}
    for arm in dict.fromkeys(run["arm"] for run in runs):
        own = [run["macro"] | {"accuracy": run["accuracy"]} for run in runs if run["arm"] == arm]
        summary[arm] = {measure: _mean_and_std([scores[measure] for scores in own]) for measure in own[0]}
    return summary


def _mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else None}
