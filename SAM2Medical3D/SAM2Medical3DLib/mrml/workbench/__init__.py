"""What a user does with a volume and a segmentation: :class:`Workbench` and its parts."""

from .slice_states import SliceStates
from .workbench import Workbench

__all__ = ["SliceStates", "Workbench"]
