"""A head: scalp, skull, folded grey and white matter, ventricles, nuclei, tumours."""

from __future__ import annotations

import numpy as np

from . import parts
from .canvas import Canvas
from .shapes import Region, blob, nodes, smooth_noise, tube, upsample

Rng = np.random.Generator


def head(canvas: Canvas, rng: Rng) -> None:
    """A head: scalp, skull, folded grey and white matter, ventricles, nuclei, tumours."""
    shape = np.array(canvas.shape)
    unit = 0.5 * rng.uniform(0.8, 1.2) * min(shape[1:])
    centre = shape * 0.5 + rng.normal(0, 4, 3)
    radii = unit * np.array(
        [rng.uniform(0.8, 1.3), rng.uniform(0.92, 1.02), rng.uniform(0.75, 0.88)]
    )
    body = blob(rng, canvas.shape, centre, radii, rotation=0.05, wobble=0.02, power=2.2)
    if body is None:
        return
    scalp, bone = rng.uniform(0.03, 0.09) * unit, rng.uniform(0.03, 0.08) * unit
    canvas.paint(body, "skin")
    canvas.paint(body, "fat", offset=1.0)
    canvas.paint(body, "muscle", offset=0.6 * scalp)
    canvas.paint(
        body, "cortical", label=canvas.new_label() if rng.random() < 0.5 else 0, offset=scalp
    )
    canvas.paint(body, "spongy", offset=scalp + 0.35 * bone)
    canvas.paint(body, "cortical", offset=scalp + 0.7 * bone)
    canvas.paint(body, "fluid", label=0, offset=scalp + bone)
    inner = scalp + bone + 0.02 * unit
    canvas.cavity[body.box] = body.phi > inner
    size = body.phi.shape
    slow = upsample(smooth_noise(rng, [nodes(n, 4) for n in size], 3), 4, size)
    brain = canvas.new_label()
    depth = body.phi - inner
    # Sulci run along the zero crossings of a noise field and fade with depth; a fissure parts the
    # hemispheres in front and behind.
    width = rng.uniform(0.035, 0.06) * unit
    folds = upsample(smooth_noise(rng, [nodes(n, 2) for n in size], width), 2, size)
    fold = 1.5 * width * np.abs(folds) + np.maximum(depth - rng.uniform(0.12, 0.3) * unit, 0)
    _, y, x = (np.arange(s.start, s.stop, dtype=np.float32) for s in body.box)
    middle = np.abs(x - centre[2] + 1.5 * slow)
    middle = middle + np.maximum(0.4 * unit - np.abs(y - centre[1]), 0)[:, None]
    fold = np.minimum(fold, middle)
    csf, grey_depth = rng.uniform(0.005, 0.02) * unit, rng.uniform(0.03, 0.06) * unit
    grey = canvas.paint(Region(body.box, np.minimum(depth, fold - csf)), "grey", label=brain)
    white = np.minimum(depth, fold - csf) - grey_depth * (1 + 0.2 * slow)
    inner_label = canvas.new_label(brain) if rng.random() < 0.3 else brain
    core = canvas.paint(Region(body.box, white), "white", label=inner_label, inside=brain)
    for side in (-1, 1):
        for kind, reach, size_zyx in (
            ("fluid", (0.1, 0.0, 0.12), (0.28, 0.35, 0.07)),
            ("grey", (-0.05, 0.02, 0.24), (0.16, 0.2, 0.09)),
            ("grey", (-0.08, -0.2, 0.2), (0.14, 0.14, 0.07)),
        ):
            at = centre + np.array(reach) * [1, 1, side] * unit
            region = blob(
                rng,
                canvas.shape,
                at,
                np.array(size_zyx) * unit * np.exp(rng.normal(0, 0.2)),
                rotation=0.15,
                wobble=0.1,
                bend=rng.uniform(0, 0.5),
                taper=rng.uniform(-0.5, 0.5),
            )
            canvas.paint(region, kind, label=canvas.new_label())
    stem = centre + np.array([-0.75, 0.2, 0]) * unit
    parts_of_stem = np.stack([stem - [30, 0, 0], stem, centre + np.array([-0.3, 0.1, 0]) * unit])
    canvas.paint(tube(canvas.shape, parts_of_stem, 0.13 * unit), "white", label=canvas.new_label())
    for _ in range(rng.integers(1, 4)):
        at = centre + rng.uniform(-0.6, 0.6, 3) * unit
        tumour(canvas, rng, at, rng.uniform(0.12, 0.4) * unit, core or grey or 0)
    for _ in range(rng.integers(2, 7)):
        start = centre + rng.uniform(-0.5, 0.5, 3) * unit
        stop = start + rng.normal(0, 0.5, 3) * unit
        parts.vessel(
            canvas, rng, start, stop, max(0.02 * unit, 0.9), named=bool(rng.random() < 0.4)
        )


def tumour(canvas: Canvas, rng: Rng, centre: np.ndarray, size: float, host: int) -> None:
    """Nested oedema, tumour with a rim, and necrotic core, some of them absent."""
    parent = 0
    for kind, scale in (
        ("lesion", 1.0),
        ("lesion", rng.uniform(0.5, 0.75)),
        ("necrosis", rng.uniform(0.25, 0.45)),
    ):
        if rng.random() < 0.25:
            continue
        radii = size * scale * np.exp(rng.normal(0, 0.15, 3))
        at = centre + rng.normal(0, 0.08 * size, 3)
        region = blob(rng, canvas.shape, at, radii, rotation=1, wobble=rng.uniform(0.08, 0.3))
        label = canvas.new_label(parent)
        if canvas.paint(region, kind, label=label, host=host) is not None:
            parent = label
