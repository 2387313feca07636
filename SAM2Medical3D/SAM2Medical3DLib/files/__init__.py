"""Image files to volumes and labelmaps, and results to files, by SimpleITK."""

from .atomic import check_destination, replacing
from .images import ImageWarning
from .labelmap import Segment, read_labelmap, read_segments
from .reading import read_volume
from .writing import write_segmentation

__all__ = [
    "ImageWarning",
    "Segment",
    "check_destination",
    "read_labelmap",
    "read_segments",
    "read_volume",
    "replacing",
    "write_segmentation",
]
