"""``python -m SAM2Medical3DLib.training.samples FILE.png``: what training clips look like."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from .clips import ClipSampler
from .sources import SyntheticSources

_CONTOUR = (255, 200, 40)


def montage(rows: int, columns: int, size: int, seed: int, atlas: float = 0.0) -> Image.Image:
    """First slices of ``rows`` x ``columns`` clips of ``size`` pixels, the target outlined; a share
    ``atlas`` of them from the abdominal atlas."""
    sources = SyntheticSources.of(atlas)
    sampler = ClipSampler(seed, length=1, size=size, sources=sources, streams=rows * columns)
    sheet = np.zeros((rows * size, columns * size, 3), np.uint8)
    for n in range(rows * columns):
        clip = sampler(n)
        tile = np.repeat(np.rint(clip.frames[0] * 255).astype(np.uint8)[..., None], 3, axis=2)
        mask = np.pad(clip.masks[0], 1, mode="edge")
        # Pixels of the mask with a 4-neighbour outside it.
        inside = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        tile[clip.masks[0] & ~inside] = _CONTOUR
        row, column = divmod(n, columns)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = tile
    return Image.fromarray(sheet)


def main(arguments: list[str] | None = None) -> int:
    """Write the montage; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training.samples", description=__doc__
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--atlas", type=float, default=0.0, help="share from the abdominal atlas")
    options = parser.parse_args(arguments)
    made = montage(options.rows, options.columns, options.size, options.seed, options.atlas)
    made.save(options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
