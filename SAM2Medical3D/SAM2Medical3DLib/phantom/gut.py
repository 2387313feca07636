"""Stomach, duodenum, small bowel and colon of the phantom."""

from __future__ import annotations

import numpy as np

from .scene import Scene
from .shapes import tube


def gut(scene: Scene) -> None:
    """Small bowel, colon, duodenum and stomach, with fluid, stool and gas that rises forward."""
    space, rng = scene.space, scene.rng
    for row in range(6):
        turn = np.linspace(0, 3.5 * np.pi, 17)
        height = -32 - 17 * row
        loop = np.stack(
            [
                70 * np.cos(turn) * (0.7 + 0.3 * np.cos(2.3 * turn + row)),
                -26 + 28 * np.sin(1.7 * turn + 1.7 * row) + 4 * rng.normal(size=17),
                height + 10 * np.sin(1.3 * turn + row),
            ],
            axis=1,
        )
        bowel = tube(space, loop, rng.uniform(8, 13, 17))
        scene.add(bowel, 92, grain=6)
        scene.add(bowel, 25 + 12 * row, shrink=2.6, grain=12)
    _, y, _ = space.coordinates((slice(None), slice(None), slice(None)))
    front = y < -38
    sides = {
        "up": [(-96, 26, -125), (-100, 22, -100), (-98, 14, -78), (-88, -8, -66)],
        "across": [(-88, -8, -66), (-58, -50, -48), (0, -62, -54), (56, -52, -28), (92, -8, -6)],
        "down": [(92, -8, -6), (110, 10, -30), (110, 24, -80), (104, 26, -125)],
    }
    for points in sides.values():
        haustra = 16 + 4 * np.sin(np.arange(24) * 1.9)
        colon = tube(space, points, haustra)
        scene.add(colon, 60, grain=6)
        scene.add(colon, -30, shrink=3, grain=25, mottle=90)
        scene.add(colon, -920, shrink=3.5, within=front, grain=0)
    duodenum = tube(
        space,
        [(-30, -36, 4), (-46, -20, -8), (-48, -4, -34), (-20, 0, -48), (18, -6, -40)],
        [12, 12, 11, 11, 10],
    )
    scene.add(duodenum, 80, grain=6)
    scene.add(duodenum, 22, shrink=3, grain=8)
    stomach = tube(
        space,
        [(52, 22, 80), (58, 12, 58), (60, -14, 30), (46, -40, 4), (14, -50, -14), (-26, -38, 2)],
        [24, 33, 29, 23, 17, 10],
    )
    scene.add(stomach, 78, "stomach", grain=6)
    scene.add(stomach, 24, "stomach", shrink=4.5, grain=14, mottle=6)
    scene.add(stomach, -940, "stomach", shrink=4.5, within=y < -36, grain=0)
