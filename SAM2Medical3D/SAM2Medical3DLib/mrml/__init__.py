"""MRML nodes to the library's value types and back; works with Slicer and with slicer-core alone.

Modules here import ``slicer`` and VTK, never Qt. MRML classes are looked up when they are used, for
Slicer may still be loading modules while this package is imported.
"""

from .prompts.markups import point_to_world, prompts_from_markups
from .segments.masking import Masking
from .segments.segment_rules import is_locked, set_locked
from .segments.segmentations import read_segment, segmentation_from_masks, write_segments
from .volumes import grid_from_node, node_from_volume, volume_from_node

__all__ = [
    "Masking",
    "grid_from_node",
    "is_locked",
    "node_from_volume",
    "point_to_world",
    "prompts_from_markups",
    "read_segment",
    "segmentation_from_masks",
    "set_locked",
    "volume_from_node",
    "write_segments",
]
