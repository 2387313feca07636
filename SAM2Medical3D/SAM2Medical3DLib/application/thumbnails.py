"""The phantom's thumbnails for the Sample Data module.

To make them anew, from the top of the repository (needs no Slicer)::

    .venv/bin/python -c "from SAM2Medical3DLib.application import thumbnails as t; \\
        t.write_thumbnails('SAM2Medical3D/Resources/Icons')"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from ..colours import default_colours
from ..phantom import Phantom, abdomen_phantom
from .phantom_ct import NAME, SEGMENTED_NAME, WINDOW

_SIDE = 256
_SLICE = 46  # liver with lesion, spleen, both kidneys, stomach, vessels


def write_thumbnails(folder: str | Path) -> list[Path]:
    """Write both thumbnails as PNG and give their paths."""
    phantom = abdomen_phantom()
    paths = []
    for name, with_segments in ((NAME, False), (SEGMENTED_NAME, True)):
        paths.append(Path(folder) / f"{name}.png")
        draw_thumbnail(phantom, with_segments).save(paths[-1], optimize=True)
    return paths


def draw_thumbnail(phantom: Phantom, with_segments: bool) -> Image.Image:
    """A slice as a radiologist sees it, with its labels in colour if wanted."""
    image, labels = phantom.image[_SLICE], phantom.labels[_SLICE]
    low, high = WINDOW
    grey = np.clip((image - low) / (high - low), 0, 1) * 255
    picture = _resized(grey.astype(np.uint8)).convert("RGB")
    if with_segments:
        for label, colour in default_colours(phantom.names).items():
            mask = _resized(np.where(labels == label, 255, 0).astype(np.uint8))
            mask = mask.point(lambda value: 255 if value > 127 else 0)
            rgb = tuple(round(255 * part) for part in colour)
            inner = np.asarray(mask.filter(ImageFilter.MinFilter(3)))
            line = Image.fromarray(np.asarray(mask) - inner)
            picture.paste(rgb, mask=Image.fromarray(inner // 3))
            picture.paste(rgb, mask=line)
    top = (_SIDE - picture.height) // 2
    square = Image.new("RGB", (_SIDE, _SIDE))
    square.paste(picture, (0, top))
    return square


def _resized(array: np.ndarray) -> Image.Image:
    height = round(_SIDE * array.shape[0] / array.shape[1])
    return Image.fromarray(array).resize((_SIDE, height), Image.Resampling.BICUBIC)
