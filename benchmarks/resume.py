"""What an interruption costs: kill a training at random moments, take it up again each time, compare the end.

Usage: python benchmarks/resume.py [--json FILE] [--kills 20] [--steps 300] [--checkpoint-every 10] [--seed 0]

A DCGAN of default size learns drawn heads at 64x64 pixels, once unbroken with a checkpoint a minute, and once killed
(SIGKILL). Each process is a fresh interpreter on one thread. A kill comes at a random moment within two intervals after
the first checkpoint of its process. "Start-up" is all from the start of the process to the first step of training:
imports, images, networks, the checkpoint, the estimate of how long it will take.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from ctypes import Structure, c_double, c_int64
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

import braingan
from braingan.generation.checkpoints import checkpoints_in, load_checkpoint
from braingan.generation.record import SECONDS_BETWEEN_CHECKPOINTS, Record
from braingan.generation.training import Training
from braingan.versions import versions

processes = multiprocessing.get_context("spawn")


class Told(Structure):
    """What a training process tells; in shared memory, so that it is there after a kill."""

    begun: int
    done: int
    ready: float
    writing: float
    longest: float
    written: int
    training: float

    _fields_ = (
        ("begun", c_int64),  # at which step it began
        ("done", c_int64),  # steps
        ("ready", c_double),  # seconds from the start of the process to the first step
        ("writing", c_double),  # seconds in which checkpoints were written
        ("longest", c_double),  # of them
        ("written", c_int64),  # checkpoints
        ("training", c_double),  # seconds from the first step on
    )


def train(data: Path, run: Path, options: dict[str, Any], told: Told, started: float) -> None:
    """`braingan.train`, in this process, with its clock read."""
    torch.set_num_threads(1)
    start, step, save = Record.start, Training.step, Training.save

    def told_start(record: Record) -> None:
        start(record)
        told.begun = told.done = record.training.done
        told.ready = time.time() - started

    def told_step(training: Training, number: int) -> dict[str, torch.Tensor]:
        losses = step(training, number)
        if told.ready:  # not one of the trial that estimates how long it will take
            told.done, told.training = number + 1, time.time() - started - told.ready
        return losses

    def told_save(training: Training, seconds: float) -> None:
        before = time.perf_counter()
        save(training, seconds)
        took = time.perf_counter() - before
        told.written, told.writing, told.longest = told.written + 1, told.writing + took, max(told.longest, took)

    Record.start = told_start  # type: ignore[method-assign, assignment]
    Training.step = told_step  # type: ignore[method-assign, assignment]
    Training.save = told_save  # type: ignore[method-assign, assignment]
    braingan.train(data, run, **options, resume=True)


def begin(data: Path, run: Path, options: dict[str, Any]) -> tuple[SpawnProcess, Told]:
    """Start a training process."""
    told = processes.RawValue(Told)
    process = processes.Process(target=train, args=(data, run, options, told, time.time()))
    process.start()
    return process, told


def kill(process: SpawnProcess, told: Told, folder: Path, draw: random.Random, every: int) -> bool:
    """Kill a training at a random moment after its first checkpoint; tell whether it left half a checkpoint.

    Raises:
        RuntimeError: it ended before.
    """
    while process.is_alive() and not told.written:
        time.sleep(0.005)
    a_step = told.training / max(1, told.done - told.begun)
    time.sleep(draw.uniform(0, 2 * every * a_step))
    process.kill()
    process.join()
    if process.exitcode == 0:
        raise RuntimeError("the training ended before it was killed; ask for more --steps")
    return any(folder.glob(".*.part"))


def main() -> None:
    """Train, kill, compare, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where figures go; a table in Markdown goes beside")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--checkpoint-every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    options = {"steps": asked.steps, "batch_size": asked.batch_size, "precision": "float32", "patience": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        braingan.phantom(folder / "heads", patients=20, slices=4, size=64)
        unbroken = finish(*begin(folder / "heads", folder / "unbroken", options))
        often = options | {"checkpoint_every": asked.checkpoint_every}
        figures = interrupt(folder, often, asked.kills, random.Random(asked.seed))
        figures |= compare(folder)
    figures |= {
        "checkpoint_milliseconds": round(1000 * unbroken.writing / unbroken.written, 1),
        "checkpoint_milliseconds_longest": round(1000 * unbroken.longest, 1),
        "checkpoint_share_each_minute": round(unbroken.writing / unbroken.written / SECONDS_BETWEEN_CHECKPOINTS, 6),
        "unbroken_seconds": round(unbroken.training, 1),
        "unbroken_checkpoints": unbroken.written,
        "unbroken_checkpoint_share": round(unbroken.writing / unbroken.training, 6),
    }
    settings = {"backend": "dcgan", "size": 64, **often, "seed of the moments": asked.seed}
    text = report(figures, asked)
    print(text)
    if asked.json:
        content = {"settings": settings, "figures": figures, "versions": versions()}
        asked.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        asked.json.with_suffix(".md").write_text(text, encoding="utf-8")


def finish(process: SpawnProcess, told: Told) -> Told:
    """Let a training come to its end."""
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"a training ended with exit code {process.exitcode}")
    return told


def interrupt(folder: Path, options: dict[str, Any], kills: int, draw: random.Random) -> dict[str, Any]:
    """Kill a training again and again, and then let it come to its end."""
    rows: list[dict[str, Any]] = []
    process, told = begin(folder / "heads", folder / "killed", options)
    first = None
    for number in range(1, kills + 1):
        half = kill(process, told, folder / "killed" / "checkpoints", draw, options["checkpoint_every"])
        first, done = first or told.ready, told.done
        process, told = begin(folder / "heads", folder / "killed", options)
        while process.is_alive() and not told.ready:
            time.sleep(0.005)
        rows.append({"killed_at_step": done, "while_writing": half, "resumed_from_step": told.begun,
                     "steps_lost": done - told.begun, "start_up_seconds": round(told.ready, 2)})  # fmt: skip
        print(json.dumps({"kill": number} | rows[-1]), flush=True)
    finish(process, told)
    lost, ready = [row["steps_lost"] for row in rows], [row["start_up_seconds"] for row in rows]
    return {
        "kills": len(rows),
        "while_writing": sum(row["while_writing"] for row in rows),
        "resumed_above_step_0": sum(row["resumed_from_step"] > 0 for row in rows),
        "steps_lost_mean": round(statistics.mean(lost), 2),
        "steps_lost_most": max(lost),
        "start_up_seconds_first": round(first or 0, 2),
        "start_up_seconds_median": statistics.median(ready),
        "start_up_seconds_most": max(ready),
        "rows": rows,
    }


def compare(folder: Path) -> dict[str, Any]:
    """The killed training beside the unbroken one."""
    one, other = (folder / name for name in ("killed", "unbroken"))
    path = checkpoints_in(one / "checkpoints")[-1]
    first, second = (load_checkpoint(run / "checkpoints" / path.name).tensors for run in (one, other))
    return {
        "tensors": len(first),
        "tensors_equal": sum(torch.equal(value, second[name]) for name, value in first.items()),
        "models_equal": (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes(),
        "checkpoint_bytes": path.stat().st_size,
        "model_bytes": (one / "model.safetensors").stat().st_size,
    }


def report(figures: dict[str, Any], asked: argparse.Namespace) -> str:
    """A table in Markdown."""
    equal = f"{figures['tensors_equal']} of {figures['tensors']}"
    rows = {
        "kills (SIGKILL), of them inside the write of a checkpoint": f"{figures['kills']}, {figures['while_writing']}",
        "processes that went on above step 0": f"{figures['resumed_above_step_0']} of {figures['kills']}",
        f"steps lost by a kill, of {asked.checkpoint_every} between checkpoints: mean, most":
            f"{figures['steps_lost_mean']}, {figures['steps_lost_most']}",
        "start-up until training goes on: median, longest; of the first start":
            f"{figures['start_up_seconds_median']:.1f} s, {figures['start_up_seconds_most']:.1f} s; "
            f"{figures['start_up_seconds_first']:.1f} s",
        "tensors of the last checkpoint (G, D, average, optimisers) that are bit-equal to the unbroken run's": equal,
        "model files byte-equal": "yes" if figures["models_equal"] else "NO",
        "size of a checkpoint, of the model":
            f"{figures['checkpoint_bytes'] / 1e6:.1f} MB, {figures['model_bytes'] / 1e6:.1f} MB",
        "time to write a checkpoint: mean, longest":
            f"{figures['checkpoint_milliseconds']:.0f} ms, {figures['checkpoint_milliseconds_longest']:.0f} ms",
        "share of training time, at a checkpoint a minute": f"{figures['checkpoint_share_each_minute']:.2%}",
        f"share in the unbroken run ({figures['unbroken_seconds']:.0f} s, {figures['unbroken_checkpoints']} "
        "checkpoints)": f"{figures['unbroken_checkpoint_share']:.2%}",
    }  # fmt: skip
    body = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    used = ", ".join(f"{package} {version}" for package, version in versions().items())
    return (
        f"DCGAN of default size, 64x64 pixels, batch {asked.batch_size}, {asked.steps} steps on drawn heads, float32, "
        f"one thread of a busy machine.\n\n| what | figure |\n| --- | --- |\n{body}\n\n"
        f"Command: `python benchmarks/resume.py --json FILE --kills {asked.kills} --steps {asked.steps} "
        f"--batch-size {asked.batch_size} --checkpoint-every {asked.checkpoint_every} --seed {asked.seed}`\n\n{used}.\n"
    )


if __name__ == "__main__":
    main()
