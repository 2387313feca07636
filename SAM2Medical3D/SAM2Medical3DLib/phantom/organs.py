"""Liver, gallbladder, lesion, spleen, pancreas and kidneys of the phantom."""

from __future__ import annotations

import numpy as np

from .scene import Scene
from .shapes import Body, carve, join, stack, tube


def organs(scene: Scene, cavity: np.ndarray) -> None:
    """Liver with gallbladder and lesion, spleen, pancreas and kidneys."""
    space = scene.space
    kidneys = {}
    for name, side, up in (("right kidney", -1, -12.0), ("left kidney", 1, 4.0)):
        kidneys[name] = stack(
            space,
            [
                (up + 56, side * 48, 46, 3, 3),
                (up + 46, side * 52, 44, 18, 17),
                (up + 20, side * 60, 40, 28, 23),
                (up - 8, side * 66, 38, 29, 25),
                (up - 32, side * 72, 36, 23, 21),
                (up - 50, side * 75, 34, 4, 4),
            ],
            slant=side * 35,
        )
    right = stack(
        space,
        [
            (99, -58, -6, 4, 4),
            (93, -58, -8, 34, 32),
            (76, -60, -5, 55, 56),
            (45, -66, -2, 56, 64),
            (12, -76, 0, 46, 58),
            (-18, -88, 2, 32, 45),
            (-42, -96, 6, 20, 30),
            (-62, -100, 8, 4, 6),
        ],
        power=2.3,
        slant=-8,
    )
    left = stack(
        space,
        [
            (88, 6, -36, 4, 4),
            (78, 12, -40, 42, 24),
            (56, 14, -46, 52, 25),
            (32, 2, -50, 38, 20),
            (12, -14, -54, 24, 13),
            (-4, -20, -58, 4, 3),
        ],
        slant=8,
    )
    liver = join(space, [right, left], rounding=22)
    liver = carve(space, liver, kidneys["right kidney"], gap=4)
    spine = stack(space, [(-125, -2, 40, 34, 36), (125, -2, 40, 36, 38)])
    liver = carve(space, liver, spine)
    liver = Body(liver.box, liver.field + 1.2 * scene.grain[liver.box])
    scene.add(liver, 108, "liver", within=cavity, grain=5, mottle=4)
    lesion = stack(
        space,
        [
            (24, -86, 8, 2, 2),
            (30, -86, 8, 11, 10),
            (42, -88, 6, 16, 14),
            (52, -85, 4, 13, 12),
            (60, -84, 4, 2, 2),
        ],
    )
    lesion = Body(lesion.box, lesion.field + 1.0 * scene.grain[lesion.box])
    for points, radii in (
        ([(-22, 6, 88), (-45, 5, 80), (-80, 15, 62), (-98, 20, 48)], [6, 4.5, 3, 2]),
        ([(-20, 4, 88), (-40, -20, 76), (-55, -38, 52), (-62, -45, 30)], [5, 4, 3, 2]),
        ([(-18, 2, 88), (0, -25, 76), (18, -44, 62)], [5, 3.5, 2]),
        ([(-22, -8, 18), (-38, -6, 28), (-66, 6, 26), (-92, 14, 14)], [7, 6, 4, 2]),
        ([(-38, -6, 28), (-58, -14, 46), (-72, -28, 60)], [5, 3.5, 2]),
        ([(-38, -6, 28), (-14, -30, 42), (8, -44, 50)], [5, 3.5, 2]),
    ):
        scene.add(tube(space, points, radii), 158, keep=True)
    scene.add(lesion, 62, "lesion", grain=6, soft=3)
    scene.add(lesion, 38, "lesion", shrink=6, grain=6, soft=4)
    gallbladder = stack(
        space,
        [
            (14, -40, -34, 3, 3),
            (4, -44, -42, 11, 12),
            (-14, -50, -52, 14, 16),
            (-28, -54, -58, 4, 5),
        ],
    )
    scene.add(gallbladder, 75, "gallbladder")
    scene.add(gallbladder, 8, "gallbladder", shrink=2, grain=2)

    spleen = stack(
        space,
        [
            (86, 78, 34, 3, 4),
            (74, 88, 32, 24, 28),
            (48, 98, 24, 26, 44),
            (20, 104, 20, 23, 42),
            (-6, 106, 22, 16, 28),
            (-24, 104, 26, 3, 5),
        ],
        slant=-14,
    )
    hilum = stack(space, [(92, 62, 6, 18, 26), (40, 72, 4, 15, 22), (-30, 78, 6, 12, 16)])
    spleen = carve(space, spleen, hilum)
    spleen = carve(space, spleen, kidneys["left kidney"], gap=4)
    scene.add(spleen, 118, "spleen", within=cavity, grain=4)
    pancreas = tube(
        space,
        [(-34, -14, -14), (-26, -14, 4), (0, -18, 14), (32, -2, 24), (70, 16, 34)],
        [13, 11, 8, 9, 7],
        flat=0.8,
    )
    if pancreas is not None:
        lobed = Body(pancreas.box, pancreas.field + 1.6 * scene.grain[pancreas.box])
        scene.add(lobed, 92, grain=9, mottle=8, within=scene.labels == 0)
    for name, side in (("right kidney", -1), ("left kidney", 1)):
        _kidney(scene, kidneys[name], name, side)


def _kidney(scene: Scene, body: Body, name: str, side: int) -> None:
    """Bright cortex with columns, duller pyramids, a sinus of fat open to the middle, a pelvis."""
    space = scene.space
    scene.add(body, 185, name, grain=5)
    z, y, x = space.coordinates(body.box)
    angle = np.arctan2(y - 38, np.abs(x) - 60)
    columns = np.cos(7 * angle + 0.16 * z) - 0.1
    depth = np.minimum(body.field - 6, 4 * columns).astype(np.float32)
    scene.add(Body(body.box, depth), 135, name, grain=5)
    middle = -12.0 if side < 0 else 4.0
    sinus = stack(
        space,
        [
            (middle + 26, side * 54, 40, 2, 2),
            (middle + 14, side * 54, 38, 10, 8),
            (middle - 8, side * 52, 36, 17, 10),
            (middle - 24, side * 60, 34, 8, 7),
            (middle - 34, side * 64, 34, 2, 2),
        ],
    )
    scene.add(sinus, -70, grain=8)
    pelvis = stack(
        space,
        [
            (middle + 8, side * 54, 38, 2, 2),
            (middle - 4, side * 50, 36, 11, 5),
            (middle - 16, side * 46, 34, 3, 3),
        ],
    )
    scene.add(pelvis, 15)
    ureter = [(side * 44, 34, middle - 14), (side * 40, 24, middle - 50), (side * 38, 16, -125)]
    scene.add(tube(space, ureter, 2.5), 25)
