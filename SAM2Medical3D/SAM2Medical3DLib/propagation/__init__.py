"""Prompts on slices in, an iterator of per-slice results out."""

from .base import Direction, ObjectResult, Propagator, SliceResult, Span, collect

__all__ = ["Direction", "ObjectResult", "Propagator", "SliceResult", "Span", "collect"]
