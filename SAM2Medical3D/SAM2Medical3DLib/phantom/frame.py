"""The trunk's wall with muscles, lungs and heart, and the bones, for the phantom."""

from __future__ import annotations

import numpy as np

from .scene import Scene
from .shapes import Body, join, stack, tube


def trunk(scene: Scene) -> np.ndarray:
    """Skin, fat and muscle; returns the abdominal cavity, bool (K, J, I)."""
    space = scene.space
    body = stack(
        space,
        [
            (-125, 0, 0, 162, 112),
            (-60, 0, 2, 150, 104),
            (20, 0, 0, 150, 106),
            (125, 0, 0, 158, 110),
        ],
        power=2.4,
    )
    scene.add(body, 10, grain=6)
    scene.add(body, -105, shrink=2.5, grain=7)
    muscle = stack(
        space,
        [(-125, 0, 3, 132, 88), (-60, 0, 4, 130, 85), (20, 0, 2, 134, 89), (125, 0, 2, 140, 93)],
        power=2.3,
    )
    scene.add(muscle, 55, grain=7)
    seam = Body(muscle.box, 0.8 - np.abs(muscle.field - 5))
    scene.add(seam, -70)
    inner = stack(
        space,
        [
            (-125, 0, -5, 118, 71),
            (-60, 0, -6, 117, 69),
            (20, 0, -6, 122, 75),
            (125, 0, -4, 128, 80),
        ],
        power=2.3,
    )
    scene.add(inner, -105, grain=9)
    for side in (-1, 1):
        back = stack(
            space,
            [
                (-125, side * 34, 74, 32, 20),
                (0, side * 36, 72, 32, 19),
                (125, side * 34, 72, 27, 17),
            ],
        )
        scene.add(back, 58, grain=7)
        quadrate = stack(
            space,
            [(-110, side * 72, 56, 20, 10), (-40, side * 68, 58, 18, 9), (5, side * 60, 60, 6, 4)],
        )
        scene.add(quadrate, 55, grain=6)
        psoas = stack(
            space,
            [
                (-125, side * 52, 30, 22, 20),
                (-70, side * 44, 38, 18, 18),
                (-10, side * 34, 46, 9, 10),
                (20, side * 30, 50, 3, 4),
            ],
        )
        scene.add(psoas, 58, grain=6)
    cavity = np.zeros(space.shape, bool)
    cavity[inner.box] = inner.field > 1
    z, y, x = space.z, space.y, space.x
    radius = np.sqrt(((np.abs(x) - 55) / 75) ** 2 + ((y + 2) / 78) ** 2)
    dome = 102 - 6 * np.tanh(x / 40) - 54 * np.clip(radius, 0, 1.2) ** 3
    lung = Body(
        (slice(None), slice(None), slice(None)),
        np.minimum(z - dome, (np.abs(x) - 22) * 0.9).astype(np.float32),
    )
    scene.add(lung, -850, grain=12, mottle=18, within=cavity, soft=4)
    heart = stack(space, [(84, 14, -35, 22, 14), (95, 16, -32, 42, 30), (125, 12, -28, 52, 42)])
    scene.add(heart, 135, grain=6)
    return cavity & ~((lung.field > 0) & (space.z > -200))


def skeleton(scene: Scene) -> None:
    """Vertebrae with discs, canal and processes, ribs, iliac crests, and the table below."""
    space = scene.space

    def middle(z: float) -> np.ndarray:
        return np.array([0, 44 + 5 * np.cos((z + 20) / 70), z])

    column = [middle(z) for z in np.linspace(-130, 130, 9)]
    scene.add(tube(space, column, 21, flat=0.78), 85, grain=6)
    for number in range(8):
        z = -124 + 34.5 * number
        wide = 24 - 0.5 * number
        x0, y0, _ = middle(z)
        body = stack(
            space,
            [
                (z + d, x0, y0, wide + 1.5 * abs(d) / 13, 0.76 * wide + abs(d) / 13)
                for d in (-13.5, -6, 0, 6, 13.5)
            ],
            power=2.6,
        )
        bones = []
        for side in (-1, 1):
            pedicle = [
                (side * 14, y0 + 12, z + 3),
                (side * 15, y0 + 22, z + 1),
                (side * 8, y0 + 34, z - 4),
            ]
            bones.append(tube(space, pedicle, [5, 5, 4.5], tall=1.6))
            bones.append(
                tube(space, [(side * 15, y0 + 23, z), (side * 40, y0 + 27, z + 2)], [4.5, 3.5])
            )
            facet = [(side * 16, y0 + 26, z + 14), (side * 16, y0 + 28, z - 14)]
            bones.append(tube(space, facet, 5))
        spinous = [(0, y0 + 33, z - 4), (0, y0 + 42, z - 9), (0, y0 + 52, z - 13)]
        bones.append(tube(space, spinous, [4, 3.5, 4], tall=2.0))
        arch = join(space, bones)
        scene.add(arch, 420, "vertebrae", grain=20)
        scene.add(arch, 230, "vertebrae", shrink=2.2, grain=20)
        scene.add(body, 430, "vertebrae", grain=20)
        scene.add(body, 190, "vertebrae", shrink=2.2, grain=15, mottle=28)
    canal = [middle(z) + [0, 27, 0] for z in np.linspace(-130, 130, 9)]
    scene.add(tube(space, canal, 9.5), 5, grain=4)
    scene.add(tube(space, canal, 6), 38, grain=4)
    for side in (-1, 1):
        for number in range(8):
            top = -18 + 26 * number
            last = 0.35 + 0.13 * min(number, 5)
            angles = np.linspace(1.15, 1.15 - 2.3 * last, 10)
            rib = [
                (
                    side * 129 * np.cos(a) ** 0.9 if np.cos(a) > 0 else 0,
                    2 + 83 * np.sin(a),
                    top - 26 * (1.15 - a),
                )
                for a in angles
            ]
            body = tube(space, rib, 4.2, tall=1.5)
            scene.add(body, 520, grain=20)
            scene.add(body, 170, shrink=2.0, grain=15)
        crest = [
            (side * 55, 62, -112),
            (side * 92, 44, -96),
            (side * 116, 8, -104),
            (side * 118, -14, -124),
        ]
        scene.add(tube(space, crest, [9, 7, 6, 6], tall=1.4), 480, grain=20)
        scene.add(tube(space, crest, [9, 7, 6, 6], tall=1.4), 200, shrink=2.5, grain=20)
    for depth, density in ((122, 40), (130, -60)):
        plate = Body(
            (slice(None), slice(None), slice(None)),
            (
                1.6
                - np.abs(space.axes[1][:, None] - depth + 0.0012 * space.axes[2] ** 2)
                + 0 * space.z
            ).astype(np.float32),
        )
        scene.add(plate, density, grain=5)
