"""Anatomical parts drawn onto a canvas: organs, hollow organs, vessels, lesions.

Points are (Z, Y, X) in voxels, sizes in voxels.
"""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .shapes import Region, blob, tube

Rng = np.random.Generator


def organ(canvas: Canvas, rng: Rng, centre: np.ndarray, size: float) -> None:
    """A solid organ of mean diameter `size`, some with vessels and lesions."""
    radii = 0.5 * size * np.exp(rng.normal(0, 0.25, 3))
    region = blob(
        rng,
        canvas.shape,
        centre,
        radii,
        rotation=rng.uniform(0, 1),
        power=rng.uniform(1.8, 2.8),
        wobble=rng.uniform(0.03, 0.16),
        bend=rng.choice([0.0, 1.0]) * rng.uniform(-0.6, 0.6),
        taper=rng.uniform(-0.7, 0.7),
    )
    solid(canvas, rng, region, centre, size)


def solid(
    canvas: Canvas,
    rng: Rng,
    region: Region | None,
    centre: np.ndarray,
    size: float,
    gap: float = 0.0,
) -> None:
    """Fills a region, shrunk by `gap` voxels, as a solid organ with vessels and lesions."""
    label = canvas.new_label()
    tissue = canvas.paint(region, "organ", label=label, offset=gap)
    if tissue is None:
        return
    if size > 25 and rng.random() < 0.7:
        vessel_tree(canvas, rng, centre, 0.7 * size, inside=label)
    if size > 14 and rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):
            lesion(canvas, rng, label, tissue, centre, 0.5 * size)


def bean(canvas: Canvas, rng: Rng, centre: np.ndarray, size: float, kinds: tuple[int, ...]) -> None:
    """A kidney-like organ: bright cortex, duller medulla, fat or fluid at the hilum."""
    radii = 0.5 * size * np.array([1.15, 0.7, 0.62]) * np.exp(rng.normal(0, 0.08, 3))
    region = blob(
        rng,
        canvas.shape,
        centre,
        radii,
        rotation=rng.uniform(0, 0.25),
        wobble=0.06,
        bend=rng.uniform(-0.5, 0.5),
    )
    label = canvas.new_label()
    cortex = canvas.paint(region, "bright", label=label)
    if cortex is None or region is None:
        return
    if kinds[0]:
        canvas.paint(region, "organ", offset=0.16 * size, inside=label)
    if kinds[1]:
        toward = centre + np.array([0, rng.uniform(-0.1, 0.2), rng.choice([-1, 1])]) * 0.3 * size
        hilum = blob(rng, canvas.shape, toward, 0.2 * size * np.array([1.4, 0.8, 1.0]), wobble=0.2)
        if rng.random() < 0.5:
            canvas.paint(hilum, "fluid", label=label, inside=label)
        else:
            canvas.paint(hilum, "fat", label=0, inside=label)
    if rng.random() < 0.35:
        lesion(canvas, rng, label, cortex, centre, 0.45 * size)


def hollow(canvas: Canvas, rng: Rng, centre: np.ndarray, size: float) -> None:
    """A stomach- or bladder-like organ: a wall around gas, fluid or food, often in layers."""
    radii = 0.5 * size * np.exp(rng.normal(0, 0.3, 3))
    region = blob(
        rng,
        canvas.shape,
        centre,
        radii,
        rotation=rng.uniform(0, 1),
        wobble=rng.uniform(0.05, 0.2),
        bend=rng.uniform(-0.7, 0.7),
        taper=rng.uniform(-0.6, 0.6),
    )
    fill_hollow(canvas, rng, region, rng.uniform(1.2, 3.5), nested=True)


def bowel(canvas: Canvas, rng: Rng, centre: np.ndarray, spread: float, radius: float) -> None:
    """A winding loop of gut with a thin wall."""
    count = int(rng.integers(4, 9))
    steps = rng.normal(0, 1, (count, 3)) * spread * np.array([0.5, 0.6, 0.6])
    points = centre + 0.7 * np.cumsum(steps, axis=0) - 0.35 * steps.sum(0)
    radii = radius * rng.uniform(0.7, 1.25, count)
    region = tube(canvas.shape, points, radii, wobble=(rng, rng.uniform(0.05, 0.15)))
    fill_hollow(canvas, rng, region, rng.uniform(1.0, 2.0), nested=False)


def fill_hollow(
    canvas: Canvas, rng: Rng, region: Region | None, wall: float, *, nested: bool, gap: float = 0.0
) -> None:
    """Fills a region, shrunk by `gap`, as a wall of `wall` voxels around contents in layers.

    With `nested`, the lumen is in some a target of its own.
    """
    label = canvas.new_label()
    if canvas.paint(region, "wall", label=label, offset=gap) is None or region is None:
        return
    lumen = canvas.new_label(label) if nested and rng.random() < 0.3 else label
    kinds = ["fluid", "content", "stool", "gas", "bright"]
    content = str(rng.choice(kinds, p=[0.3, 0.25, 0.2, 0.12, 0.13]))
    wall += gap
    canvas.paint(region, content, label=lumen, inside=label, offset=wall)
    if content != "gas" and rng.random() < 0.5:
        # Gas collects at the front (low Y) above a level.
        inside = np.nonzero((region.phi > wall).any(axis=(0, 2)))[0]
        if inside.size > 3:
            level = rng.uniform(inside[0], inside[-1])
            rows = np.arange(region.phi.shape[1], dtype=np.float32)[None, :, None]
            gas = Region(region.box, np.minimum(region.phi - wall, level - rows))
            canvas.paint(gas, "gas", label=lumen, inside=lumen)


def vessel(
    canvas: Canvas, rng: Rng, start: np.ndarray, stop: np.ndarray, radius: float, *, named: bool
) -> int | None:
    """A vessel from `start` to `stop` with a gentle random course; returns its tissue id."""
    length = float(np.linalg.norm(stop - start))
    weights = np.linspace(0, 1, int(rng.integers(3, 7)))[:, None]
    sway = rng.normal(0, rng.uniform(0.01, 0.06) * length, (len(weights), 3))
    points = start * (1 - weights) + stop * weights + sway
    radii = radius * rng.uniform(0.8, 1.2, 4)
    squash = (1.0, rng.uniform(0.65, 1.0), rng.uniform(0.9, 1.25)) if named else (1.0, 1.0, 1.0)
    wobble = (rng, rng.uniform(0, 0.12)) if named else None
    region = tube(canvas.shape, points, radii, squash=squash, wobble=wobble)
    return canvas.paint(region, "vessel", label=canvas.new_label() if named else None)


def vessel_tree(
    canvas: Canvas,
    rng: Rng,
    root: np.ndarray,
    reach: float,
    *,
    inside: int | None = None,
    label: int | None = None,
) -> None:
    """Branches of falling radius from `root`, of one material, kept to label `inside` if given."""
    tissue: int | None = None
    tips = [(root, rng.normal(0, 1, 3), max(0.04 * reach, 1.0))]
    for _ in range(int(rng.integers(6, 14))):
        start, way, radius = tips.pop(0)
        for _ in range(2):
            course = way / (np.linalg.norm(way) + 1e-6) + rng.normal(0, 0.6, 3)
            middle = start + 0.3 * reach * course * rng.uniform(0.5, 1)
            end = middle + 0.3 * reach * (course + rng.normal(0, 0.4, 3)) * rng.uniform(0.4, 1)
            region = tube(canvas.shape, np.stack([start, middle, end]), [radius, 0.75 * radius])
            painted = canvas.paint(region, "vessel", label=label, inside=inside, tissue=tissue)
            tissue = tissue if painted is None else painted
            tips.append((end, end - middle, max(0.75 * radius, 0.8)))


def lesion(
    canvas: Canvas, rng: Rng, host_label: int, host: int, centre: np.ndarray, reach: float
) -> None:
    """A tumour or cyst within a host organ, with a rim around a necrotic core in some."""
    where = centre + rng.uniform(-0.75, 0.75, 3) * reach
    size = reach * np.exp(rng.uniform(np.log(0.12), np.log(0.55)))
    radii = np.maximum(size, 2.5) * np.exp(rng.normal(0, 0.15, 3))
    region = blob(
        rng, canvas.shape, where, radii, rotation=1.0, wobble=rng.uniform(0.02, 0.25), power=2
    )
    label = canvas.new_label(host_label)
    kind = "fluid" if rng.random() < 0.2 else "lesion"
    painted = canvas.paint(region, kind, label=label, inside=host_label, host=host)
    if painted is not None and size > 5 and rng.random() < 0.4:
        inner = canvas.new_label(label) if rng.random() < 0.5 else None
        canvas.paint(
            region, "necrosis", label=inner, inside=label, offset=rng.uniform(0.2, 0.5) * size
        )
