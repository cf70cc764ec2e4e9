"""How quick training, sampling, the dataset wrapper and the classifier are, against the usual tutorial's loops.

Usage: python benchmarks/throughput.py [--json FILE] [--only training,sampling,wrapper,classifier] [--data DIR]
       [--rounds 5] [--device cpu] [--threads N]

Both sides have the same networks (64x64 DCGAN with 64 channels, conditional on the class; resnet10t), the same batch
and the same images, and take turns in one process; figures are medians over rounds. The images are drawn phantom heads
of 256 pixels, as PNGs in class folders, or those of DIR (class folders of PNGs and nothing else).

Textbook training: `ImageFolder` with Grayscale, Resize(64), CenterCrop, ToTensor and Normalize through a
`DataLoader(num_workers=2, shuffle=True)`, float32, contiguous, torch's own layers, Adam as it comes; D on real images
and D on fakes in two backward passes, G through D on the same fakes, losses read every step: PyTorch's DCGAN tutorial.
Ours: `DCGAN(base_channels=64).fit(...)`, in the precision that it chooses, timed by the `stats.jsonl` that it writes,
so that start-up, pictures and checkpoints do not count, in neither of the two; images are prepared and decoded
beforehand, once, as `braingan train` does. `fraction_of_matmul` is the rate of operations of a step (counted by torch's
FlopCounterMode on a real one) over that of a bfloat16 product of 2048x2048 matrices.

Textbook sampling: the network in evaluation mode, without gradients, float32, contiguous, in batches of 64.
Ours: `GANGenerator.sample` of 64 images, latents and all, in the quickest precision.

Wrapper: `AugmentedDataset[i]` against `ImageFolder[i]` for the same real images, item by item in turn; of each item's
times, the least counts.

Textbook classifier: the same folder and loader, flips, rotations, shifts, zoom, brightness and contrast by torchvision
image by image, as strong as braingan's, AdamW, float32, batch 32. Ours: `train_classifier`, in the precision that
`choose_classifier_precision` gives; set-up is taken off by a run of one step.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import ImageFolder

import braingan
from braingan import AugmentedDataset, ImageSpec, TrainingData, TrainingRun
from braingan.engine.convolutions import Convolution, TransposedConvolution
from braingan.engine.precision import choose_precision
from braingan.evaluation.classifier import ClassifierSettings, choose_classifier_precision, train_classifier
from braingan.generation.generator import GANGenerator
from braingan.generation.layers import Dropout
from braingan.generation.loop import choose_gan_precision
from braingan.generation.training import Training
from braingan.versions import versions
from braingan_dcgan import DCGAN

SIZE, BATCH, CLASSIFIER_BATCH = 64, 64, 32
GAME = DCGAN(base_channels=64)
PLAIN = {Convolution: nn.Conv2d, TransposedConvolution: nn.ConvTranspose2d, Dropout: nn.Dropout}
WARM, TIMED = 2, 5  # steps of a round
PARTS = ("training", "sampling", "wrapper", "classifier")

Figures = dict[str, Any]


class Bench:
    """What all parts share: images, device, rounds.

    Args:
        data: class folders of PNGs.
        scratch: an empty folder.
        device: where to compute.
        rounds: turns of each side.
    """

    def __init__(self, data: Path, scratch: Path, device: torch.device, rounds: int) -> None:
        self.data, self.scratch, self.device, self.rounds = data, scratch, device, rounds
        folder = ImageFolder(str(data), transform=transforms.Compose([*self._small(), transforms.PILToTensor()]))
        self.spec = ImageSpec(SIZE, 1, tuple(folder.classes))
        self.images = torch.stack([folder[number][0] for number in range(len(folder))])
        self.labels = torch.tensor(folder.targets)
        self.spread: dict[str, list[float]] = {}

    def loader(self, batch: int, *augmentation: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """The tutorial's batches, for ever."""
        steps = [*self._small(), *augmentation, transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        folder = ImageFolder(str(self.data), transform=transforms.Compose(steps))
        loader = DataLoader(
            folder, batch, shuffle=True, num_workers=2, drop_last=True, pin_memory=self.device.type == "cuda"
        )
        while True:
            yield from loader

    def seconds(self, work: Callable[[], Any], times: int = 1) -> float:
        """Of some work, done so many times, until the device has finished."""
        self._wait()
        started = time.perf_counter()
        for _ in range(times):
            work()
        self._wait()
        return time.perf_counter() - started

    def note(self, name: str, rates: list[float]) -> float:
        """The median of some rates; their least and greatest are kept."""
        self.spread[name] = [round(min(rates), 4), round(max(rates), 4)]
        return round(statistics.median(rates), 4)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @staticmethod
    def _small() -> list[Any]:
        return [transforms.Grayscale(), transforms.Resize(SIZE), transforms.CenterCrop(SIZE)]


def plain(network: nn.Module) -> nn.Module:
    """The same network of torch's own layers."""
    twin = copy.deepcopy(network)
    for module in twin.modules():
        module.__class__ = PLAIN.get(type(module), type(module))  # ours add no state to torch's
    return twin


def training(bench: Bench) -> Figures:
    """Steps of the DCGAN."""
    data = TrainingData(bench.images, bench.labels, bench.spec)
    run = TrainingRun(bench.scratch, steps=1000, batch_size=BATCH, device=bench.device, patience=0)
    precision, _ = choose_gan_precision(GAME, data, run)
    run = replace(run, precision=precision)
    step = textbook_gan(bench)
    rates: dict[str, list[float]] = {"textbook": [], "ours": [], "matmul": [], "ratio": []}
    for _ in range(bench.rounds):
        rates["matmul"].append(matmul(bench))
        for _ in range(WARM):
            step()
        rates["textbook"].append(BATCH * TIMED / bench.seconds(step, TIMED))
        rates["ours"].append(BATCH * our_steps_per_second(run, data))
        rates["ratio"].append(rates["ours"][-1] / rates["textbook"][-1])
    operations = count_operations(run, data)
    ours, product = bench.note("training.ours", rates["ours"]), bench.note("training.matmul", rates["matmul"])
    return {
        "ratio": bench.note("training.ratio", rates["ratio"]),
        "fraction_of_matmul": round(ours / BATCH * operations / (product * 1e12), 4),
        "textbook_images_per_second": bench.note("training.textbook", rates["textbook"]),
        "images_per_second": ours,
        "precision": precision,
        "gflop_per_step": round(operations / 1e9, 2),
        "matmul_tflop_per_second": product,
    }


def textbook_gan(bench: Bench) -> Callable[[], None]:
    """One step of the tutorial."""
    torch.manual_seed(0)
    G, D = (plain(network).to(bench.device).train() for network in GAME.networks(bench.spec))
    optimizer_G, optimizer_D = (torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (G, D))
    criterion, batches = nn.BCEWithLogitsLoss(), bench.loader(BATCH)
    ones, zeros = torch.ones(BATCH, device=bench.device), torch.zeros(BATCH, device=bench.device)

    def step() -> None:
        real, y = (part.to(bench.device) for part in next(batches))
        D.zero_grad()
        loss_real = criterion(D(real, y), ones)
        loss_real.backward()
        fake = G(torch.randn(BATCH, GAME.latent_size, device=bench.device), y)
        loss_fake = criterion(D(fake.detach(), y), zeros)
        loss_fake.backward()
        optimizer_D.step()
        G.zero_grad()
        loss_G = criterion(D(fake, y), ones)
        loss_G.backward()
        optimizer_G.step()
        (loss_real + loss_fake).item()
        loss_G.item()

    return step


def our_steps_per_second(run: TrainingRun, data: TrainingData) -> float:
    """As the loop itself notes it: step by step at the start of a run, on a GPU over tens of steps."""
    skipped, steps = (50, 200) if run.device.type == "cuda" else (WARM, WARM + TIMED)
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        GAME.fit(data, replace(run, folder=Path(folder), steps=steps))
        lines = [json.loads(line) for line in (Path(folder) / "stats.jsonl").read_text().splitlines()]
    rates = [line["steps_per_second"] for line in lines if line["step"] > skipped and "steps_per_second" in line]
    return float(statistics.harmonic_mean(rates))


def count_operations(run: TrainingRun, data: TrainingData) -> int:
    """Multiplications and additions of one step of ours."""
    with torch.random.fork_rng():
        one = Training(GAME, data, run)
        with FlopCounterMode(display=False) as counter:
            one.step(0)
    return int(counter.get_total_flops())


def matmul(bench: Bench, side: int = 2048, times: int = 4) -> float:
    """Of a bfloat16 matrix product, TFLOP/s."""
    first, second = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    first @ second
    seconds = bench.seconds(lambda: first @ second, times)
    return 2 * side**3 * times / seconds / 1e12


def sampling(bench: Bench) -> Figures:
    """The generator alone."""
    torch.manual_seed(0)
    G = GAME.networks(bench.spec)[0].to(bench.device)
    y = torch.arange(BATCH) % len(bench.spec.classes)

    def trial(precision: str) -> Callable[[], Tensor]:
        generator = GANGenerator(G, bench.spec, GAME.latent_size, precision)
        return lambda: generator.sample(y, seed=0).mean()

    precision, _ = choose_precision(bench.device, trial)
    textbook, ours = plain(G).eval(), GANGenerator(G, bench.spec, GAME.latent_size, precision)

    def tutorial() -> Tensor:
        with torch.no_grad():
            noise = torch.randn(BATCH, GAME.latent_size, device=bench.device)
            images: Tensor = textbook(noise, y.to(bench.device)).cpu()
        return images

    rates = in_turn(bench, "sampling", tutorial, lambda: ours.sample(y, seed=0), images=BATCH, calls=3)
    return rates | {"precision": precision}


def in_turn(
    bench: Bench, name: str, textbook: Callable[[], Any], ours: Callable[[], Any], *, images: int, calls: int
) -> Figures:
    """Rates of two functions that take turns."""
    rates: dict[str, list[float]] = {"textbook": [], "ours": []}
    for _ in range(2 * bench.rounds):
        for side, work in (("textbook", textbook), ("ours", ours)):
            work()
            rates[side].append(images * calls / bench.seconds(work, calls))
    ratios = [own / theirs for own, theirs in zip(rates["ours"], rates["textbook"], strict=True)]
    return {
        "ratio": bench.note(f"{name}.ratio", ratios),
        "textbook_images_per_second": bench.note(f"{name}.textbook", rates["textbook"]),
        "images_per_second": bench.note(f"{name}.ours", rates["ours"]),
    }


def wrapper(bench: Bench) -> Figures:
    """An item of the wrapped dataset against one of the wrapper."""
    out = bench.scratch / "augmented"
    braingan.augment(bench.data, out, ratio=0.2, size=SIZE, steps=1, batch_size=8)
    steps = [*Bench._small(), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    real = ImageFolder(str(bench.data), transform=transforms.Compose(steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real images are not prepared like the synthetic ones: not the question
        wrapped = AugmentedDataset(real, braingan.load_synthetic(out))
    sides = [("folder", real), ("wrapper", wrapped)]
    seconds: dict[str, list[list[float]]] = {side: [[] for _ in range(len(real))] for side, _ in sides}
    for turn in range(2 * bench.rounds):
        for number in range(len(real)):
            for side, dataset in sides if (turn + number) % 2 else reversed(sides):  # the second finds warm caches
                started = time.perf_counter()
                dataset[number]
                seconds[side][number].append(time.perf_counter() - started)
    # The least of each item's times: what else the machine does only ever adds, and more than the wrapper does.
    least = {side: statistics.mean(map(min, times)) for side, times in seconds.items()}
    turns = range(2 * bench.rounds)
    rounds = [{side: sum(item[turn] for item in times) for side, times in seconds.items()} for turn in turns]
    bench.note("wrapper.overhead", [one["wrapper"] / one["folder"] - 1 for one in rounds])
    made = [bench.seconds(partial(wrapped.__getitem__, number)) for number in range(len(real), len(wrapped))]
    return {
        "overhead": round(least["wrapper"] / least["folder"] - 1, 4),
        "folder_milliseconds": round(least["folder"] * 1000, 4),
        "wrapper_milliseconds": round(least["wrapper"] * 1000, 4),
        "synthetic_item_milliseconds": round(statistics.median(made) * 1000, 4),
    }


def classifier(bench: Bench) -> Figures:
    """Steps of the classifier."""
    settings = ClassifierSettings(batch_size=CLASSIFIER_BATCH)
    precision = choose_classifier_precision(bench.images, bench.labels, bench.spec, settings, bench.device)
    step, timed = textbook_classifier(bench, settings), 100 if bench.device.type == "cuda" else 12

    def ours(steps: int) -> Callable[[], nn.Module]:
        few = ClassifierSettings(batch_size=CLASSIFIER_BATCH, steps=steps)
        return lambda: train_classifier(
            bench.images, bench.labels, bench.spec, few, seed=0, device=bench.device, precision=precision
        )

    rates: dict[str, list[float]] = {"textbook": [], "ours": [], "ratio": []}
    for _ in range(bench.rounds):
        for _ in range(WARM):
            step()
        taken = bench.seconds(step, timed)
        rates["textbook"].append(CLASSIFIER_BATCH * timed / taken)
        set_up = bench.seconds(ours(1))
        rates["ours"].append(CLASSIFIER_BATCH * timed / max(1e-9, bench.seconds(ours(1 + timed)) - set_up))
        rates["ratio"].append(rates["ours"][-1] / rates["textbook"][-1])
    return {
        "ratio": bench.note("classifier.ratio", rates["ratio"]),
        "textbook_images_per_second": bench.note("classifier.textbook", rates["textbook"]),
        "images_per_second": bench.note("classifier.ours", rates["ours"]),
        "precision": precision,
    }


def textbook_classifier(bench: Bench, settings: ClassifierSettings) -> Callable[[], None]:
    """One step of the usual loop."""
    torch.manual_seed(0)
    model = timm.create_model(settings.model, num_classes=len(bench.spec.classes), in_chans=1).to(bench.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=0.05)
    batches = bench.loader(
        CLASSIFIER_BATCH,
        transforms.RandomHorizontalFlip(),
        transforms.RandomAffine(10, translate=(0.06, 0.06), scale=(0.9, 1.1)),
        transforms.ColorJitter(brightness=0.1, contrast=0.15),
    )

    def step() -> None:
        images, labels = (part.to(bench.device) for part in next(batches))
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()

    return step


def machine(device: torch.device) -> Figures:
    """What the figures depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def table(figures: Figures) -> str:
    """What was reached, in Markdown."""
    rows = ["| what | textbook | braingan | ratio | spread of the ratio |", "| --- | ---: | ---: | ---: | ---: |"]
    names = {"training": "training, images/s", "sampling": "sampling, images/s", "classifier": "classifier, images/s"}
    for part, name in names.items():
        if part in figures:
            found, (low, high) = figures[part], figures["spread"][f"{part}.ratio"]
            rates = f"{found['textbook_images_per_second']:.1f} | {found['images_per_second']:.1f}"
            rows.append(f"| {name} ({found['precision']}) | {rates} | {found['ratio']:.2f} | {low:.2f} to {high:.2f} |")
    lines = ["\n".join(rows)]
    if "training" in figures:
        found = figures["training"]
        lines.append(f"Training reaches {found['fraction_of_matmul']:.0%} of the rate of a bfloat16 matrix product "
                     f"({found['matmul_tflop_per_second']:.2f} TFLOP/s).")  # fmt: skip
    if "wrapper" in figures:
        found = figures["wrapper"]
        lines.append(f"`AugmentedDataset` takes {found['overhead']:+.1%} time for an item more than the `ImageFolder` "
                     f"that it wraps ({found['folder_milliseconds']:.2f} ms); "
                     f"a synthetic item {found['synthetic_item_milliseconds']:.2f} ms.")  # fmt: skip
    facts = ", ".join(f"{name} {value}" for name, value in (figures["machine"] | figures["versions"]).items())
    asked = shlex.join(["python", "benchmarks/throughput.py", *sys.argv[1:]])
    return "\n\n".join([*lines, f"Command: `{asked}`; {facts}."])


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    parts = asked.only.split(",")
    if wrong := set(parts) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(wrong))}: {', '.join(PARTS)} work")
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    figures: Figures = {"versions": versions(), "machine": machine(device)}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bench = Bench(asked.data or phantoms(scratch / "data"), scratch, device, asked.rounds)
        for part in parts:
            figures[part] = {"training": training, "sampling": sampling, "wrapper": wrapper, "classifier": classifier}[
                part
            ](bench)
            print(part, json.dumps(figures[part]), flush=True)
    figures["spread"] = bench.spread
    print(f"\n{table(figures)}")
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        asked.json.with_suffix(".md").write_text(f"{table(figures)}\n", encoding="utf-8")


def phantoms(folder: Path) -> Path:
    """Drawn heads, class folders alone."""
    braingan.phantom(folder / "drawn", patients=48, slices=4, size=256)
    for name in ("tumor", "no_tumor"):
        (folder / "drawn" / name).rename(folder / name)
    for rest in sorted((folder / "drawn").rglob("*"), reverse=True):
        rest.rmdir() if rest.is_dir() else rest.unlink()
    (folder / "drawn").rmdir()
    return folder


if __name__ == "__main__":
    main()
