"""A scalar volume as an ordered stack of 8-bit slices."""

from .intensity import IntensityMapping
from .slices import SliceStack
from .volume import Volume

__all__ = ["IntensityMapping", "SliceStack", "Volume"]
