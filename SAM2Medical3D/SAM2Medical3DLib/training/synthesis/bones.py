"""Bones drawn onto a canvas: spines, ribs, shafts. Points are (Z, Y, X), sizes in voxels."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .shapes import Region, blob, tube

Rng = np.random.Generator


def spine(canvas: Canvas, rng: Rng, foot: np.ndarray, size: float, lean: float) -> None:
    """A column of vertebrae along Z through `foot` (3,) with discs, canal and processes.

    `size` is the width of a vertebral body. Each vertebra is one label.
    """
    depth, period = size * rng.uniform(0.6, 0.8), size * rng.uniform(0.6, 0.85)
    phase, wave = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25) * size
    heights = np.arange(-period * rng.random(), canvas.shape[0] + period, period)

    def middle(z: float) -> np.ndarray:
        bow = wave * np.sin(phase + z / (4 * size))
        return np.array([z, foot[1] + bow + lean * (z - foot[0]), foot[2]])

    back = np.array([0, 0.5 * depth + 0.22 * size, 0])
    path = np.stack([middle(z) for z in np.linspace(-5, canvas.shape[0] + 5, 6)])
    disc = tube(canvas.shape, path, 0.46 * size, squash=(1.0, depth / size, 1.0))
    canvas.paint(disc, "disc", anywhere=True)
    labelled = rng.random() < 0.8
    gap = rng.uniform(0.1, 0.2)
    spongy = cortical = None
    for z in heights:
        centre = middle(z)
        label = canvas.new_label() if labelled else None
        radii = np.array([0.5 * period * (1 - gap), 0.5 * depth, 0.5 * size])
        body = blob(rng, canvas.shape, centre, radii, rotation=0.03, power=4, wobble=0.03)
        pieces = [body]
        arch = centre + back
        for side in (-1, 1):
            wing = arch + side * np.array([0, 0.05, 0.3]) * size
            pieces.append(
                tube(
                    canvas.shape,
                    np.stack(
                        [
                            centre + [0, 0.3 * depth, side * 0.3 * size],
                            wing,
                            arch + np.array([-0.1, 0.3, 0]) * size,
                        ]
                    ),
                    0.1 * size,
                    squash=(1.8, 1, 1),
                )
            )
            tip = wing + np.array([0.0, 0.15, side * 0.5]) * size
            pieces.append(tube(canvas.shape, np.stack([wing, tip]), 0.09 * size))
        tip = arch + np.array([-0.35, 0.95, 0]) * size
        pieces.append(
            tube(
                canvas.shape,
                np.stack([arch + [0, 0.3 * size, 0], tip]),
                0.09 * size,
                squash=(1.8, 1, 1),
            )
        )
        for piece in pieces:
            painted = canvas.paint(piece, "cortical", label=label, anywhere=True, tissue=cortical)
            cortical = cortical if painted is None else painted
        shell = max(0.05 * size, 0.9)
        painted = canvas.paint(
            body, "spongy", label=label, offset=shell, anywhere=True, tissue=spongy
        )
        spongy = spongy if painted is None else painted
    canal = tube(canvas.shape, path + back, 0.2 * size)
    canvas.paint(
        canal, "canal", label=canvas.new_label() if rng.random() < 0.5 else 0, anywhere=True
    )


def long_bone(canvas: Canvas, rng: Rng, start: np.ndarray, stop: np.ndarray, radius: float) -> None:
    """A shaft of dense bone around marrow."""
    weights = np.linspace(0, 1, 4)[:, None]
    points = start * (1 - weights) + stop * weights + rng.normal(0, 0.3 * radius, (4, 3))
    region = tube(canvas.shape, points, radius * rng.uniform(0.8, 1.3, 4))
    label = canvas.new_label()
    if canvas.paint(region, "cortical", label=label) is not None:
        marrow = str(rng.choice(["fat", "spongy"]))
        canvas.paint(
            region, marrow, label=label, inside=label, offset=rng.uniform(0.15, 0.4) * radius
        )


def ribs(canvas: Canvas, rng: Rng, body: Region, centre: np.ndarray, unit: float) -> None:
    """Slanted arcs of bone within the body wall."""
    shape = canvas.shape
    depth = rng.uniform(0.12, 0.25) * unit
    labelled = rng.random() < 0.4
    tissue: int | None = None
    angles = np.linspace(-0.35 * np.pi, 0.45 * np.pi, 12)
    slant, gap = rng.uniform(0.2, 0.6), rng.uniform(0.18, 0.3) * unit
    for side in (-1, 1):
        for z in np.arange(-0.4 * unit, shape[0] + 0.4 * unit, gap):
            points = []
            for angle in angles:
                way = np.array([np.sin(angle), side * np.cos(angle)])
                reach = np.arange(0.2 * unit, 1.6 * unit, 1.0)
                height = z + slant * unit * 0.5 * np.sin(angle)
                line = np.round(centre[1:] + reach[:, None] * way).astype(int)
                level = int(np.clip(height, 0, shape[0] - 1))
                keep = ((line >= 0) & (line < shape[1:])).all(1)
                line, reach = line[keep], reach[keep]
                if not len(line):
                    continue
                inner = body.phi[level, line[:, 0], line[:, 1]] > depth
                edge = reach[inner][-1] if inner.any() else reach[-1]
                points.append([height, *(centre[1:] + edge * way)])
            if len(points) < 4:
                continue
            region = tube(shape, np.array(points), 0.035 * unit, squash=(1.6, 0.9, 0.9))
            label = canvas.new_label() if labelled else 0
            painted = canvas.paint(region, "cortical", label=label, anywhere=True, tissue=tissue)
            tissue = tissue if painted is None else painted
