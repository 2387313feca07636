"""Colours for segments whose files bring none."""

from __future__ import annotations

from collections.abc import Iterable

Colour = tuple[float, float, float]

# Told apart on grey images and by colour-blind eyes (after Okabe and Ito).
_PALETTE: tuple[Colour, ...] = (
    (0.34, 0.80, 0.42),
    (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91),
    (0.94, 0.89, 0.26),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
    (0.20, 0.55, 0.85),
    (0.00, 0.62, 0.45),
)


def default_colours(labels: Iterable[int]) -> dict[int, Colour]:
    """{label: (red, green, blue)}, 0..1, in the order of the labels."""
    return {label: _PALETTE[i % len(_PALETTE)] for i, label in enumerate(labels)}
