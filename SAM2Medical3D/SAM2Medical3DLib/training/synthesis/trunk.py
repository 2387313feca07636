"""A trunk: chest, abdomen or pelvis with organs that fit each other, vessels and a spine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import parts
from .body import outline, wall
from .bones import ribs, spine
from .canvas import Canvas
from .shapes import blob, cells, tube

Rng = np.random.Generator
Place = Callable[[tuple[float, float], tuple[float, float]], np.ndarray]


def trunk(canvas: Canvas, rng: Rng) -> None:
    """Chest, abdomen or pelvis."""
    shape = canvas.shape
    fraction = rng.uniform(0.75, 1.0) if rng.random() < 0.65 else rng.uniform(1.0, 1.9)
    body, centre = outline(rng, shape, fraction, rng.uniform(2.0, 2.8))
    unit = 0.5 * fraction * min(shape[1:])
    wall(canvas, rng, body, unit)

    def place(y: tuple[float, float], x: tuple[float, float]) -> np.ndarray:
        across = np.array([rng.uniform(*y), rng.uniform(*x)]) * unit
        return np.array([rng.uniform(-0.05, 1.05) * shape[0], *(centre[1:] + across)])

    back = centre + np.array([0, rng.uniform(0.4, 0.55), rng.normal(0, 0.03)]) * unit
    sides = (-1, 1)
    if rng.random() < 0.3:
        for side in sides:
            lung(
                canvas,
                rng,
                centre
                + np.array([rng.uniform(0.2, 0.8) * shape[0], 0, side * 0.45 * unit]) * [1, 1, 1],
                unit,
            )
    pack(canvas, rng, centre, unit)
    for _ in range(rng.integers(0, 3)):
        parts.organ(canvas, rng, place((-0.6, 0.5), (-0.7, 0.7)), rng.uniform(0.25, 0.65) * unit)
    if rng.random() < 0.6:
        parts.hollow(canvas, rng, place((-0.7, 0.1), (-0.7, 0.7)), rng.uniform(0.3, 0.75) * unit)
    for _ in range(rng.integers(0, 4)):
        start = place((-0.6, 0.3), (-0.7, 0.7))
        parts.bowel(canvas, rng, start, 0.3 * unit, rng.uniform(0.06, 0.16) * unit)
    if rng.random() < 0.7:
        kinds = (int(rng.random() < 0.6), int(rng.random() < 0.7))
        height, size = rng.uniform(0.2, 0.8) * shape[0], rng.uniform(0.35, 0.6) * unit
        for side in sides:
            shift = np.array(
                [rng.normal(0, 0.12), rng.uniform(0.2, 0.4), side * rng.uniform(0.38, 0.55)]
            )
            parts.bean(canvas, rng, np.array([height, *centre[1:]]) + shift * unit, size, kinds)
    for side in sides:
        psoas = back + np.array([0, 0.02, side * 0.25]) * unit
        path = np.stack(
            [
                psoas * [0, 1, 1] + [-5, 0, 0],
                psoas * [0, 1, 1]
                + [shape[0] + 5, 0.05 * unit, side * rng.uniform(-0.1, 0.1) * unit],
            ]
        )
        region = tube(shape, path, rng.uniform(0.08, 0.15, 4) * unit, wobble=(rng, 0.12))
        if rng.random() < 0.7:
            canvas.paint(region, "muscle", label=canvas.new_label() if rng.random() < 0.5 else 0)
    loose_vessels(canvas, rng, place, int(rng.integers(8, 25)), 0.025 * unit)
    for _ in range(rng.integers(1, 5)):
        parts.organ(canvas, rng, place((-0.6, 0.5), (-0.7, 0.7)), rng.uniform(0.08, 0.25) * unit)
    for _ in range(rng.integers(1, 4)):
        offset = np.array([0, rng.uniform(-0.45, -0.22), rng.uniform(-0.3, 0.3)]) * unit
        near = back + offset
        tilt = rng.normal(0, 0.12, 2) * unit
        parts.vessel(
            canvas,
            rng,
            np.array([-6, *(near[1:] - tilt)]),
            np.array([shape[0] + 6, *(near[1:] + tilt)]),
            rng.uniform(0.05, 0.12) * unit,
            named=True,
        )
    if rng.random() < 0.6:
        root = place((-0.3, 0.2), (-0.3, 0.3))
        parts.vessel_tree(canvas, rng, root, rng.uniform(0.6, 1.2) * unit, label=canvas.new_label())
    if rng.random() < 0.85:
        spine(canvas, rng, back, rng.uniform(0.26, 0.38) * unit, rng.normal(0, 0.12))
    if rng.random() < 0.5:
        ribs(canvas, rng, body, centre, unit)


def pack(canvas: Canvas, rng: Rng, centre: np.ndarray, unit: float) -> None:
    """Fills the cavity with organs that fit their neighbours, with and without fat between them."""
    count = int(rng.integers(10, 28))
    spread = np.stack(
        [
            rng.uniform(-0.1, 1.1, count) * canvas.shape[0],
            *rng.uniform(-0.8, 0.8, (2, count)) * unit,
        ]
    )
    centres = spread.T + np.array([0, centre[1], centre[2]])
    weights = np.minimum(rng.gamma(1.0, 0.12, count), 0.4) * unit
    regions = cells(rng, canvas.shape, centres, weights, rng.uniform(0.04, 0.12) * unit)
    for region in regions:
        if region is None:
            continue
        inside = (region.phi > 0) & canvas.cavity[region.box]
        volume = np.count_nonzero(inside)
        if volume < 200:
            continue
        where = np.array(
            [h.mean() + s.start for h, s in zip(np.nonzero(inside), region.box, strict=True)]
        )
        size = 1.24 * volume ** (1 / 3)
        gap = 0.0 if rng.random() < 0.4 else rng.uniform(0.3, 3.0)
        draw = rng.random()
        if draw < 0.55:
            parts.solid(canvas, rng, region, where, size, gap)
        elif draw < 0.75:
            parts.fill_hollow(canvas, rng, region, rng.uniform(1.2, 3.0), nested=True, gap=gap)
        elif draw < 0.85:
            for _ in range(2):
                parts.bowel(canvas, rng, where, 0.5 * size, rng.uniform(0.12, 0.22) * size)


def lung(canvas: Canvas, rng: Rng, centre: np.ndarray, unit: float) -> None:
    """A lung with vessels and, in some, nodules."""
    radii = np.array([rng.uniform(0.5, 1.2) * canvas.shape[0], 0.65 * unit, 0.38 * unit])
    label = canvas.new_label()
    region = blob(rng, canvas.shape, centre, radii, rotation=0.05, power=2.5, wobble=0.05)
    tissue = canvas.paint(region, "lung", label=label)
    if tissue is None:
        return
    for _ in range(3):
        root = centre * [0, 1, 1] + [rng.uniform(0, canvas.shape[0]), 0, rng.normal(0, 0.1 * unit)]
        parts.vessel_tree(canvas, rng, root, 0.6 * unit, inside=label)
    for _ in range(rng.integers(0, 3)):
        parts.lesion(
            canvas,
            rng,
            label,
            tissue,
            centre * [0, 1, 1] + [0.5 * canvas.shape[0], 0, 0],
            0.35 * unit,
        )


def loose_vessels(canvas: Canvas, rng: Rng, place: Place, count: int, radius: float) -> None:
    """Small unlabelled vessels in the fat between organs."""
    for _ in range(count):
        start = place((-0.7, 0.5), (-0.7, 0.7))
        stop = start + rng.normal(0, 12 * radius, 3)
        parts.vessel(
            canvas, rng, start, stop, max(radius * rng.uniform(0.5, 1.2), 0.8), named=False
        )
