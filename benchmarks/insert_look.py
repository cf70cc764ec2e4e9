"""Inserted tumours beside real ones: a sheet to look at, and two numbers.

The sheet has 100 real tumour slices above and 100 inserted or pasted ones below. Never commit it: it shows patients.

Edge: the mean absolute difference of neighbouring pixels across the mask's edge, divided by that inside of the mask
and that outside next to it; a seam would stand out. Probe: how well real and inserted tumours are told apart by
logistic regression on random convolutional features of windows around them, as AUROC over ten halvings by canvas or
patient; 0.5 is chance.

Usage: python benchmarks/insert_look.py DATA RUN SHEET.png

RUN is a generator that was trained on DATA by `braingan train DATA RUN --backend insert`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from braingan.data.pictures import grid, to_uint8, write_png
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.generation.features import random_features
from braingan.generation.samples import draw_samples, labels_made
from braingan.generation.storage import load_run

SHOWN, DRAWN = 100, 600


def edge_contrast(images: Tensor, masks: Tensor) -> float:
    """Steps across the edge of the masks, as a multiple of the steps next to it on either side; the median image's."""
    found = []
    for image, mask in zip(images.float().mean(1).numpy(), masks.numpy(), strict=True):
        width = max(1, round(mask.shape[0] / 64))
        steps = np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1))
        outer = ndimage.binary_dilation(mask, iterations=width)
        inner = ndimage.binary_erosion(mask, iterations=width)
        around = ndimage.binary_dilation(outer, iterations=2 * width) & ~outer
        if inner.any() and around.any():
            found.append(steps[outer & ~inner].mean() / max(1e-6, (steps[inner].mean() + steps[around].mean()) / 2))
    return float(np.median(found))


def windows(images: Tensor, masks: Tensor) -> Tensor:
    """Squares of half the image's side around the masks."""
    side, cut = images.shape[-1], []
    half = side // 4
    for image, mask in zip(images, masks, strict=True):
        rows, columns = np.nonzero(mask.numpy())
        top, left = (int(np.clip(round(places.mean()) - half, 0, side - 2 * half)) for places in (rows, columns))
        cut.append(image[:, top : top + 2 * half, left : left + 2 * half])
    return torch.stack(cut)


def probe(real: Tensor, made: Tensor, groups: np.ndarray) -> tuple[float, float]:
    """Mean and spread of the AUROC of real against made over ten halvings by group."""
    features = random_features(torch.cat([real, made])).numpy()
    targets, scores = np.repeat([0, 1], [len(real), len(made)]), []
    for train, test in GroupShuffleSplit(10, test_size=0.5, random_state=0).split(features, targets, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        model.fit(features[train], targets[train])
        scores.append(roc_auc_score(targets[test], model.decision_function(features[test])))
    return float(np.mean(scores)), float(np.std(scores, ddof=1))


def tumors_of(prepared: PreparedSet) -> np.ndarray:
    """Numbers of the images that have a tumour mask."""
    if prepared.masks is None:
        raise SystemExit("the data have no masks")
    return np.flatnonzero(prepared.masks.flatten(1).any(1).numpy())


def main(data: Path, run: Path, sheet: Path) -> None:
    """Write the sheet; print the numbers as JSON."""
    stored = load_run(run)
    prepared = prepare_folder(data, stored.preprocessing, sheet.parent / "cache")
    chosen = np.random.default_rng(0).permutation(tumors_of(prepared))[:DRAWN]
    assert prepared.masks is not None
    real, masks = prepared.images[chosen], prepared.masks[chosen]
    made = labels_made(stored.generator)
    labels = torch.tensor([made[number % len(made)] for number in range(len(chosen))])
    drawn = draw_samples(stored.generator, labels, seed=0)
    if drawn.masks is None or drawn.canvases is None:
        raise SystemExit(f"{run} holds a generator without masks")
    images = to_uint8(drawn.images)
    patients = [prepared.source.records[number].group for number in chosen]
    patients += [stored.split.train[number].group for number in drawn.canvases.tolist()]
    auroc, spread = probe(windows(real, masks), windows(images, drawn.masks), np.asarray(patients))
    text = {"Software": "braingan", "Comment": "Above real, below synthetic tumours; all show patients."}
    write_png(sheet, grid(torch.cat([real[:SHOWN], images[:SHOWN]]), 20), text)
    found = {
        "images": len(chosen),
        "edge, real": round(edge_contrast(real, masks), 3),
        "edge, made": round(edge_contrast(images, drawn.masks), 3),
        "probe, AUROC": round(auroc, 3),
        "probe, spread": round(spread, 3),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
