"""An atlas of real anatomy, turned, stretched and bent at random.

The atlas is the SPL/NAC multi-organ abdominal atlas (Talos, Jakab, Kikinis 2008; Open Anatomy
Project, 3D Slicer License), whose label map of one person is downloaded once. Only its shapes are
used; ``abdomen.py`` fills them. Synthesis from label maps of real anatomy is SynthSeg's idea
(Billot et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import (
    binary_fill_holes,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
    map_coordinates,
)

from ...models.download import fetch
from .shapes import Shape, nodes, random_rotation, smooth_noise, upsample

Rng = np.random.Generator

_COMMIT = "d38bd26e7b29ba196d14d466431bd4df5ad96884"
URL = f"https://raw.githubusercontent.com/mhalle/spl-abdominal-atlas/{_COMMIT}/Data/seg.nrrd"
SHA256 = "f6ccae59157948bd790c0783ca672ba1bfb719239bb5ac1a9f023f63357ea02f"
_BYTES = 232498

# The atlas's label numbers that it is completed by; abdomen.py says what the others are.
SPINE = (*range(409, 413), *range(501, 506), 600)
DISCS = tuple(range(551, 560))
_UNDER_THE_DIAPHRAGM = (3, 4, 9, 13, 51, 52)
CANAL, LUNG = 900, 901  # ours: the atlas has neither
_AROUND = 56  # voxels added on all sides, for a body wider than the atlas's field of view


@dataclass(frozen=True)
class Atlas:
    """Labels of a whole abdomen and how deep each voxel lies in it.

    Attributes:
        labels: int16 (Z, Y, X): feet to head, front to back, right to left.
        depth: float32, distance in mm to the hull of all labelled voxels, positive inside.
        spacing: mm between voxels along Z, Y, X.
    """

    labels: np.ndarray
    depth: np.ndarray
    spacing: np.ndarray


def load_atlas() -> Atlas:
    """The abdominal atlas, downloaded (230 kB) if it is not in the cache.

    Raises:
        UserError: it can be had neither from the cache nor from the internet.
    """
    return read_atlas(fetch(URL, "spl-abdominal-atlas.nrrd", SHA256, _BYTES))


@cache
def read_atlas(path: Path) -> Atlas:
    """The atlas of a label map; takes ten seconds or more for the abdominal atlas."""
    import SimpleITK as sitk

    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    labels = sitk.GetArrayFromImage(image).astype(np.int16)
    spacing = np.array(image.GetSpacing())[::-1]
    around = ((0, 0), (_AROUND, _AROUND), (_AROUND, _AROUND))
    labels = _smoothed(np.pad(labels, around), spacing)
    labels[_canal(labels)] = CANAL
    depth = _hull_depth(labels > 0, spacing)
    labels[_lung(labels, depth)] = LUNG
    return Atlas(labels, depth, spacing)


def _smoothed(labels: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """The labels with steps between slices smoothed: each voxel's strongest after blurring."""
    best = np.full(labels.shape, 0.42, np.float32)  # thin structures keep their size
    out = np.zeros_like(labels)
    for value, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        box = tuple(
            slice(max(s.start - 3, 0), min(s.stop + 3, n))
            for s, n in zip(box, labels.shape, strict=True)
        )
        soft = gaussian_filter((labels[box] == value).astype(np.float32), 1.1 / spacing)
        wins = soft > best[box]
        best[box][wins] = soft[wins]
        out[box][wins] = value
    return out


def _canal(labels: np.ndarray) -> np.ndarray:
    spine = np.isin(labels, SPINE + DISCS)
    filled = np.stack([binary_fill_holes(slice_) for slice_ in spine])
    return filled & (labels == 0)


def _hull_depth(labelled: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Signed distance to the slices' convex hulls, smoothed along Z."""
    from scipy.spatial import Delaunay

    rows, columns = np.indices(labelled.shape[1:])
    pixels = np.stack([rows.ravel(), columns.ravel()], axis=1)
    hull = np.zeros(labelled.shape, bool)
    for slice_, out in zip(labelled, hull, strict=True):
        points = np.argwhere(slice_)
        if len(points) > 50:
            inside = Delaunay(points).find_simplex(pixels) >= 0
            out[:] = inside.reshape(slice_.shape)
    depth = np.stack(
        [
            distance_transform_edt(s, spacing[1:]) - distance_transform_edt(~s, spacing[1:])
            for s in hull
        ]
    ).astype(np.float32)
    return gaussian_filter(depth, (3, 2, 2))


def _lung(labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """What is free inside the ribs, above a dome over the organs of the abdomen."""
    organs = np.isin(labels, _UNDER_THE_DIAPHRAGM)
    heights = np.where(organs.any(0), len(labels) - 1 - organs[::-1].argmax(0), -1)
    nearest = distance_transform_edt(heights < 0, return_indices=True)[1]
    dome = gaussian_filter(heights[tuple(nearest)].astype(np.float32), 6) + 3
    dome = np.maximum(dome, np.quantile(heights[heights >= 0], 0.7))
    above = np.arange(len(labels))[:, None, None] > dome
    return above & (depth > 7) & (labels == 0)


@dataclass(frozen=True)
class View:
    """The atlas as one volume sees it: `labels` int16 and `depth` float32 in voxels, (Z, Y, X)."""

    labels: np.ndarray
    depth: np.ndarray


def deform(atlas: Atlas, rng: Rng, shape: Shape) -> View:
    """The atlas turned, stretched and bent at random, seen on a grid of `shape` voxels."""
    size_mm = np.array(atlas.labels.shape) * atlas.spacing
    voxel = float(rng.uniform(0.7, 1.45))
    stretch = np.exp(rng.normal(0, 0.1, 3))
    # Not beyond the atlas's first and last slice by more than a little.
    stretch[0] = min(stretch[0], 1.1 * size_mm[0] / (shape[0] * voxel))
    matrix = random_rotation(rng, 0.08) * (stretch * voxel)
    margin = 0.5 * shape[0] * voxel * stretch[0]
    low, high = min(margin, size_mm[0] / 2), max(size_mm[0] - margin, size_mm[0] / 2)
    centre = np.array([rng.uniform(low, high), *(size_mm[1:] * rng.uniform(0.36, 0.64, 2))])
    if voxel * max(shape[1:]) > 200:
        centre[1:] = size_mm[1:] * rng.uniform(0.44, 0.56, 2)
    stride = 4
    grid = [nodes(n, stride) for n in shape]
    steps = [stride * np.arange(n) - (s - 1) / 2 for n, s in zip(grid, shape, strict=True)]
    where = np.tensordot(matrix, np.stack(np.meshgrid(*steps, indexing="ij")), axes=1)
    where += centre[:, None, None, None]
    for sigma_mm, amount_mm in ((30, rng.uniform(1, 6)), (9, rng.uniform(0.2, 1.2))):
        sigma = sigma_mm / (voxel * stride)
        for axis in where:
            axis += amount_mm * smooth_noise(rng, grid, sigma)
    mirrored = rng.random() < 0.3
    if mirrored:
        where[2] = size_mm[2] - where[2]
    points = np.stack([upsample((w / s).astype(np.float32), stride, shape)
                       for w, s in zip(where, atlas.spacing, strict=True)])  # fmt: skip
    near = [np.clip(np.rint(p).astype(np.int32), 0, n - 1)
            for p, n in zip(points, atlas.labels.shape, strict=True)]  # fmt: skip
    labels = atlas.labels[tuple(near)]
    coarse = [w / s for w, s in zip(where, atlas.spacing, strict=True)]
    depth = map_coordinates(atlas.depth, coarse, order=1, mode="nearest")
    return View(labels, upsample((depth / voxel).astype(np.float32), stride, shape))
