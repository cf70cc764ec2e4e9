"""Many trainings: each is claimed, done once and written whole, in this process or in others, whatever dies."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from safetensors.torch import load_file

import braingan
from braingan import BenchmarkResult, Generator, SettingsError, TrainingData, TrainingRun, register_backend
from braingan.data.folds import Fold, Folds
from braingan.data.locking import locked
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import everything, split_files
from braingan.errors import CellsFailedError
from braingan.experiment.arms import ARMS, Arm, ArmImages, register_arm
from braingan.experiment.attempts import attempt_in_worker
from braingan.experiment.cells import Bench
from braingan.experiment.engines import Engine, share_of_cores
from braingan.experiment.images import LabelledImages
from braingan.experiment.inputs import CellInputs, load_inputs
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation import registry
from braingan.progress import Progress
from braingan_dcgan import DCGAN

Options = dict[str, Any]
BRAINGAN = str(Path(sys.executable).parent / "braingan")


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Path]:
    """A backend that fails for seed 1 as long as a file is there."""
    broken = tmp_path / "broken"
    broken.touch()

    @dataclass(frozen=True)
    class Fragile(DCGAN):
        """Fails now and then."""

        def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
            if run.seed == 1 and broken.exists():
                raise ZeroDivisionError("a defect of a backend")
            return super().fit(data, run)

    before = dict(registry.BACKENDS.registered)
    register_backend("fragile")(Fragile)
    yield broken
    registry.BACKENDS.registered.clear()
    registry.BACKENDS.registered.update(before)


@dataclass(frozen=True)
class ThreadCount:
    """A cell that says how many threads it has."""

    name: str = "threads"
    title: str = "counting threads"

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:
        return False

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        with Progress("counting", 1) as progress:
            bar = "a bar" if not progress._bar.disable else "no bar"
        for line in ("counted", f"{self.title}: counted"):  # a line may have the title already
            logging.getLogger("braingan").info(line)
        return f"{torch.get_num_threads()} threads and {bar} for {len(inputs.fold(0).train)} images"


def test_a_failed_cell_is_told_of_with_its_traceback_and_the_rest_goes_on(
    data: Path, tmp_path: Path, quick: Options, fragile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with pytest.raises(CellsFailedError) as caught:
        braingan.benchmark(data, out, **quick | {"backend": "fragile"})
    assert re.fullmatch(
        r"1 of 8 trainings failed: generator, fold 0, seed 1 \(ZeroDivisionError: a defect of a backend\); tracebacks "
        rf"are in {out}/failed, and the same command redoes only what is not finished", str(caught.value),
    )  # fmt: skip
    assert "in fit\n" in (out / "failed" / "generator-fold0-seed1.txt").read_text()
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert said[0].endswith(f"a defect of a backend; traceback in {out}/failed/generator-fold0-seed1.txt")
    stamps = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert {path.stem for path in stamps} == {
        "real-fold0-seed0", "real-fold0-seed1", "synthetic-ratio1-fold0-seed0", "combined-ratio1-fold0-seed0",
    }  # fmt: skip
    fragile.unlink()
    result = braingan.benchmark(data, out, **quick | {"backend": "fragile"})
    assert len(result.runs) == 6
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert list((out / "failed").iterdir()) == []


def test_two_processes_give_what_one_gives(data: Path, tmp_path: Path, quick: Options) -> None:
    one = braingan.benchmark(data, tmp_path / "one", **quick)
    two = braingan.benchmark(data, tmp_path / "two", **quick, jobs=2)
    assert_same(one, two)
    assert (tmp_path / "one" / "predictions.csv").read_bytes() == (tmp_path / "two" / "predictions.csv").read_bytes()
    for seed in (0, 1):
        mine, others = (
            load_file(tmp_path / name / "generators" / f"fold0-seed{seed}" / "model.safetensors")
            for name in ("one", "two")
        )
        assert all(torch.equal(mine[name], others[name]) for name in mine)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_no_cell(
    data: Path, tmp_path: Path, quick: Options, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_deadly.py").write_text(
        "import os\nimport signal\n\nfrom my_models import tiny\n\n\ndef deadly(num_classes, in_chans):\n"
        "    if os.getpid() != int(os.environ['FIRST']):\n"
        "        try:\n"
        "            open('died', 'x').close()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        except FileExistsError:\n"
        "            pass\n"
        "    return tiny(num_classes, in_chans)\n"
    )
    monkeypatch.setenv("FIRST", str(os.getpid()))
    options = quick | {"model": "my_deadly:deadly"}
    two = braingan.benchmark(data, tmp_path / "two", **options, jobs=2)
    assert (tmp_path / "died").exists()
    assert "a worker was lost (TerminatedWorkerError" in caplog.text
    assert_same(two, braingan.benchmark(data, tmp_path / "one", **options))


def assert_same(one: BenchmarkResult, two: BenchmarkResult) -> None:
    """All but the time is equal."""
    runs = [[{key: run[key] for key in run if key != "seconds"} for run in result.runs] for result in (one, two)]
    assert runs[0] == runs[1]


def test_a_cell_that_another_process_has_is_left_for_last_and_taken_up_when_that_process_is_killed(
    data: Path, tmp_path: Path, quick: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    out = tmp_path / "out"
    locks = out / "cache" / "locks"
    locks.mkdir(parents=True)
    hold = (
        "import sys, time, filelock\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\n"
        "print('held', flush=True)\ntime.sleep(30)\n"
    )
    lock = locks / "generator-fold0-seed0.lock"
    with subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def kill_when_left() -> None:
            while (
                "generator, fold 0, seed 0: another process is at work on it" not in caplog.text
                and other.poll() is None
            ):
                time.sleep(0.05)
            other.send_signal(signal.SIGKILL)

        threading.Thread(target=kill_when_left, daemon=True).start()
        result = braingan.benchmark(data, out, **quick)
    assert len(result.runs) == 6
    done = [said.partition(" (")[0] for said in caplog.messages if ": done (" in said]
    assert done == ["generator, fold 0, seed 1: done", "generator, fold 0, seed 0: done"]


@pytest.mark.slow
def test_two_commands_on_one_folder_share_the_cells(
    data: Path, tmp_path: Path, tiny_options: list[str], tiny_model: str
) -> None:
    command = [BRAINGAN, "benchmark", "data", "out", *tiny_options, "--model", tiny_model, "--seeds", "4",
               "--generators", "4", "--arms", "real,synthetic,combined",
               "--classifier-steps", "200", "--json"]  # fmt: skip
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]  # fmt: skip
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "another process is at work on it" in said[0][1] + said[1][1]
    trained = re.findall(r"trained dcgan in .*fold0-(seed\d)$", said[0][1] + said[1][1], flags=re.MULTILINE)
    assert sorted(trained) == ["seed0", "seed1", "seed2", "seed3"]
    assert said[0][0].replace(" ", "")[:100] == said[1][0].replace(" ", "")[:100]


def test_cells_share_the_cores_and_their_lines_say_whose_they_are(
    inputs: CellInputs, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # as on a terminal
    assert share_of_cores(1) == joblib.cpu_count()
    assert share_of_cores(1000) == 1
    assert Engine("local", 1000).threads() == 1
    bench = Bench(tmp_path, BenchmarkSettings(), "key", (), inputs=inputs.save(tmp_path))
    options: Options = {"wait": True, "at_once": 1, "level": logging.INFO}
    before = torch.get_num_threads()
    for threads, expected in ((3, 3), (None, joblib.cpu_count())):
        done = attempt_in_worker(bench, ThreadCount(), threads=threads, **options)
        assert done.said == f"{expected} threads and no bar for 24 images"
    assert torch.get_num_threads() == before
    assert capsys.readouterr().err == "counting threads: counted\n" * 4


def test_a_worker_that_does_not_see_the_output_folder_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "out", BenchmarkSettings(), "key", (), inputs=tmp_path / "out" / "cells.safetensors")
    failed = attempt_in_worker(bench, ThreadCount(), wait=True, at_once=1, threads=1, level=logging.INFO)
    assert failed.state == "failed"
    assert "must lie where all machines see it under the same name" in failed.said
    assert not (tmp_path / "out").exists()


def test_cells_read_in_a_worker_what_they_would_have_read_here(inputs: CellInputs, tmp_path: Path) -> None:
    with_external = replace(inputs, external=inputs.fold(0).val)
    for own in (inputs, with_external):
        loaded = load_inputs(own.save(tmp_path))
        assert loaded.learning == own.learning
        here, there = own.fold(0), loaded.fold(0)
        for mine, others in zip(here.scored().values(), there.scored().values(), strict=True):
            assert_equal(mine, others)
        assert_equal(here.train, there.train)
        assert here.key == there.key
    assert inputs.fold(0).key != with_external.fold(0).key


def assert_equal(here: PreparedSet, there: PreparedSet) -> None:
    assert torch.equal(here.images, there.images)
    assert torch.equal(here.views, there.views)
    assert torch.equal(here.labels, there.labels)
    assert (here.spec, here.hashes, here.source.records) == (there.spec, there.hashes, there.source.records)


def test_cells_of_a_fold_depend_on_the_images_of_that_fold_only(inputs: CellInputs, tmp_path: Path) -> None:
    first, (fold,) = inputs.fold(0).key, inputs.learning.folds
    swapped = replace(fold.split, val=fold.split.test, test=fold.split.val)
    two = replace(inputs, learning=Folds((fold, Fold(swapped))))
    assert two.fold(0).key == first != two.fold(1).key
    less = Fold(replace(fold.split, train=fold.split.train[1:]), fold.split.train[:1])
    without = Fold(replace(fold.split, train=fold.split.train[1:]))
    keys = [replace(inputs, learning=Folds((own,))).fold(0).key for own in (fold, less, without)]
    assert len(set(keys)) == 3  # what is left out counts: the oracle learns from it
    assert load_inputs(two.save(tmp_path)).fold(1).key == two.fold(1).key


def test_cells_find_the_masks_of_their_images_and_know_others_from_them(tmp_path: Path) -> None:
    braingan.phantom(tmp_path / "heads", patients=6, slices=3, size=48)
    prepared = prepare_folder(tmp_path / "heads", Preprocessing(size=32), tmp_path / "cache")
    patients = prepared.source.records[0].group, prepared.source.records[-1].group
    both = [[place for place, record in enumerate(prepared.source.records) if record.group == patient]
            for patient in patients]  # fmt: skip
    train = split_files(prepared, [place for place in both[0] if prepared.labels[place] == 1])
    test = split_files(prepared, [place for place in both[1] if prepared.labels[place] == 0])
    inputs = CellInputs(prepared, Folds((Fold(replace(everything(prepared), train=train, test=test)),)))
    path = inputs.save(tmp_path)
    here, there = inputs.fold(0), load_inputs(path).fold(0)
    assert here.train.masks is not None
    assert there.train.masks is not None
    assert torch.equal(here.train.masks, there.train.masks)
    assert there.test.masks is None
    assert there.key == here.key
    assert prepared.masks is not None
    for masks in (None, prepared.masks.flip(0), ~prepared.masks):
        other = replace(inputs, everything=replace(prepared, masks=masks))
        assert other.save(tmp_path) != path  # worker processes read other masks
        assert other.fold(0).key == here.key  # and cells stay valid: a generator is known by its own hash


def test_other_weights_to_start_from_make_cells_anew(data: Path, tmp_path: Path, real_only: Options) -> None:
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (8, 1, 3, 3), "0.bias": (8,), "4.weight": (2, 128), "4.bias": (2,)}
    options = real_only | {"weights": tmp_path / "start.safetensors"}
    stamps = []
    for scale in (0.1, 0.1, 0.2):
        save_file({name: scale * torch.randn(shape, generator=random.manual_seed(1)) for name, shape in shapes.items()},
                  options["weights"])  # fmt: skip
        braingan.benchmark(data, tmp_path / "out", **options)
        stamps.append([path.stat().st_mtime_ns for path in sorted((tmp_path / "out" / "cells").iterdir())])
    assert stamps[0] == stamps[1]
    assert all(before != after for before, after in zip(stamps[1], stamps[2], strict=True))


def test_a_classifier_of_ones_own_that_has_changed_makes_cells_anew(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    source, stamps = (tmp_path / "my_models.py").read_text(), []
    for added in ("", "", "# another model, for all that can be seen from outside\n"):
        (tmp_path / "changing_models.py").write_text(source + added)
        braingan.benchmark(data, tmp_path / "out", **real_only | {"model": "changing_models:tiny"})
        stamps.append((tmp_path / "out" / "cells" / "real-fold0-seed0.json").stat().st_mtime_ns)
    assert stamps[0] == stamps[1] < stamps[2]


@pytest.mark.usefixtures("own_arms")
def test_an_arm_of_ones_own_that_has_changed_makes_its_cells_anew(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    def all_of_them(images: ArmImages) -> LabelledImages:
        return images.real

    def twice(images: ArmImages) -> LabelledImages:
        return images.real + images.real

    stamps, seen = [], []
    for build in (all_of_them, all_of_them, twice):
        ARMS.registered.pop("mine", None)
        register_arm("mine")(lambda build=build: Arm(build))
        result = braingan.benchmark(data, tmp_path / "out", **real_only | {"arms": ["real", "mine"]})
        stamps.append([(tmp_path / "out" / "cells" / f"{arm}-fold0-seed0.json").stat().st_mtime_ns
                       for arm in ("real", "mine")])  # fmt: skip
        seen.append(next(run["n_real"] for run in result.runs if run["arm"] == "mine"))
    assert stamps[0] == stamps[1]
    assert stamps[1][0] == stamps[2][0]
    assert stamps[1][1] < stamps[2][1]
    assert seen == [seen[0], seen[0], 2 * seen[0]]


def test_a_classifier_that_diverges_is_a_failed_cell_with_a_name(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    (tmp_path / "wild_models.py").write_text(
        "from torch import nn\n\n\n"
        "class Wild(nn.Linear):\n"
        "    def forward(self, images):\n"
        "        return super().forward(images.flatten(1)) * float('nan')\n\n\n"
        "def wild(num_classes, in_chans):\n"
        "    return Wild(in_chans * 32 * 32, num_classes)\n"
    )
    options = real_only | {"model": "wild_models:wild", "classifier_precision": "float32"}
    for _ in range(2):  # nothing of it is taken for finished
        with pytest.raises(CellsFailedError, match=r"real, fold 0, seed 0 \(.*training diverged: .* are no numbers; "):
            braingan.benchmark(data, tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jobs": 0}, "0 jobs were asked; 1 or more work"),
        ({"engine": "slurm"}, "engine 'slurm' was asked; local, dask, ray work"),
        ({"address": "tcp://127.0.0.1:8786"}, "was asked without --engine"),
        ({"engine": "dask"}, "--engine dask was asked without --address"),
        ({"engine": "dask", "address": "tcp://127.0.0.1:1"}, "nobody answers as dask at tcp://127.0.0.1:1 "),
        ({"engine": "dask", "address": "here"}, "nobody answers as dask at here "),
        ({"engine": "dask", "address": "scheduler.json"}, "there is no such scheduler file"),
        ({"engine": "dask", "address": "tcp://127.0.0.1:1", "jobs": 2}, "leave --jobs out"),
        ({"backend": "fragile", "jobs": 2}, "backend 'fragile' is registered in this process only"),
    ],
)
@pytest.mark.usefixtures("fragile")
def test_an_engine_that_cannot_work_is_refused_before_any_training(
    data: Path, tmp_path: Path, quick: Options, options: Options, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        braingan.benchmark(data, tmp_path / "out", **quick | options)
    assert not (tmp_path / "out" / "generators").exists()


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    for package in ("distributed", "ray"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"is not installed; pip install 'braingan\[{engine}\]' works"):
        braingan.benchmark(data, tmp_path / "out", engine=engine, address="127.0.0.1:1")


def test_cells_do_not_depend_on_where_the_data_lie(
    data: Path, tmp_path: Path, real_only: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    braingan.benchmark(data, tmp_path / "out", **real_only)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()}
    monkeypatch.chdir(data.parent)
    braingan.benchmark(Path(data.name), tmp_path / "out", **real_only)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cells").iterdir()} == stamps


def test_a_finished_generator_is_taken_though_another_process_looks_at_it(
    data: Path, tmp_path: Path, single: Options
) -> None:
    out = tmp_path / "out"
    first = braingan.benchmark(data, out, **single)
    with locked(out / "generators" / "fold0-seed0" / "cache" / "training.lock", wait=False):
        assert braingan.benchmark(data, out, **single).summary == first.summary
