"""The propagation methods by name: one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError
from .base import Propagator

if TYPE_CHECKING:
    from ..models.architecture import Architecture
    from ..models.registry import LoadedModel, ModelInfo


@dataclass(frozen=True)
class Method:
    """A propagation method that can be named.

    Attributes:
        name, title: what to type and what to show.
        source: the paper.
        create: makes the propagator from a loaded model and options.
        default_model: a name in ``models.registry``, of a bundled model.
        options: what ``create`` takes beside ``cache_bytes``, ``field_of_view``, ``appearance``.
        needs_memory: cannot run with a 2D model.
        needs_boundaries: without a boundary branch it would be another method.
    """

    name: str
    title: str
    source: str
    create: Callable[..., Propagator]
    default_model: str = "bundled"
    options: frozenset[str] = frozenset()
    needs_memory: bool = True
    needs_boundaries: bool = False

    def suits(self, architecture: Architecture) -> bool:
        """Whether a network can be used with this method."""
        return (architecture.memory or not self.needs_memory) and (
            architecture.boundary_dim > 0 or not self.needs_boundaries
        )

    def choose_model(self, wanted: str | None) -> str:
        """The name of the model to load: the wanted one, else the method's own."""
        return wanted or self.default_model


def _sam2(model: LoadedModel, **options: object) -> Propagator:
    from .sam2 import Sam2Propagator

    return Sam2Propagator(model, **options)


def _radsam(model: LoadedModel, **options: object) -> Propagator:
    from .radsam import RadSamPropagator

    return RadSamPropagator(model, **options)


def _sam2_3dmed(model: LoadedModel, **options: object) -> Propagator:
    from .sam2_3dmed import ThreeDMedPropagator

    return ThreeDMedPropagator(model, **options)


DEFAULT_METHOD = "sam2-3dmed"  # the best of the bundled models, see docs/results
_FOR_ALL = {"cache_bytes", "field_of_view", "appearance"}

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "sam2",
            "SAM 2 (memory along the slices)",
            "Shen, Li, Shi, Wang 2024, Interactive 3D Medical Image Segmentation with SAM 2",
            _sam2,
        ),
        Method(
            "radsam",
            "RadSAM (slice by slice)",
            "Khlaut et al. 2025, Segmenting 3D radiological images with a 2D promptable model",
            _radsam,
            default_model="bundled-radsam",
            options=frozenset({"stopping"}),
            needs_memory=False,
        ),
        Method(
            "sam2-3dmed",
            "SAM2-3dMed (memory and boundaries)",
            "Yang, Xu, Tian 2025, Empowering SAM2 for 3D Medical Image Segmentation",
            _sam2_3dmed,
            default_model="bundled-3dmed",
            options=frozenset({"boundary_refinement", "boundary_maps"}),
            needs_boundaries=True,
        ),
    )
}


def find_method(name: str) -> Method:
    """A method by name.

    Raises:
        UserError: if there is none.
    """
    if name not in METHODS:
        raise UserError(f"Unknown method '{name}'; use one of {', '.join(METHODS)}.")
    return METHODS[name]


def models_for(method: str) -> list[ModelInfo]:
    """The registered models that a method can use, the method's own first.

    RadSAM needs no memory and takes every SAM 2.1 network; SAM 2 takes those with memory;
    SAM2-3dMed those with a boundary branch beside it. A bundled model whose file is missing is left
    out. A checkpoint of the user's own is judged by :meth:`Method.suits` in the same way.

    Raises:
        UserError: for an unknown method.
    """
    from ..models.registry import list_models

    found = find_method(method)
    there = [info for info in list_models() if info.url or info.path.is_file()]
    suited = [info for info in there if found.suits(info.architecture)]
    return sorted(suited, key=lambda info: info.name != found.default_model)


def create_propagator(name: str, model: LoadedModel, **options: object) -> Propagator:
    """A propagator for a loaded model.

    Args:
        name: a name in ``METHODS``.
        options: as the method's class takes them; ``cache_bytes``, ``field_of_view`` and
            ``appearance`` for all.

    Raises:
        UserError: for an unknown method, or an option that it does not have.
    """
    method = find_method(name)
    foreign = options.keys() - method.options - _FOR_ALL
    if foreign:
        owners = [m.name for m in METHODS.values() if foreign <= m.options]
        advice = f"use the method {' or '.join(owners)}" if owners else "leave it out"
        raise UserError(
            f"The method {name} has no option for {' and '.join(sorted(foreign))}; {advice}."
        )
    return method.create(model, **options)
