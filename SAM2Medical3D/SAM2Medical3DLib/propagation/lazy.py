"""A propagator whose model is loaded when it is first asked for something."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..prompts import Prompts
from ..volume import SliceStack
from .base import EVERYWHERE, Propagator, SliceResult, Span, Views


class LazyPropagator:
    """Stands for a propagator that is not there yet.

    Loading takes seconds (torch alone does), so it belongs into the thread that does the work.

    Args:
        load: makes the propagator; called once, at the first use, and again if it failed.
    """

    def __init__(self, load: Callable[[], Propagator]) -> None:
        self._load = load
        self._loaded: Propagator | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there."""
        return self._loaded is not None

    def predict_slice(
        self, stack: SliceStack, prompts: Prompts, index: int, *, views: Views | None = None
    ) -> SliceResult:
        """See :meth:`~.base.Propagator.predict_slice`."""
        return self._get().predict_slice(stack, prompts, index, views=views)

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
        views: Views | None = None,
    ) -> Iterator[SliceResult]:
        """See :meth:`~.base.Propagator.propagate`."""
        return self._get().propagate(stack, prompts, span, with_logits=with_logits, views=views)

    def _get(self) -> Propagator:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded
