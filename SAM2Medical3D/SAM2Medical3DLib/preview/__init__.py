"""A picture of a segmentation: a montage of slices with contours and prompts."""

from .montage import choose_slices, save_preview

__all__ = ["choose_slices", "save_preview"]
