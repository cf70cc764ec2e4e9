"""What a benchmark is, apart from its images: enough to put together whatever is finished of it, at any moment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from braingan.data.files import read_json, write_json
from braingan.data.folds import Folds
from braingan.data.split import SplitFile
from braingan.errors import OutputError
from braingan.experiment.cells import Bench
from braingan.experiment.settings import BenchmarkSettings

PLAN, SPLITS = "plan.json", "split.json"


@dataclass(frozen=True)
class Plan:
    """A benchmark before, while and after it runs.

    Attributes:
        bench: what its cells share.
        splits: which images are for what.
        classes: names in label order.
        places: names of what was given, by option: folders, and the file of weights with its hash.
        preprocessing: how images are prepared.
        bad_files: what was left out because it could not be read: `file`, `reason`.
        notes: what a reader must know of the images.
        external: another site's images, which all classifiers are scored on as well.
        columns: of the metadata, for subgroups: column -> file -> text.
        units: what is kept on one side, in words, of `training` and `test` images; what is independent of `external`
            ones, where there are any.
    """

    bench: Bench
    splits: Folds
    classes: list[str]
    places: dict[str, str | None]
    preprocessing: dict[str, Any]
    bad_files: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    external: tuple[SplitFile, ...] = ()
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Write `plan.json` and `split.json` into the output folder."""
        bench = self.bench
        own = asdict(bench) | {"settings": bench.settings.to_json(), "generator": _text(bench.generator)}
        for name in ("out", "inputs"):  # where it lies may change
            own.pop(name)
        names = ("classes", "places", "preprocessing", "bad_files", "notes", "columns", "units")
        facts = {name: getattr(self, name) for name in names}
        facts["external"] = [asdict(file) for file in self.external]
        self.splits.save(bench.out / SPLITS)
        write_json(bench.out / PLAN, {"bench": own} | facts)

    @classmethod
    def load(cls, out: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            OutputError: the folder is no benchmark's, or of another version.
        """
        if not (out / PLAN).exists():
            raise OutputError(f"{out} holds no benchmark ({PLAN} is missing); give the output folder of one")
        value = read_json(out / PLAN)
        try:
            own = value.pop("bench")
            bench = Bench(
                out=out.resolve(),
                settings=BenchmarkSettings.from_json(own["settings"]),
                key=own["key"],
                images=tuple(own["images"]),
                generator=Path(own["generator"]) if own["generator"] else None,
                leakage=tuple(own["leakage"]),
            )
            external = tuple(SplitFile(**file) for file in value.pop("external"))
            return cls(bench, Folds.load(out / SPLITS), external=external, **value)
        except (KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{out / PLAN} is no plan of this version's benchmark: {error}") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
