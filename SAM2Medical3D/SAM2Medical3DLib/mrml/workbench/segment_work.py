"""One segment being worked on: what its markups say, what is known of it, and what it shows."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import slicer

from ...geometry import Plane, StackGeometry
from ...prompts import Box, Point
from ...propagation import Propagator
from ...session import EditingSession, ObjectState, SliceMask, StoredSlice
from ...volume import SliceStack
from ..prompts.prompt_nodes import PromptNodes
from ..segments.live_segment import LiveSegment
from ..segments.masking import Masking

OBJECT = 1  # each segment has a session of its own
_PAUSE = 0.25  # seconds between two looks at a run under way: every one draws all views
_SAME_PLACE = 0.02  # pixels; markups are written and read in millimetres

Given = tuple[tuple[Point, ...], Box | None]
_NOTHING: Given = ((), None)


class SegmentWork:
    """Prompts, session and voxels of one segment, and what each has to learn from the others.

    Nothing here waits or calculates for long: what the model has to do is said by
    :meth:`unanswered`, and what it found is shown by :meth:`show`, a few slices at a time.

    Attributes:
        segment_id: of the segment.
        prompts: its markups.
        session: what is known of it; None until it has a first prompt, whose view decides the
            plane.
    """

    def __init__(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segment_id: str,
    ) -> None:
        self._node, self._volume_node, self.segment_id = node, volume_node, segment_id
        self.prompts = PromptNodes(node, segment_id)
        self.session: EditingSession | None = None
        self._live: LiveSegment | None = None
        self._shown: dict[int, SliceMask] = {}
        self._coming: dict[int, StoredSlice] = {}
        self._drawn: dict[int, np.ndarray] = {}
        self._drawn_at = 0.0
        self._refused: dict[int, Given] = {}
        self._behind = False  # something may have to be shown
        self._edited = False  # by others, since the last write
        self._unfinished = False  # surfaces are older than the voxels
        self._shown_at = 0.0

    # Beginning

    def begin(
        self,
        stack: SliceStack,
        propagator: Propagator,
        masking: Masking,
        saved: Mapping[str, object] | None = None,
    ) -> None:
        """Start a session, from nothing or from what a scene had saved.

        What the segment holds is the user's: every slice of it is locked. With a saved session, so
        is every slice that differs from it.

        Raises:
            UserError: a saved session that does not fit the volume or is damaged.
        """
        live = LiveSegment(
            self._node, self._volume_node, self.segment_id, stack.geometry.plane, masking
        )
        present = {s: SliceMask.of(m) for s, m in enumerate(live.read()) if m.any()}
        if saved is None:
            session = EditingSession(stack, propagator)
            session.adopt(OBJECT, {s: mask.array() for s, mask in present.items()})
            self._drawn.clear()
        else:
            session = EditingSession.from_state(saved, stack, propagator)
            known = {s: f.mask for s, f in session.state(OBJECT).results.items()}
            for s in known.keys() | present.keys():
                is_now = present.get(s, _empty(stack))
                if is_now != known.get(s, _empty(stack)) and not _trimmed(
                    is_now, known.get(s), masking
                ):
                    self._drawn[s] = is_now.array()
            present = {**known, **{s: SliceMask.of(m) for s, m in self._drawn.items()}}
        self.session, self._live, self._shown = session, live, present
        self._behind = True

    def set_stack(self, stack: SliceStack) -> None:
        """The volume's voxels or its place have changed; the slices are as many as before."""
        if self.session is not None:
            self.session.stack = stack
            self.write_prompts()

    def end(self) -> None:
        """Forget the session; markups and voxels stay."""
        self.session = self._live = None
        self._shown, self._coming, self._drawn = {}, {}, {}
        self._refused.clear()

    @property
    def plane(self) -> Plane | None:
        """Along which axis the segment is worked on; None before its first prompt."""
        return None if self.session is None else self.session.stack.plane

    @property
    def is_untouched(self) -> bool:
        """Whether there is nothing that another plane could lose."""
        if self.session is None:
            return True
        state = self.session.state(OBJECT)
        return not state.fixed and not state.carried

    @property
    def state(self) -> ObjectState | None:
        """What is known of the segment."""
        return None if self.session is None else self.session.state(OBJECT)

    def refusal(self) -> str | None:
        """Why the segment must not be written to, or None."""
        return None if self._live is None else self._live.refusal()

    def set_masking(self, masking: Masking) -> None:
        """What later writes do to other segments."""
        if self._live is not None:
            self._live.masking = masking

    # Markups and session

    def unanswered(self) -> dict[int, Given]:
        """The slices whose markups say something else than the session knows, with what they say.

        Raises:
            UserError: a markup outside the volume.
        """
        given = self.prompts.read(self.session.stack.geometry)
        known = self._known_prompts()
        return {
            s: given.get(s, _NOTHING)
            for s in sorted(given.keys() | known.keys())
            if not _alike(given.get(s, _NOTHING), known.get(s, _NOTHING))
            and not _alike(given.get(s, _NOTHING), self._refused.get(s))
        }

    def refuse(self, index: int, given: Given) -> None:
        """Do not ask again for this until the markups say something else."""
        self._refused[index] = given

    def write_prompts(self) -> None:
        """Make the markups say what the session knows, after undo for example."""
        self.restore_prompts(self.session.stack.geometry)

    def restore_prompts(self, geometry: StackGeometry) -> None:
        """The same, where there may be no session yet; ``geometry`` is of any plane then."""
        self._refused.clear()
        if self.session is None:
            self.prompts.write(geometry, {})
        else:
            self.prompts.write(self.session.stack.geometry, self._known_prompts())

    def _known_prompts(self) -> dict[int, Given]:
        fixed = self.session.state(OBJECT).fixed
        return {s: (f.points, f.box) for s, f in fixed.items() if not f.locked}

    # Voxels and session

    def notice_edits(self) -> None:
        """Look for slices that the user changed by other means."""
        if self._live is None or self._live.refusal() is not None:
            return
        edits = self._live.edited()
        for index, mask in edits.items():
            seen = SliceMask.of(mask)
            self._shown[index] = seen
            self._drawn.pop(index, None)
            if seen != self._target(index):
                self._drawn[index] = mask
        if edits:
            self._drawn_at = time.monotonic()
            self._behind = self._edited = True

    def drawn(self, settled: float = 0.0) -> dict[int, np.ndarray]:
        """{slice: (H, W) mask} drawn by hand and not known to the session yet, once nothing more
        was drawn for ``settled`` seconds."""
        if time.monotonic() - self._drawn_at < settled:
            return {}
        return dict(self._drawn)

    def forget_drawn(self, taken: Mapping[int, np.ndarray]) -> None:
        """The session knows these now; what was drawn again since is still to come."""
        for index, mask in taken.items():
            if self._drawn.get(index) is mask:
                del self._drawn[index]
        self._behind = True

    def painted(self, index: int) -> np.ndarray:
        """(H, W) bool, the segment's slice as it is now."""
        return self._live.read()[index]

    def come(self, index: int, found: StoredSlice) -> None:
        """A slice of a run under way, to be shown."""
        self._coming[index] = found
        self._behind = True

    def stepped(self) -> None:
        """The session has changed; what came of a run is in it, or was not wanted."""
        self._coming.clear()
        self._behind = True

    @property
    def is_behind(self) -> bool:
        """Whether the segment may not show yet what is known of it."""
        return self._behind or self._unfinished

    def show(self, seconds: float, finish: bool = True) -> None:
        """Show slices that changed, for at most about so long; surfaces last, if ``finish``.

        Raises:
            UserError: the segment was hidden, locked or removed meanwhile.
        """
        if self._live is None or not self.is_behind:
            return
        if not finish and time.perf_counter() - self._shown_at < _PAUSE:
            return
        until = time.perf_counter() + seconds
        waiting = self._differing() if self._behind else []
        if not waiting and self._edited:
            self._live.show({})  # other segments get back what the user erased of this one
        self._edited = False
        while waiting and time.perf_counter() < until:
            few, waiting = waiting[:4], waiting[4:]
            self._live.show({s: self._target(s).array() for s in few})
            self._shown.update({s: self._target(s) for s in few})
            self._unfinished = True
            self._shown_at = time.perf_counter()
        self._behind = bool(waiting)
        if finish and not waiting and self._unfinished:
            self._live.finish()
            self._unfinished = False

    @property
    def coming(self) -> frozenset[int]:
        """The slices that a run under way has computed already."""
        return frozenset(self._coming)

    def results(self) -> dict[int, StoredSlice]:
        """What is known of each slice, what a run has so far included."""
        return {**self.session.state(OBJECT).results, **self._coming}

    def _target(self, index: int) -> SliceMask:
        found = self._coming.get(index) or self.session.state(OBJECT).result(index)
        return _empty(self.session.stack) if found is None else found.mask

    def _differing(self) -> list[int]:
        nothing = _empty(self.session.stack)
        slices = self._shown.keys() | self.results().keys()
        return sorted(
            s for s in slices - self._drawn.keys() if self._shown.get(s, nothing) != self._target(s)
        )


def _empty(stack: SliceStack) -> SliceMask:
    return SliceMask(tuple(stack.shape[1:]), (0, 0), (0, 0), b"")


def _trimmed(now: SliceMask, known: SliceMask | None, masking: Masking) -> bool:
    """Whether other segments alone may have made the difference."""
    if known is None or masking is Masking.OVERLAP:
        return False
    return not (now.array() & ~known.array()).any()


def _alike(one: Given, other: Given | None) -> bool:
    if other is None or len(one[0]) != len(other[0]) or (one[1] is None) != (other[1] is None):
        return False
    if any(a.positive != b.positive for a, b in zip(one[0], other[0], strict=True)):
        return False
    return bool(np.abs(_numbers(one) - _numbers(other)).max(initial=0) < _SAME_PLACE)


def _numbers(given: Given) -> np.ndarray:
    points, box = given
    numbers = [value for p in points for value in (p.row, p.col)]
    return np.array([*numbers, *(vars(box).values() if box is not None else ())])
