"""What an inspection found, as a record that is JSON in and out. `docs/inspect.md` describes the schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from braingan.data.files import read_json, write_json
from braingan.errors import OutputError

Json = dict[str, Any]
RESULT, PAGE = "inspection.json", "inspection.html"


@dataclass(frozen=True)
class Inspection:
    """Facts about a data folder, and what to do about them.

    Attributes:
        data: name of the folder.
        test: name of the test folder, if there is one.
        images: how many can be read, in both parts.
        patients: how many there are in both parts; None where they are not known.
        classes: class -> images, in both parts.
        parts: `train` and, if there is one, `test`: `images`, `patients`, `classes`.
        bad_files: `file`, `reason` of what cannot be read.
        duplicate_groups: lists of images that show the same picture, within the training part; relative paths.
        duplicates: more of the same groups: `files`, `kinds`, `labels`, `contradictory`, `part`, also of the test
            part.
        cross_folder: `test_images_with_twin`, `files`, `identical`, `per_class`, `contradictory`, `pairs`,
            `patients_in_both`, `lookup`; None without a test part.
        shortcut: class -> `balanced_accuracy`, `chance`, `low`, `statistics`, `flagged`: what statistics that no
            tumour can change give away.
        appearance: the same of intensity and sharpness, which a tumour may change; never counted as serious.
        minimum_detectable_effect: smallest difference in macro-F1 that the test set can be expected to show.
        sufficiency: what that rests on, and on how many test patients.
        advice: what to do, the most urgent first.
        serious: why `--strict` fails; empty where it does not.
        seconds: how long it took.
        versions: of Python and packages, and the kind of machine.
    """

    data: str
    test: str | None
    images: int
    patients: int | None
    classes: dict[str, int]
    parts: Json
    bad_files: list[Json]
    duplicate_groups: list[list[str]]
    duplicates: list[Json]
    cross_folder: Json | None
    shortcut: Json
    appearance: Json
    minimum_detectable_effect: float | None
    sufficiency: Json
    advice: list[str]
    serious: list[str]
    seconds: float
    versions: Json

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
            OutputError: the file cannot be read, or is no inspection.
        """
        value = read_json(Path(path))
        try:
            return cls(**{field.name: value[field.name] for field in fields(cls)})
        except (TypeError, KeyError) as error:
            raise OutputError(f"{path} is no inspection of this version: {error}") from error
