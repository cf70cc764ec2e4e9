"""Everything that braingan raises on purpose.

::

    BrainganError                 one line that says what was asked, what was found, what would work
    ├── DataError                 the images or their metadata
    ├── SplitError                a split that cannot be made, or does not fit the images
    │   └── LeakageError          a generator that has seen held-out images
    ├── SettingsError             options that cannot work, refused before training starts
    ├── BackendError              a backend that is unknown, broken or declared twice
    ├── OutputError               a folder that holds something else already, or nothing usable
    ├── TrainingDivergedError     a loss, or a probability, that is no number
    ├── StoppedError              SIGTERM or Ctrl-C; a checkpoint was written
    └── CellsFailedError          some trainings of a benchmark; the others are finished

The command line prints these as one line on stderr and exits with code 2; anything else keeps its
traceback, because it is a defect of braingan or of a plugin.
"""


class BrainganError(Exception):
    """Base of everything raised on purpose."""


class DataError(BrainganError):
    """The images or their metadata cannot be used as they are."""


class SplitError(BrainganError):
    """A split cannot be made, or does not fit the images."""


class LeakageError(SplitError):
    """A generator has learned from images that it is to be judged on."""


class SettingsError(BrainganError):
    """Options that cannot work, refused before training starts."""


class BackendError(BrainganError):
    """A backend that is unknown, broken, or declared by two distributions."""


class OutputError(BrainganError):
    """A folder holds something else already, or nothing that can be used."""


class TrainingDivergedError(BrainganError):
    """A loss is no longer a number, and the best checkpoint is kept; or what a classifier says is none."""


class StoppedError(BrainganError):
    """A training was asked to stop, and can go on from where it was.

    Attributes:
        signal: number of the signal that asked.
    """

    def __init__(self, message: str, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


class CellsFailedError(BrainganError):
    """Some trainings of a benchmark failed; the others are finished, and the same command redoes only these."""
