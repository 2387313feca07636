"""The propagation methods by name: one row each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import UserError
from .base import Propagator

if TYPE_CHECKING:
    from ..models.registry import LoadedModel


def _sam2(model: LoadedModel, **options: object) -> Propagator:
    from .sam2 import Sam2Propagator

    return Sam2Propagator(model, **options)


METHODS: dict[str, Callable[..., Propagator]] = {
    # Shen et al. 2024, zero-shot SAM 2 with its memory along the slices.
    "sam2": _sam2,
}


def create_propagator(method: str, model: LoadedModel, **options: object) -> Propagator:
    """A propagator for a loaded model.

    Args:
        method: a name in ``METHODS``.
        options: as the method's class takes them; ``cache_bytes`` and ``field_of_view`` for all.

    Raises:
        UserError: for an unknown method.
    """
    if method not in METHODS:
        raise UserError(f"Unknown method '{method}'; use one of {', '.join(METHODS)}.")
    return METHODS[method](model, **options)
