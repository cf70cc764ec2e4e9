"""What a training leaves behind while it runs: statistics, pictures, checkpoints, and how it ended."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from braingan.data.files import replacing
from braingan.data.pictures import grid, write_png
from braingan.errors import OutputError, StoppedError, TrainingDivergedError
from braingan.generation.journal import Journal
from braingan.generation.samples import SHOWS_PATIENTS, edits_real_slices
from braingan.generation.training import Training
from braingan.generation.watchdog import MEASURE_EVERY
from braingan.versions import versions

STATISTICS = "stats.jsonl"
LINE_EVERY = 10  # steps between two lines of statistics; on a GPU, losses are read no more often: that waits for it
PICTURES = 10  # in a run
GRID_COLUMNS = 8
SECONDS_BETWEEN_CHECKPOINTS = 60.0
SECONDS_BETWEEN_NOTES = 10.0  # in run.json


class Record:
    """Writes into the run folder; in a team, one process does.

    Args:
        training: what is recorded.
    """

    def __init__(self, training: Training) -> None:
        self.training, self.run = training, training.run
        self.writes = training.team.writes
        self.folder = self.run.folder
        self.read_every = LINE_EVERY if training.device.type == "cuda" else 1
        self._unread: list[dict[str, Tensor]] = []
        self._shown: dict[str, float] = {}
        self._journal = Journal(self.folder)

    def start(self) -> None:
        """Open the run, at step 0 or where it goes on from."""
        self._started = self._saved = self._line_at = self._noted = time.monotonic()
        self._saved_step = self._line_step = self._picture_step = self.training.done
        if not self.writes:
            return
        self._cut_statistics()
        device = str(self.training.device)
        self._journal.start(self.run.settings, self.run.steps, self.training.done, device)
        facts = {"settings": dict(self.run.settings), "versions": versions(), "step": self.training.done}
        self.run.callbacks.on_start(self.folder, facts)

    def losses(self, losses: dict[str, Tensor]) -> Mapping[str, float]:
        """Take a step's losses; give the latest that were read.

        Raises:
            TrainingDivergedError: one is no number.
        """
        self._unread.append(losses)
        if len(self._unread) >= self.read_every:
            self._read()
        done = self.training.done
        if done < LINE_EVERY or done % LINE_EVERY == 0 or done == self.run.steps:
            self._read()
            steps = self.training.done - self._line_step
            rate = steps / max(time.monotonic() - self._line_at, 1e-9)
            self._write_line(self._shown | {"steps_per_second": round(rate, 3)})
            self._line_at, self._line_step = time.monotonic(), self.training.done
            if self.writes and self._line_at - self._noted > SECONDS_BETWEEN_NOTES:
                self._note()
        return self._shown

    def measure(self) -> None:
        """Compare samples with real images; keep the step if it is the best."""
        self._read()
        training, watchdog = self.training, self.training.watchdog
        if not watchdog.able:
            return
        if not training.is_finite():
            raise self._diverged(training.done, self._shown)
        if self.writes:
            G = training.averaged()
            measured = watchdog.measure(training.done, lambda labels: training.sample(G, labels))
            if not all(map(math.isfinite, measured.values())):
                raise self._diverged(training.done, measured)
            self._write_line(measured)
            self._draw(G)
            if watchdog.kept == training.done:
                self.checkpoint()
        watchdog.watch = training.team.tell(watchdog.watch)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        if self._saved_step == self.training.done:
            return False
        if self.run.checkpoint_every:
            return self.training.done % self.run.checkpoint_every == 0
        return time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS

    def checkpoint(self) -> None:
        """Write a checkpoint, unless this step has one."""
        if not self.writes or self._saved_step == self.training.done:
            return
        self._read()
        if not self.training.is_finite():
            raise self._diverged(self.training.done, self._shown)
        self.training.save(self._seconds())
        self._saved, self._saved_step = time.monotonic(), self.training.done
        self._note()

    def finish(self) -> None:
        """Close a run that reached its end."""
        self.checkpoint()
        self._end("finished")

    def fail(self, error: BaseException) -> None:
        """Close a run that did not."""
        stopped = isinstance(error, StoppedError | KeyboardInterrupt)
        self._end("stopped" if stopped else "failed", str(error) or type(error).__name__)

    def _end(self, state: Any, message: str = "") -> None:
        if self.writes:
            self._note()
            self._journal.end(state, self.training.done, message)
            self.run.callbacks.on_end(state, self.training.done)

    def _note(self) -> None:
        watchdog = self.training.watchdog
        self._noted = time.monotonic()
        seconds = self._noted - self._started
        self._journal.progress(self.training.done, watchdog.kept or None, watchdog.watch.best_distance, seconds)

    def _seconds(self) -> float:
        return round(self.training.seconds + time.monotonic() - self._started, 1)

    def _read(self) -> None:
        """Bring the losses of the last steps here, and check that they are numbers."""
        if not self._unread:
            return
        names, first = list(self._unread[0]), self.training.done - len(self._unread) + 1
        rows = torch.stack([torch.stack([losses[name] for name in names]) for losses in self._unread]).tolist()
        self._unread = []
        for step, row in enumerate(rows, first):
            self._shown = dict(zip(names, row, strict=True))
            if not all(map(math.isfinite, row)):
                raise self._diverged(step, self._shown)

    def _diverged(self, step: int, figures: Mapping[str, float]) -> TrainingDivergedError:
        shown = ", ".join(f"{name} {value}" for name, value in figures.items())
        best = self.training.watchdog.kept
        kept = best or self._saved_step
        rest = "it came before the first checkpoint"
        if kept:
            what = "best" if best else "last"
            rest = (
                f"the {what} checkpoint, of step {kept}, is kept (`braingan train` with --resume --steps {kept} takes "
                "it as it is)"
            )
        return TrainingDivergedError(f"training diverged at step {step} ({shown}); {rest}; a lower learning_rate helps")

    def _write_line(self, figures: Mapping[str, float]) -> None:
        if not self.writes:
            return
        try:
            with (self.folder / STATISTICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.training.done, **figures}) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.folder / STATISTICS}: {error.strerror}") from error
        self.run.callbacks.on_figures(self.training.done, figures)

    def _cut_statistics(self) -> None:
        """Leave out what a stopped process did after its last checkpoint: it is done again."""
        path = self.folder / STATISTICS
        if not path.exists():
            return
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _is_before(line, self.training.done)]
        with replacing(path) as beside:
            beside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def _draw(self, G: nn.Module) -> None:
        step, spec = self.training.done, self.training.data.spec
        if step < self.run.steps and step - self._picture_step < self.run.steps / PICTURES:
            return
        labels = torch.tensor(self.training.made).repeat_interleave(GRID_COLUMNS)
        shown = ", ".join(spec.classes[label] for label in self.training.made)
        text = {"Software": "braingan", "Synthetic": "true", "Step": str(step), "Classes": shown}
        if edits_real_slices(self.training.generator(G)):
            text["Comment"] = SHOWS_PATIENTS
        path = self.folder / "samples" / f"step_{step:06d}.png"
        write_png(path, grid(self.training.sample(G, labels), GRID_COLUMNS), text)
        self._picture_step = step
        self.run.callbacks.on_samples(step, path)


def _is_before(line: str, done: int) -> bool:
    """Whether a line of statistics was written before a checkpoint of step `done`, and would be in a longer run, too.

    One that a killed process left half-written was not, nor was the measurement at a run's end between two others.
    """
    try:
        figures = json.loads(line)
        step = int(figures["step"])
    except (ValueError, KeyError, TypeError):
        return False
    return step < done or (step == done and not ("distance" in figures and done % MEASURE_EVERY))
