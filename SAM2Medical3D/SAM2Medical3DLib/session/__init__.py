"""One editing session: prompts, locked slices, live masks, propagation of what changed, undo."""

from .editing import EditingSession
from .object_state import FixedSlice, ObjectState
from .run import Run
from .slice_mask import SliceMask, StoredSlice

__all__ = ["EditingSession", "FixedSlice", "ObjectState", "Run", "SliceMask", "StoredSlice"]
