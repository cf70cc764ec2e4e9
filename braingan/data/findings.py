"""Files that cannot be used: kept where the user asked to go on without them, raised where not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from braingan.data.walking import printable
from braingan.errors import DataError


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used, and why."""

    file: str
    reason: str


@dataclass
class Findings:
    """The bad files so far."""

    skip_bad: bool
    bad: list[BadFile] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Note a bad file; whatever its name and the reason hold, they make one line."""
        self.bad.append(BadFile(printable(file), printable(reason)))

    def refuse(self, data: Path) -> None:
        """Raise a `DataError` in one line, unless bad files are to be skipped."""
        if self.bad and not self.skip_bad:
            first, others = self.bad[0], len(self.bad) - 1
            names = ", ".join(bad.file for bad in self.bad[1:4]) + (", ..." if others > 3 else "")
            more = f" (and {others} more bad: {names})" if others else ""
            raise DataError(f"{data}: {first.file}: {first.reason}{more}; --skip-bad goes on without bad files")
