"""What `rare_tumor.py` found, as a table, JSON and a figure.

Usage: python benchmarks/rare_tumor_results.py DATA OUT

OUT is what `rare_tumor.py` wrote, all of it or so far. Writes `results/rare-tumor.{json,md,png}` and what every
classifier said of every image, `results/rare-tumor-cells.jsonl`; no pictures of patients are in these. Numbers of
tumour slices of which no classifier is in OUT or published that way keep their rows of the `rare-tumor.json` that is
there, marked (hollow in the figure): these are of an earlier day.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import braingan
from braingan.data.files import read_json
from braingan.versions import versions
from publish import RESULTS, made_with
from rare_tumor import (
    ABLATION,
    CLASSIFIER,
    COUNT,
    FOLDS,
    MAIN,
    PUBLISHED,
    SEEDS,
    SIZE,
    SLICES,
    Cell,
    Study,
    cells_of,
    folds_of,
)

METRICS = ("macro_f1", "auroc", "recall_at_specificity:0.9")
NAMES = ("macro-F1", "AUROC", "recall at 0.9 specificity")
Row = dict[str, Any]
Cells = dict[tuple[int, int], dict[str, Any]]


def read_cells(study: Study, arm: str, slices: int | None) -> Cells | None:
    """What the classifiers of an arm wrote, by fold and seed; None where one is missing.

    The ablation may be there in some of its folds only: then in those.
    """
    paths = {fold: {(fold, seed): Cell(arm, slices, fold, seed).path(study.out) for seed in range(SEEDS)}
             for fold in folds_of(arm)}  # fmt: skip
    there = {fold: own for fold, own in paths.items() if all(map(Path.exists, own.values()))}
    if not there or (arm not in ABLATION and len(there) < len(paths)):
        return None
    return {at: read_json(path) for own in there.values() for at, path in own.items()}


def publish_cells(study: Study) -> None:
    """Write what every classifier said, so that nobody has to train it again."""
    lines = [json.dumps({"study": study.fingerprint})]
    for arm, slices in cells_of(SLICES, ablation=True):
        for fold in folds_of(arm):
            for seed in range(SEEDS):
                path = Cell(arm, slices, fold, seed).path(study.out)
                if path.exists():
                    lines.append(json.dumps({"cell": [arm, slices, fold, seed]} | read_json(path)))
    PUBLISHED.write_text("\n".join(lines) + "\n", encoding="utf-8")


def published_cells() -> list[dict[str, Any]]:
    """What `publish_cells` wrote."""
    return [json.loads(line) for line in PUBLISHED.read_text(encoding="utf-8").splitlines()[1:]]


def probabilities(study: Study, arm: str, slices: int | None) -> np.ndarray | None:
    """(seeds, images, 2), each image scored by classifiers that have not seen its patient, NaN in folds without any."""
    cells = read_cells(study, arm, slices)
    if cells is None:
        return None
    found = np.full((SEEDS, len(study.labels)), np.nan)
    for (fold, seed), cell in cells.items():
        found[seed, study.folds == fold] = cell["tumor"]
    return np.stack([1 - found, found], axis=-1)


def compared(study: Study, a: np.ndarray, b: np.ndarray, metric: str, resamples: int = 10_000) -> braingan.Comparison:
    """`braingan.compare` on all images that both have scored."""
    both = ~np.isnan(a[0, :, 0] + b[0, :, 0])
    return braingan.compare(
        (study.labels[both] == study.tumor).astype(int), a[:, both], b[:, both], study.patients[both],
        metric=metric, folds=study.folds[both], resamples=resamples,
    )  # fmt: skip


def results(study: Study) -> list[Row]:
    """For each arm its measures, and its differences to others with intervals."""
    found = {(arm, slices): probabilities(study, arm, slices) for arm, slices in cells_of(SLICES, ablation=True)}
    rows = []
    for (arm, slices), said in found.items():
        cells = read_cells(study, arm, slices)
        if said is None or cells is None:
            continue
        folds = sorted({fold for fold, _ in cells})
        row: Row = {"arm": arm, "tumor_slices": slices, "folds": folds}
        for metric in METRICS:
            own = [compared(study, one[None], one[None], metric, resamples=2).value_a for one in said]
            row[metric] = {"mean": float(np.mean(own)), "std": float(np.std(own, ddof=1)), "runs": own}
        others = (
            {"insert": ("insert", MAIN)} if arm in ABLATION else {"real": ("real", slices), "oracle": ("oracle", None)}
        )
        for name, other in others.items():
            if other != (arm, slices) and (its := found.get(other)) is not None:
                row[f"against_{name}"] = {metric: compared(study, its, said, metric).to_json() for metric in METRICS}
        row["generator_seconds"] = [cells[fold, 0]["generator_seconds"] for fold in folds]
        row["classifier_seconds"] = [cell["classifier_seconds"] for cell in cells.values()]
        rows.append(row)
    there = {row["tumor_slices"] for row in rows}
    rows += [row for row in kept_rows() if row["tumor_slices"] not in there]
    return sorted(rows, key=lambda row: row["tumor_slices"] or 10**6)


def kept_rows() -> list[Row]:
    """The rows of the arms that are published, marked with the versions that made them."""
    path = RESULTS / "rare-tumor.json"
    found = read_json(path) if path.exists() else {"rows": []}
    return [row | {"made_by": row.get("made_by", found["versions"])} for row in found["rows"]]


def gap_closed(rows: Sequence[Row], row: Row, metric: str) -> float | None:
    """The share of the gap between real images and the oracle that an arm closes; None where there is no sure gap."""
    real = next((each for each in rows if (each["arm"], each["tumor_slices"]) == ("real", row["tumor_slices"])), None)
    gap = (real or {}).get("against_oracle", {}).get(metric)
    if real is None or gap is None or gap["high"] >= 0 or row["arm"] in {"real", "oracle"}:
        return None
    return float((row[metric]["mean"] - real[metric]["mean"]) / -gap["difference"])


def table(rows: Sequence[Row]) -> str:
    """Markdown: all arms."""
    lines = _head("tumour slices", "arm", *NAMES, *(f"{name} against real" for name in NAMES[:2]),
                  "of the gap to all slices (F1, AUROC)")  # fmt: skip
    for row in rows:
        closed = [gap_closed(rows, row, metric) for metric in METRICS[:2]]
        share = ", ".join(f"{each:.0%}" for each in closed if each is not None)
        told = [_interval(row, "real", metric) for metric in METRICS[:2]]
        name = row["arm"] + (" †" if "made_by" in row else "")
        lines.append(_line(row["tumor_slices"] or "all", name, *_scores(row), *told, share))
    return "\n".join(lines)


def ablation_table(rows: Sequence[Row]) -> str:
    """Markdown: variants of `insert`, beside `insert` in the same folds."""
    lines = _head("variant", "folds", *NAMES, "`insert` there (F1, AUROC)",
                  *(f"{name} against `insert`" for name in NAMES[:2]))  # fmt: skip
    for row in rows:
        there = ", ".join(f"{row['against_insert'][metric]['value_a']:.3f}" for metric in METRICS[:2])
        told = [_interval(row, "insert", metric) for metric in METRICS[:2]]
        lines.append(_line(row["arm"], ", ".join(map(str, row["folds"])), *_scores(row), there, *told))
    return "\n".join(lines)


def _head(*names: str) -> list[str]:
    return [_line(*names), _line(*["---"] * len(names))]


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _scores(row: Row) -> list[str]:
    return [f"{row[metric]['mean']:.3f} ± {row[metric]['std']:.3f}" for metric in METRICS]


def _interval(row: Row, other: str, metric: str) -> str:
    found = row.get(f"against_{other}", {}).get(metric)
    return f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})" if found else ""


def draw(rows: Sequence[Row], every: float, path: Path) -> None:
    """F1 and AUROC against the number of real tumour slices, with and without synthetic ones."""
    figure: Figure = plt.figure(figsize=(9, 3.6), layout="constrained")
    curves = (("real", "black", "real slices only"), ("paste", "tab:orange", "with pasted tumours"),
              ("insert", "tab:blue", "with inserted tumours"))  # fmt: skip
    for place, (metric, name) in enumerate(zip(METRICS[:2], NAMES[:2], strict=True)):
        axes = figure.add_subplot(1, 2, place + 1)
        for arm, colour, label in curves:
            own = [row for row in rows if row["arm"] == arm or (arm, row["arm"]) == ("real", "oracle")]
            at = [row["tumor_slices"] or every for row in own]
            means, spreads = ([row[metric][kind] for row in own] for kind in ("mean", "std"))
            axes.errorbar(at, means, spreads, color=colour, marker="o", capsize=3, label=label)
            kept = [place for place, row in enumerate(own) if "made_by" in row]
            spots = [at[place] for place in kept], [means[place] for place in kept]
            axes.plot(*spots, "o", color=colour, markerfacecolor="white", zorder=4)
        axes.set_xscale("log")
        axes.set_xticks([*SLICES, every], [*map(str, SLICES), f"{every:.0f} (all)"])
        axes.minorticks_off()
        axes.set_xlabel("real tumour slices in training")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def worth(rows: Sequence[Row], arm: str, slices: int, metric: str, every: float) -> float | None:
    """How many real tumour slices alone would score as an arm does, by straight lines over the logarithm.

    None beyond the slices that there are.
    """
    own = {row["tumor_slices"] or every: row[metric]["mean"] for row in rows if row["arm"] in {"real", "oracle"}}
    wanted = next((row[metric]["mean"] for row in rows if (row["arm"], row["tumor_slices"]) == (arm, slices)), None)
    counts = sorted(own)
    if wanted is None or len(counts) < 2:
        return None
    for low, high in pairwise(counts):
        if own[low] <= wanted <= own[high]:
            share = (wanted - own[low]) / (own[high] - own[low])
            return float(np.exp(np.log(low) + share * (np.log(high) - np.log(low))))
    return None


def main(data: Path, out: Path) -> None:
    """Write what is there."""
    study = Study(data, out)
    study.take_published()
    publish_cells(study)
    rows = results(study)
    tumors, healthy = ([len(study.training(fold, count)) for fold in range(FOLDS)] for count in (None, 0))
    every = float(np.mean(tumors) - np.mean(healthy))
    arms, variants = ([row for row in rows if (row["arm"] in ABLATION) is kind] for kind in (False, True))
    worths = {
        f"{arm}, {slices} slices, {name}": worth(arms, arm, slices, metric, every)
        for slices in SLICES for arm in ("paste", "insert") for metric, name in zip(METRICS[:2], NAMES[:2], strict=True)
    }  # fmt: skip
    folds = {(row["arm"], row["tumor_slices"]): row.get("folds", list(range(FOLDS))) for row in rows}
    lacking = []
    for arm, slices in cells_of(SLICES, ablation=True):
        missing = sorted(set(folds_of(arm)) - set(folds.get((arm, slices), ())))
        where = f" in fold {', '.join(map(str, missing))}" if len(missing) < len(folds_of(arm)) else ""
        lacking += [f"{arm} at {slices or 'all'}{where}"] if missing else []
    facts = {
        "not_there_yet": lacking,
        "command": f"python benchmarks/rare_tumor.py {data.name} OUT --ablation", "size": SIZE,
        "classifier": {"model": CLASSIFIER.model, "steps": CLASSIFIER.steps, "batch_size": CLASSIFIER.batch_size},
        "folds": FOLDS, "seeds": SEEDS, "synthetic": COUNT, "patients": len(study.fold_of),
        "healthy_slices": float(np.mean(healthy)), "all_tumor_slices": every,
        "real_slices_that_score_the_same": worths, "versions": versions(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    fields.append('"rows": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    (RESULTS / "rare-tumor.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
    parts = [table(arms), *([ablation_table(variants)] if variants else [])]
    if lacking:
        parts.append(f"Not there yet: {', '.join(lacking)}.")
    if earlier := {made_with(row["made_by"]) for row in arms if "made_by" in row}:
        parts.append(f"† Classifiers of an earlier day, not published one by one: {'; '.join(sorted(earlier))}.")
    told = "; ".join(sorted({made_with(cell["versions"]) for cell in published_cells()}))
    parts.append(f"Command: `{facts['command']}`; {told}.")
    (RESULTS / "rare-tumor.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    draw(arms, every, RESULTS / "rare-tumor.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
