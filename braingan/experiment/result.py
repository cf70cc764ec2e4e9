"""What a benchmark found, as a record that is JSON in and out. `docs/benchmark.md` describes the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from braingan.data.files import read_json, write_json
from braingan.data.folds import Folds
from braingan.errors import BrainganError, OutputError

Json = dict[str, Any]

EXTENDED = "Extended after the start of this benchmark"  # how the note of that begins
RESULT = "result.json"  # in a benchmark's folder
AUGMENTED, BASELINE = "with synthetic images", "best without"  # what the sides of the primary contrast are called

SUMMARISED = ("balanced_accuracy", "auroc", "average_precision", "brier", "calibration_error")


@dataclass(frozen=True)
class BenchmarkResult:
    """Scores of every arm and seed, the verdict, and all that is needed to judge and repeat them.

    Attributes:
        settings: see `BenchmarkSettings`, and `data`, `test`, `external`: names of the folders.
        versions: of Python and packages, and the kind of machine.
        splits: `files` (file, sha256, label, group) and for each fold the places of `train`, `val`, `test` and
            `left_out` in that list; `grouped_by`, `seed`.
        classes: names in label order.
        preprocessing: how images were prepared.
        runs: one a classifier: `arm`, `ratio`, `fold`, `seed`, `generator`, `n_real`, `n_synthetic`, `seen`,
            `per_class`, `macro`, `accuracy`, `seconds`.
        scores: one for each arm, repeat and seed, over the images of all folds: `arm`, `repeat`, `seed`, and what
            `evaluation.scores.measures` gives; `patients`: the same with one row a patient.
        summary: arm -> measure -> `mean`, `std` over these (the deviation of a sample; null for a single one).
        choice: what was chosen on validation patients in each fold; null where nothing was.
        comparisons: the primary contrast first; see `docs/benchmark.md`.
        units: what is kept on one side, in the singular, of the `training` images and of the `test` images, where it is
            also what is resampled, as of `external` ones: "patient"; "picture" or "file" where none are known. Earlier
            results have none.
        recommended_ratio: synthetic images for each real one that the result speaks for; null without a verdict.
        variance: arm -> standard deviation of macro-F1 by `split`, `generator`, `classifier` and `training`: see
            `split_variance`.
        subgroups: see `compare_subgroups`.
        curve: the learning curve of the real images, and what synthetic ones are worth on it: see `learning_curve`.
        external: `images`, `patients`, `summary` and `comparisons` on another site's images; null without any.
        generators: one a training: `fold`, `seed`, `sha256`, `seconds`, `losses` (step, d_loss, g_loss), and
            `chosen_on_validation`: whether the best step was kept, by validation images.
        intensity: histograms of the pixels of `real` and `synthetic` training images: shares that sum to 1.
        bad_files: what was left out because it could not be read: `file`, `reason`.
        notes: what a reader must know before believing the numbers.
        leakage: what was allowed although it leaks (`--allow-leakage`): the scores are no evidence of anything.
        seconds: computing time of all runs and generators.
    """

    settings: Json
    versions: Json
    splits: Json
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
    scores: list[Json] = field(default_factory=list)
    choice: Json | None = None
    comparisons: list[Json] = field(default_factory=list)
    units: Json = field(default_factory=dict)
    recommended_ratio: float | None = None
    variance: Json = field(default_factory=dict)
    subgroups: list[Json] = field(default_factory=list)
    external: Json | None = None
    curve: Json | None = None

    def to_json(self) -> Json:
        """As a JSON-able dictionary."""
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            OutputError: the file cannot be read, or is no result.
        """
        value = read_json(Path(path))
        try:
            if "split" in value:  # there was one, with all its files
                value["splits"] = Folds.from_json(value["split"]).to_json()
            return cls(**{known.name: value[known.name] for known in fields(cls) if known.name in value})
        except (TypeError, KeyError, BrainganError) as error:
            raise OutputError(f"{path} is no benchmark result of this version: {error}") from error

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the order in which they ran."""
        return list(self.summary)

    @property
    def folds_a_repeat(self) -> int:
        """How many parts the data were divided into; of a partial result, not all of them may be here."""
        asked = self.settings.get("folds")
        return int(asked) if asked else max(1, self.folds // (self.settings.get("repeats") or 1))

    @property
    def folds(self) -> int:
        """How many splits there were, of all repeats."""
        return len(self.splits["folds"])

    @property
    def split(self) -> Json:
        """The first split: `train`, `val`, `test` (files with content hashes), `grouped_by`, `seed`."""
        return Folds.from_json(self.splits)[0].split.to_json()

    @property
    def primary(self) -> Json | None:
        """The primary contrast with its verdict; None where there was nothing to compare."""
        return next((own for own in self.comparisons if own["primary"]), None)


def summarise(scores: Sequence[Mapping[str, Any]]) -> Json:
    """Mean and standard deviation over repeats and seeds, for each arm and measure."""
    summary: Json = {}
    for arm in dict.fromkeys(own["arm"] for own in scores):
        rows = [
            own["macro"] | {"accuracy": own["accuracy"]} | {name: own.get(name) for name in SUMMARISED}
            for own in scores
            if own["arm"] == arm
        ]
        summary[arm] = {measure: mean_and_std([row[measure] for row in rows]) for measure in rows[0]}
    return summary


def mean_and_std(values: Iterable[float | None]) -> dict[str, float | None]:
    """Of a sample; unknown where one of them is."""
    known = list(values)
    if not known or None in known:
        return {"mean": None, "std": None}
    numbers = np.array(known, dtype=float)
    return {"mean": float(numbers.mean()), "std": float(numbers.std(ddof=1)) if len(known) > 1 else None}
