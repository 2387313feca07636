"""Arteries and veins of the phantom."""

from __future__ import annotations

import numpy as np

from .scene import Scene
from .shapes import tube


def vessels(scene: Scene) -> None:
    """Aorta with branches and iliac arteries, vena cava, portal and mesenteric vessels."""
    space, rng = scene.space, scene.rng
    for _ in range(40):
        start = np.array([rng.uniform(-80, 80), rng.uniform(-55, 10), rng.uniform(-115, -10)])
        course = np.cumsum(rng.normal(0, 11, (4, 3)), axis=0)
        scene.add(tube(space, start + course, rng.uniform(1.2, 2.4)), 140, keep=True)
    free = scene.labels == 0
    portal = [(2, -12, -20), (-4, -10, 0), (-22, -8, 18)]
    scene.add(tube(space, portal, 7), 158)
    scene.add(
        tube(space, [(-4, -10, 6), (30, 4, 18), (60, 14, 30), (88, 16, 34)], [5.5, 5, 4, 3]),
        155,
        within=free,
    )
    cava = [
        (-20, 20, -90),
        (-19, 16, -40),
        (-20, 12, 10),
        (-24, 8, 50),
        (-20, 4, 88),
        (-10, 0, 110),
    ]
    for side in (-1, 1):
        iliac = [(-16 + 4 * side, 20, -84), (-10 + side * 26, 22, -105), (side * 44, 18, -128)]
        scene.add(tube(space, iliac, 8), 148)
        artery = [(3, 12, -76), (side * 16, 12, -95), (side * 40, 8, -125)]
        scene.add(tube(space, artery, 6), 208)
        renal = [(side * 3 + 3, 12, -4), (side * 26, 22, -4), (side * 50, 36, -6 + 6 * side)]
        scene.add(tube(space, renal, 3), 200)
    scene.add(tube(space, cava, [10, 10, 11, 12, 12, 11], flat=0.8), 148, "inferior vena cava")
    aorta = [(16, 24, 130), (12, 18, 70), (8, 13, 10), (5, 12, -40), (3, 12, -80)]
    for branch in (
        [(9, 8, 26), (8, -12, 28), (-18, -14, 30)],
        [(8, 8, 14), (6, -12, -4), (2, -18, -70)],
    ):
        scene.add(tube(space, branch, [4, 3.5, 3]), 200)
    scene.add(tube(space, aorta, [12.5, 12, 11, 10, 9]), 212, "aorta")
