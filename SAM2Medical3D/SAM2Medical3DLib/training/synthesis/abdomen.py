"""An abdomen painted from an atlas: real anatomy with made-up contents."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter
from scipy.ndimage import label as connected_parts

from . import parts
from .atlas import CANAL, DISCS, LUNG, Atlas, View, deform
from .canvas import Canvas
from .shapes import Region, blob, nodes, smooth_noise, upsample

Rng = np.random.Generator

# The atlas's label numbers. Whatever is in none of these is muscle.
_SOLID = (3, 4, 6, 111, 112)
_KIDNEYS = {51: 145, 52: 146}  # and the renal pelvis of each
_HOLLOW = (13, 9)  # stomach and duodenum; colon and ileum
_GALLBLADDER = 10
_URETERS = (141, 142)
_ARTERIES = (7, *range(16, 30), *range(71, 77), 126, 127, 227)
_VEINS = (8, 11, 12, 117, 128, 129, *range(81, 87), 151, 152, 153)
_BONES = (299, *range(409, 413), *range(501, 506), 600, *range(686, 693), 699)
_ALIKE = ("muscle", "organ", "wall", "vessel", "content")  # what a mass may look like
_FAT_VOXELS = (4.0, 35.0)
_SKIN_VOXELS = 2.0


def abdomen(canvas: Canvas, rng: Rng, atlas: Atlas) -> None:
    """A body with the atlas's organs, vessels, bones and muscles, and lungs above them."""
    view = deform(atlas, rng, canvas.shape)
    whole = tuple(slice(0, n) for n in canvas.shape)
    grid = [nodes(n, 8) for n in canvas.shape]
    fat = rng.uniform(*_FAT_VOXELS)
    uneven = fat * (1 + 0.15 * upsample(smooth_noise(rng, grid, 4), 8, canvas.shape))
    body = Region(whole, view.depth + uneven)  # type: ignore[arg-type]
    canvas.body = canvas.cavity = np.ones(canvas.shape, bool)
    canvas.paint(body, "skin")
    canvas.paint(body, "fat", offset=_SKIN_VOXELS)
    canvas.body = canvas.cavity = body.phi > _SKIN_VOXELS
    wall = Region(whole, np.minimum(view.depth - 1, rng.uniform(3, 8) - view.depth))  # type: ignore[arg-type]
    muscle = canvas.paint(wall, "muscle")
    _Painter(canvas, rng, view, muscle).paint_all()


class _Painter:
    """Fills the labels of a view, one after the other, each as what it is."""

    def __init__(self, canvas: Canvas, rng: Rng, view: View, muscle: int | None) -> None:
        self.canvas, self.rng, self.view = canvas, rng, view
        self.boxes = find_objects(view.labels)
        self.muscle = muscle
        self.loose = rng.uniform(0, 1.5)  # fat between neighbours, in voxels

    def paint_all(self) -> None:
        rng = self.rng
        present = [n for n, box in enumerate(self.boxes, start=1) if box is not None]
        special = {*_SOLID, *_KIDNEYS, *_KIDNEYS.values(), *_HOLLOW, _GALLBLADDER, *_URETERS,
                   *_ARTERIES, *_VEINS, *_BONES, *DISCS, CANAL, LUNG}  # fmt: skip
        each_muscle = rng.random() < 0.5  # has a signal of its own, or all have one
        for value in present:
            if value not in special:
                self._plain(value, "muscle", None if each_muscle else self.muscle)
        self._lungs()
        for value in _SOLID:
            self._solid(value)
        for value, pelvis in _KIDNEYS.items():
            self._kidney(value, pelvis)
        for value in _HOLLOW:
            self._hollow(value)
        self._gallbladder()
        for group in (_VEINS, _ARTERIES, _URETERS):
            kind = "vessel" if group is not _URETERS else str(rng.choice(["fluid", "bright"]))
            tissue = None
            for value in group:
                painted = self._plain(value, kind, tissue, grow=rng.uniform(0, 1.0))
                tissue = tissue if painted is None else painted
        self._bones()
        tissue = None
        for value in DISCS:
            painted = self._plain(value, "disc", tissue)
            tissue = tissue if painted is None else painted
        self._plain(CANAL, "canal", None)
        for _ in range(rng.integers(0, 5)):
            self._mass()

    def _region(self, value: int, margin: int = 4) -> Region | None:
        """A label as a smooth level set, slightly uneven."""
        box = self.boxes[value - 1] if value <= len(self.boxes) else None
        if box is None:
            return None
        box = tuple(
            slice(max(s.start - margin, 0), min(s.stop + margin, n))
            for s, n in zip(box, self.canvas.shape, strict=True)
        )
        return self._level_set(self.view.labels[box] == value, box)

    def _level_set(self, inside: np.ndarray, box: tuple[slice, slice, slice]) -> Region:
        phi = distance_transform_edt(inside) - distance_transform_edt(~inside)
        phi = np.where(phi > 0, phi - 0.5, phi + 0.5).astype(np.float32)
        phi = gaussian_filter(phi, 0.7)
        return Region(box, phi + self.rng.uniform(0, 0.5) * smooth_noise(self.rng, phi.shape, 2.5))

    def _plain(self, value: int, kind: str, tissue: int | None, grow: float = 0.0) -> int | None:
        region = self._region(value)
        if region is None:
            return None
        label = self.canvas.new_label()
        return self.canvas.paint(region, kind, label=label, tissue=tissue, offset=-grow)

    def _solid(self, value: int) -> None:
        region = self._region(value)
        if region is None:
            return
        centre, size = _middle(region)
        parts.solid(self.canvas, self.rng, region, centre, size, self.rng.uniform(0, self.loose))

    def _kidney(self, value: int, pelvis: int) -> None:
        canvas, rng = self.canvas, self.rng
        region = self._region(value)
        if region is None:
            return
        centre, size = _middle(region)
        label = canvas.new_label()
        cortex = canvas.paint(region, "bright", label=label)
        if cortex is None:
            return
        if rng.random() < 0.6:
            canvas.paint(region, "organ", offset=rng.uniform(0.1, 0.2) * size, inside=label)
        sinus = self._region(pelvis)
        if sinus is not None:
            kind = str(rng.choice(["fat", "fluid", "bright"]))
            canvas.paint(sinus, kind, label=0 if kind == "fat" else label)
        if rng.random() < 0.35:
            parts.lesion(canvas, rng, label, cortex, centre, 0.45 * size)

    def _hollow(self, value: int) -> None:
        """Loops that do not touch are separate objects, each with contents of its own."""
        box = self.boxes[value - 1] if value <= len(self.boxes) else None
        if box is None:
            return
        loops, count = connected_parts(self.view.labels[box] == value)
        for number, loop in enumerate(find_objects(loops), start=1):
            if np.count_nonzero(loops[loop] == number) < 60 or self.canvas.full:
                continue
            at = tuple(
                slice(max(o.start + s.start - 3, 0), min(o.start + s.stop + 3, n))
                for o, s, n in zip(box, loop, self.canvas.shape, strict=True)
            )
            inside = np.zeros([s.stop - s.start for s in at], bool)
            put = tuple(slice(o.start + s.start - a.start, o.start + s.stop - a.start)
                        for o, s, a in zip(box, loop, at, strict=True))  # fmt: skip
            inside[put] = loops[loop] == number
            region = self._level_set(inside, at)
            nested = value == _HOLLOW[0]
            parts.fill_hollow(
                self.canvas, self.rng, region, self.rng.uniform(1.0, 2.5), nested=nested
            )

    def _gallbladder(self) -> None:
        region = self._region(_GALLBLADDER)
        if region is None:
            return
        label = self.canvas.new_label()
        kind = str(self.rng.choice(["fluid", "fluid", "bright"]))
        if self.rng.random() < 0.6:
            self.canvas.paint(region, "wall", label=label)
        self.canvas.paint(region, kind, label=label, offset=self.rng.uniform(0.5, 1.5))

    def _bones(self) -> None:
        shell = self.rng.uniform(0.8, 1.8)
        cortical = spongy = None
        for value in _BONES:
            region = self._region(value)
            if region is None:
                continue
            label = self.canvas.new_label()
            painted = self.canvas.paint(region, "cortical", label=label, tissue=cortical)
            cortical = cortical if painted is None else painted
            painted = self.canvas.paint(
                region, "spongy", label=label, offset=shell, tissue=spongy, inside=label
            )
            spongy = spongy if painted is None else painted

    def _mass(self) -> None:
        """A lymph node or tumour, mostly in fat, that touches and looks like what is around it."""
        canvas, rng = self.canvas, self.rng
        deep = self.view.depth > 8
        places = np.argwhere(deep[::4, ::4, ::4])
        if not len(places):
            return
        centre = 4.0 * places[rng.integers(len(places))]
        size = float(np.exp(rng.uniform(np.log(4), np.log(18))))
        radii = size * np.exp(rng.normal(0, 0.2, 3))
        region = blob(rng, canvas.shape, centre, radii, rotation=1.0, wobble=rng.uniform(0.03, 0.2))
        if region is None:
            return
        touched = canvas.tissues[region.box][(region.phi > -2) & (region.phi < 2)]
        kinds = [t for t in np.unique(touched) if canvas.table[t].kind in _ALIKE]
        label = canvas.new_label()
        if kinds and rng.random() < 0.5:
            canvas.paint(region, "lesion", label=label, tissue=int(rng.choice(kinds)))
        else:
            host = int(rng.choice(kinds)) if kinds else None
            canvas.paint(region, "lesion", label=label, host=host)

    def _lungs(self) -> None:
        canvas, rng = self.canvas, self.rng
        region = self._region(LUNG)
        if region is None:
            return
        label = canvas.new_label()
        if canvas.paint(region, "lung", label=label, offset=rng.uniform(0, 1)) is None:
            return
        centre, size = _middle(region)
        for _ in range(3):
            root = centre + rng.normal(0, 0.2, 3) * size
            parts.vessel_tree(canvas, rng, root, 0.5 * size, inside=label)
        if rng.random() < 0.7:
            front = centre + np.array([0.1, -0.18, rng.normal(0.05, 0.05)]) * canvas.shape[1]
            radii = rng.uniform(0.12, 0.22) * canvas.shape[1] * np.exp(rng.normal(0, 0.15, 3))
            heart = blob(rng, canvas.shape, front, radii, rotation=0.5, wobble=0.06)
            own = canvas.new_label()
            if canvas.paint(heart, "organ", label=own, inside=label) is not None:
                canvas.paint(heart, "vessel", label=own, inside=own, offset=0.35 * radii.min())


def _middle(region: Region) -> tuple[np.ndarray, float]:
    """Centre (3,) and diameter of a ball of the same volume."""
    inside = np.nonzero(region.phi > 0)
    if not len(inside[0]):
        return np.array([s.start for s in region.box], float), 1.0
    centre = np.array([i.mean() + s.start for i, s in zip(inside, region.box, strict=True)])
    return centre, 1.24 * len(inside[0]) ** (1 / 3)
