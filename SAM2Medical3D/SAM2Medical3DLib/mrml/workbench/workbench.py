"""A volume and a segmentation being worked on: clicks to live masks, propagation, review, undo.

The one object that a panel, a script or a test needs. It follows the markups and the voxels of the
segments by itself, and lets a worker's thread do what takes long; :meth:`Workbench.tick`, called
from an event loop some 25 times a second (or :meth:`Workbench.wait` in a script), is where
everything in MRML happens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
import slicer

from ...errors import UserError
from ...geometry import Plane, StackGeometry
from ...propagation import ObjectResult, Propagator, Span
from ...propagation.base import EVERYWHERE
from ...session import EditingSession
from ...session.worker import Cancelled, Worker
from ..nodes import nodes_of_class
from ..observers import Observers
from ..prompts.markups import is_placed
from ..prompts.placing import placing_node, start_placing, stop_placing
from ..segments.masking import Masking
from ..segments.segment_rules import refusal, segmentation_of
from ..segments.segmentations import read_segment
from ..slice_views import (
    central_slice,
    oblique_view_of_point,
    plane_of_box,
    plane_of_point,
    show_slice,
    view_plane,
    view_slice,
)
from .saved_sessions import SavedSessions
from .segment_run import Progress, SegmentRun
from .segment_work import OBJECT, Given, SegmentWork
from .slice_states import SliceStates
from .stacks import ObliqueView, Stacks

_SETTLED = 0.3  # seconds without a stroke after which what was drawn is taken
_PATIENCE = 3.0  # seconds to wait for the slice under way when the workbench is closed
_DOUBTFUL = 0.7


class Workbench:
    """What a user does with one volume and one segmentation.

    Args:
        volume_node, segmentation_node: the nodes.
        propagator: the method; see :meth:`set_propagator`.
        worker: does what takes long; closed by whoever made it.
        masking: what writing does to other segments.
        window: how intensities become greys, see :meth:`~...volume.IntensityMapping.named`.
        changed: called when there is something new to show in a panel or to :meth:`tick` for.

    Raises:
        UserError: a volume or a segmentation that cannot be worked on.

    Attributes:
        message: the last sentence for the user, empty if there is none.
        is_problem: whether it says that something did not work.
        oblique_view: the slice view in which nothing could be done because it is oblique.
    """

    def __init__(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        propagator: Propagator,
        worker: Worker,
        *,
        masking: Masking = Masking.OVERLAP,
        window: str = "auto",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.volume_node, self.segmentation_node = volume_node, segmentation_node
        self._scene = segmentation_node.GetScene()
        self._propagator, self._worker = propagator, worker
        self._masking, self._changed = masking, changed
        self._works: dict[str, SegmentWork] = {}
        self._selected: str | None = None
        self._run: SegmentRun | None = None
        self._wanted: tuple[str, Span] | None = None
        self._first_planes: dict[str, Plane] = {}
        self._moving = False
        self._misplaced: dict[SegmentWork, UserError] = {}
        self.message, self.is_problem = "", False
        self.oblique_view: slicer.vtkMRMLSliceNode | None = None
        self.is_open = True
        segmentation_of(segmentation_node)
        self._stacks = Stacks(volume_node, window)
        self._saved = SavedSessions(volume_node, segmentation_node)
        self._observers, self._node_observers = Observers(), Observers()
        self._observe()
        self._restore()

    def close(self) -> None:
        """End everything under way, keep what is there, and leave no observer behind."""
        if not self.is_open:
            return
        goes_on = not self._scene.IsClosing() and self._has_nodes()
        self.cancel(keep=goes_on)
        if goes_on:
            self._settle()
        self.is_open = False
        self._observers.clear()
        self._node_observers.clear()
        if not self._scene.IsClosing():
            self.stop_tool()
            for work in self._works.values():
                work.prompts.set_shown(False)

    def _settle(self) -> None:
        """Let a cancelled propagation end, so that segment, session and scene say the same."""
        until = time.monotonic() + _PATIENCE
        while (self._run is not None or self.is_busy) and time.monotonic() < until:
            self.tick()
            time.sleep(0.002)

    def _has_nodes(self) -> bool:
        return None not in (self.volume_node.GetScene(), self.segmentation_node.GetScene())

    # What is there

    @property
    def selected(self) -> str | None:
        """Id of the segment that tools and commands act on."""
        return self._selected

    @property
    def plane(self) -> Plane | None:
        """Along which axis the selected segment is worked on; None before its first prompt."""
        work = self._work()
        return None if work is None else work.plane

    @property
    def is_running(self) -> bool:
        """Whether a propagation is under way or about to be."""
        return self._run is not None or self._wanted is not None

    @property
    def is_busy(self) -> bool:
        """Whether anything is still to come."""
        return (
            self._worker.busy
            or self._wanted is not None
            or any(work.is_behind or work.drawn() for work in self._works.values())
        )

    @property
    def can_undo(self) -> bool:
        """Whether the selected segment has a step to take back."""
        session = self._session()
        return session is not None and not self.is_running and session.can_undo()

    @property
    def can_redo(self) -> bool:
        """Whether the selected segment has a step to take again."""
        session = self._session()
        return session is not None and not self.is_running and session.can_redo()

    @property
    def progress(self) -> Progress | None:
        """Of the propagation under way, or None."""
        return None if self._run is None else self._run.progress

    def slice_states(self) -> SliceStates | None:
        """All slices of the selected segment; None before its first prompt."""
        work = self._work()
        return None if work is None or work.session is None else SliceStates.of(work)

    def geometry(self) -> StackGeometry | None:
        """The slices of the selected segment; None before its first prompt."""
        session = self._session()
        return None if session is None else session.stack.geometry

    def stack_geometry(self, plane: Plane = Plane.AXIAL) -> StackGeometry:
        """The slices of the volume along an axis."""
        return self._stacks.stack(plane).geometry

    def slice_nodes(self) -> list[slicer.vtkMRMLSliceNode]:
        """All slice views."""
        return nodes_of_class(self._scene, "vtkMRMLSliceNode")

    # Choices

    def set_propagator(self, propagator: Propagator) -> None:
        """Another method or model, from the next click or propagation on."""
        self._propagator = propagator
        for work in self._works.values():
            if work.session is not None:
                work.session.propagator = propagator

    def set_masking(self, masking: Masking) -> None:
        """What later writes do to other segments."""
        self._masking = masking
        for work in self._works.values():
            work.set_masking(masking)

    def select(self, segment_id: str | None) -> None:
        """Choose the segment that tools and commands act on; its prompts are shown."""
        if segment_id == self._selected:
            return
        self.stop_tool()
        self._selected = segment_id
        if segment_id is not None:
            self._work(create=True)
        for id_, work in self._works.items():
            work.prompts.set_shown(id_ == segment_id)
        self._say("")

    def add_segment(self) -> str:
        """A new, empty segment, selected. Returns its id."""
        self._check_free()
        self.select(self.segmentation_node.GetSegmentation().AddEmptySegment())
        return self._selected

    # Tools

    def start_tool(self, kind: str) -> None:
        """Place ``positive`` or ``negative`` points, or a ``box``, with the mouse.

        A segmentation without a selected segment gets a new one.

        Raises:
            UserError: a propagation is under way, or the segment is hidden or locked.
        """
        self._check_free()
        if self._selected is None:
            self.add_segment()
        self._check_writable()
        work = self._work(create=True)
        is_box = kind == "box"
        node = (
            work.prompts.new_box(self._stacks.grid)
            if is_box
            else work.prompts.points(kind == "positive")
        )
        self._observe_prompts(work)
        start_placing(self._scene, node, persistent=not is_box)

    def stop_tool(self) -> None:
        """Leave the tool."""
        node = placing_node(self._scene)
        if any(node is not None and node in work.prompts.nodes() for work in self._works.values()):
            stop_placing(self._scene)

    def tool(self) -> str | None:
        """``positive``, ``negative`` or ``box`` while the selected segment's prompts are placed."""
        node, work = placing_node(self._scene), self._work()
        return None if node is None or work is None else work.prompts.kind(node)

    def lock_slice(self, slice_node: slicer.vtkMRMLSliceNode) -> None:
        """Take what is painted on the slice that a view shows as the prompt there.

        Raises:
            UserError: nothing selected or shown, an oblique view, an empty slice of a segment that
                has no other prompt.
        """
        self._check_free()
        self._check_writable()
        work = self._work()
        self._begin(work, self._stacks.plane_in(slice_node))
        work.notice_edits()
        index = self._stacks.index_in(slice_node, work.plane)
        mask = work.painted(index)
        if not mask.any() and not work.state.fixed:
            raise UserError("Nothing is painted on this slice; paint the object on it first.")
        if index in work.state.fixed and work.state.fixed[index].locked and not work.drawn():
            self._say("What is painted on this slice is a prompt; it comes back unchanged.")
            return
        self._submit(work, lambda: work.session.lock_slices(OBJECT, {index: mask}))

    def clear_slice(self, slice_node: slicer.vtkMRMLSliceNode) -> None:
        """Take away prompts and lock of the slice that a view shows."""
        self._check_free()
        work = self._work()
        if work is None or work.session is None:
            return
        index = self._stacks.index_in(slice_node, work.plane)
        if index in work.state.fixed:
            self._submit(work, lambda: work.session.clear(OBJECT, index))

    def clear(self) -> None:
        """Empty the selected segment: prompts, locked slices and voxels; can be undone."""
        self._check_free()
        self._check_writable()
        work = self._work()
        if work is None:
            return
        if work.session is None:
            work.prompts.remove()
        else:
            self._submit(work, lambda: work.session.remove(OBJECT))

    # Propagation

    def propagate(self, span: Span = EVERYWHERE) -> None:
        """Compute what the prompts reach and is not up to date, in the worker's thread.

        Raises:
            UserError: nothing to start from, or a segment that may not be written to.
        """
        self._check_free()
        self._check_writable()
        self.stop_tool()
        work = self._work()
        if work.session is None and not self._place_first_prompt(work):
            self._begin_from_painting(work)
        self._wanted = (work.segment_id, span)
        self._changed()

    def cancel(self, keep: bool = True) -> None:
        """Stop the propagation under way; slices that have come are kept or discarded."""
        self._wanted = None
        if self._run is not None:
            self._run.cancel(keep)
        self._changed()

    def undo(self) -> None:
        """Take back the last step of the selected segment."""
        self._check_free()
        work = self._work()
        if work is not None and work.session is not None:
            self._submit(work, work.session.undo)

    def redo(self) -> None:
        """Take the last undone step of the selected segment again."""
        self._check_free()
        work = self._work()
        if work is not None and work.session is not None:
            self._submit(work, work.session.redo)

    # Review

    def go_to_central_slice(self, slice_node: slicer.vtkMRMLSliceNode) -> int:
        """Show the middle of the selected segment in a view, of the volume if it is empty."""
        stack = self._stacks.stack(self._stacks.plane_in(slice_node))
        work = self._work()
        mask = None
        if work is not None and work.session is not None and work.plane is stack.plane:
            mask = work.session.mask(OBJECT)
        index = central_slice(stack.geometry, mask)
        show_slice(slice_node, stack.geometry, index)
        return index

    def go_to_slice(self, index: int) -> None:
        """Show a slice of the selected segment in every view along its axis."""
        session = self._session()
        if session is None:
            return
        geometry = session.stack.geometry
        for slice_node in self.slice_nodes():
            if view_plane(slice_node, geometry.grid) is session.stack.plane:
                show_slice(slice_node, geometry, index)

    def go_to_next_doubtful(self, slice_node: slicer.vtkMRMLSliceNode | None = None) -> int | None:
        """Show the next slice to look at; None if there is none."""
        session = self._session()
        if session is None:
            return None
        here = None if slice_node is None else view_slice(slice_node, session.stack.geometry)
        index = session.next_doubtful(OBJECT, here or 0, _DOUBTFUL)
        if index is None:
            self._say("No slice is doubtful.")
        else:
            self.go_to_slice(index)
        return index

    # The event loop

    def tick(self, seconds: float = 0.02) -> bool:
        """Do what there is to do, for about so long. True while there is more to come."""
        if not self.is_open:
            return False
        self._worker.poll(seconds)
        if not self.is_open:  # what was delivered may have closed the workbench
            return False
        self._put_back_misplaced()
        for work in list(self._works.values()):
            work.notice_edits()
        if not self._worker.busy:
            self._next_task()
        for work in self._works.values():
            self._show(work, seconds)
        if not self._worker.busy:
            self._save()
        return self.is_busy

    def wait(self, timeout: float = 600.0) -> None:
        """Tick until everything is done, as a script without an event loop does.

        Raises:
            TimeoutError: it is not done by then.
        """
        until = time.monotonic() + timeout
        while self.tick():
            if time.monotonic() > until:
                raise TimeoutError(f"the work did not end within {timeout:g} s")
            time.sleep(0.005)

    def _next_task(self) -> None:
        """Hand the worker what comes next: prompts, then drawings, then a propagation."""
        if self._moving:
            return
        settled = 0.0 if self._wanted is not None else _SETTLED
        for work in self._works.values():
            if self._answer_prompts(work):
                return
            drawn = work.drawn(settled) if work.session is not None else {}
            if drawn:
                self._take_drawn(work, drawn)
                return
        if self._wanted is not None:
            (segment_id, span), self._wanted = self._wanted, None
            if segment_id in self._works:
                self._start_run(self._works[segment_id], span)

    def _answer_prompts(self, work: SegmentWork) -> bool:
        """Have the live mask predicted of one slice whose markups have changed."""
        try:
            if work.is_untouched and not self._place_first_prompt(work):
                return False
            differing = work.unanswered()
        except UserError as error:
            self._misplaced[work] = error
            self._put_back_misplaced()
            return False
        for index, given in differing.items():
            refused = work.refusal()
            if refused is not None:
                work.refuse(index, given)
                self._say(refused, problem=True)
                continue
            points, box = given
            self._submit(
                work,
                lambda at=index, p=points, b=box: work.session.prompt(OBJECT, at, p, b),
                failed=lambda error, at=index, given=given: self._refused(work, at, given, error),
                prompts_follow=False,
            )
            return True
        return False

    def _place_first_prompt(self, work: SegmentWork) -> bool:
        """Start a segment's session along the axis of the view that its markups were placed in."""
        if work.prompts.is_empty:
            return work.session is not None
        plane = self._first_planes.get(work.segment_id)
        if plane is None:
            plane = self._plane_of_prompts(work)
        if work.plane is not plane:
            work.end()
            self._begin(work, plane)
        return True

    def _begin_from_painting(self, work: SegmentWork) -> None:
        """Start a segment's session along the axis that its voxels were painted in."""
        voxels = read_segment(self.segmentation_node, work.segment_id, self.volume_node)
        if not voxels.any():
            raise UserError("There is no prompt; click on the object, or paint it on a slice.")
        usual = self._stacks.plane_in(None)
        filled = {
            plane: np.count_nonzero(self.stack_geometry(plane).to_stack(voxels).any((1, 2)))
            for plane in Plane
        }
        fewest = min(filled, key=filled.get)
        self._begin(work, fewest if 2 * filled[fewest] < filled[usual] else usual)

    def _take_drawn(self, work: SegmentWork, drawn: dict[int, np.ndarray]) -> None:
        def lock() -> None:
            work.session.lock_slices(OBJECT, drawn)

        def done() -> None:
            work.forget_drawn(drawn)
            slices = "one slice" if len(drawn) == 1 else f"{len(drawn)} slices"
            self._say(f"What you drew on {slices} is locked; Propagate starts from it.")

        self._submit(work, lock, then=done)

    def _start_run(self, work: SegmentWork, span: Span) -> None:
        self._say("")
        self._run = SegmentRun(work, span, self._worker, self._changed, self._run_ended)
        self._changed()

    def _run_ended(self, outcome: str | BaseException) -> None:
        self._run = None
        if isinstance(outcome, BaseException):
            self._fail(outcome)
        else:
            self._say(outcome)

    def _submit(
        self,
        work: SegmentWork,
        act: Callable[[], object],
        failed: Callable[[BaseException], None] | None = None,
        then: Callable[[], None] | None = None,
        prompts_follow: bool = True,
    ) -> None:
        """Have one step of a session taken in the worker's thread."""

        def done(found: object) -> None:
            work.stepped()
            if prompts_follow and work.session is not None:
                work.write_prompts()
                self._observe_prompts(work)
            self._say_live(found)
            if then is not None:
                then()

        self._worker.submit(lambda _: act(), done=done, failed=failed or self._fail)
        self._changed()

    def _say_live(self, found: object) -> None:
        empty = isinstance(found, ObjectResult) and not found.mask.any()
        self._say("Nothing was found there; add a point or draw a box." if empty else "", empty)

    def _refused(self, work: SegmentWork, index: int, given: Given, error: BaseException) -> None:
        work.refuse(index, given)
        self._fail(error)

    def _show(self, work: SegmentWork, seconds: float) -> None:
        try:
            work.show(seconds, finish=not self.is_running)
        except UserError as error:
            work.end()
            self._fail(error)
        if not work.is_behind:
            return
        self._changed()

    # Planes

    def _begin(self, work: SegmentWork, plane: Plane) -> None:
        if work.session is None:
            work.begin(self._stacks.stack(plane), self._propagator, self._masking)

    def _prompt_placed(self, work: SegmentWork, node: slicer.vtkMRMLMarkupsNode) -> None:
        """Note at once which view a prompt was placed in: it may be scrolled before the next."""
        try:
            if node.IsA("vtkMRMLMarkupsROINode"):
                if is_placed(node):
                    self._note_plane(work)
                    self._box_placed(work, node)
            else:
                self._check_view(node)
                self._note_plane(work)
        except UserError as error:
            # Not at once: the view that places it still has something to do with it.
            self._misplaced[work] = error
        self._changed()

    def _put_back_misplaced(self) -> None:
        """Take away what was placed where it cannot be used, and say why."""
        while self._misplaced:
            work, error = self._misplaced.popitem()
            self.stop_tool()
            work.restore_prompts(self._stacks.stack(self._stacks.plane_in(None)).geometry)
            self._fail(error)

    def _note_plane(self, work: SegmentWork) -> None:
        if work.is_untouched:
            self._first_planes[work.segment_id] = self._plane_of_prompts(work)

    def _check_view(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        """Refuse a point that was just placed in an oblique view."""
        last = node.GetNumberOfDefinedControlPoints() - 1
        view = oblique_view_of_point(node, last, self._stacks.grid, self.slice_nodes())
        if view is not None:
            raise ObliqueView(view)

    def _box_placed(self, work: SegmentWork, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        plane = self._first_planes.get(work.segment_id) if work.is_untouched else work.plane
        if plane is None:
            return
        if plane_of_box(roi, self._stacks.grid) not in (plane, None):
            raise UserError(
                f"This segment is worked on along the {plane.value} axis; draw its boxes in the "
                f"{plane.value} view."
            )
        work.prompts.flatten_box(roi, self._stacks.stack(plane).geometry)

    def _plane_of_prompts(self, work: SegmentWork) -> Plane | None:
        """The axis of the view that the last placed markup was placed in.

        Raises:
            ObliqueView: there is an oblique view, and it was placed in none of the others.
        """
        plane = self._plane_seen(work)
        if plane is None:
            views = self.slice_nodes()
            oblique = [view for view in views if view_plane(view, self._stacks.grid) is None]
            if oblique:
                raise ObliqueView(oblique[0])
            plane = self._stacks.plane_in(None)  # placed by a script, in no view
        return plane

    def _plane_seen(self, work: SegmentWork) -> Plane | None:
        for node in reversed(work.prompts.nodes()):
            if node.IsA("vtkMRMLMarkupsROINode"):
                if is_placed(node):
                    return plane_of_box(node, self._stacks.grid)
                continue
            for number in reversed(range(node.GetNumberOfControlPoints())):
                if node.GetNthControlPointPositionStatus(number) == node.PositionDefined:
                    return plane_of_point(node, number, self._stacks.grid, self.slice_nodes())
        return None

    # Segments

    def _work(self, create: bool = False) -> SegmentWork | None:
        id_ = self._selected
        if create and id_ not in self._works:
            self._works[id_] = SegmentWork(self.segmentation_node, self.volume_node, id_)
            self._observe_prompts(self._works[id_])
        return self._works.get(id_)

    def _session(self) -> EditingSession | None:
        work = self._work()
        return None if work is None else work.session

    def _check_free(self) -> None:
        if self.is_running:
            raise UserError("A propagation is under way; wait for its end or cancel it first.")

    def _check_writable(self) -> None:
        ids = self.segmentation_node.GetSegmentation().GetSegmentIDs()
        if self._selected not in ids:
            raise UserError("No segment is selected; add one or select it in the list first.")
        sentence = refusal(self.segmentation_node, self._selected)
        if sentence is not None:
            raise UserError(sentence)

    # Scene

    def _observe(self) -> None:
        scene, node = self._scene, self.segmentation_node
        observe = self._observers.add
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)
        observe(scene, scene.StartCloseEvent, self.close)
        segmentation = node.GetSegmentation()
        observe(
            segmentation,
            (
                segmentation.SourceRepresentationModified,
                segmentation.RepresentationModified,
                segmentation.SegmentModified,
            ),
            self._changed,
        )
        observe(segmentation, segmentation.SegmentRemoved, self._on_segment_removed)
        volume = self.volume_node
        moved = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        observe(volume, volume.ImageDataModifiedEvent, self._on_volume_changed)
        observe(volume, moved, self._on_volume_changed)
        observe(node, moved, self._on_volume_changed)

    def _observe_prompts(self, work: SegmentWork) -> None:
        for node in work.prompts.nodes():
            self._node_observers.drop(node)
            observe = self._node_observers.add
            observe(
                node,
                (node.PointRemovedEvent, node.PointModifiedEvent),
                self._changed,
            )
            observe(node, node.PointStartInteractionEvent, lambda: self._set_moving(True))
            observe(node, node.PointEndInteractionEvent, lambda: self._set_moving(False))
            observe(
                node,
                node.PointPositionDefinedEvent,
                lambda placed=node: self._prompt_placed(work, placed),
            )

    def _set_moving(self, moving: bool) -> None:
        self._moving = moving
        self._changed()

    def _on_node_removed(self) -> None:
        if not self._has_nodes():
            self.close()
            self._say("The volume or the segmentation was removed.")
        self._changed()

    def _on_segment_removed(self) -> None:
        ids = self.segmentation_node.GetSegmentation().GetSegmentIDs()
        for id_ in [id_ for id_ in self._works if id_ not in ids]:
            work = self._works.pop(id_)
            if self._run is not None and self._run.work is work:
                self.cancel(keep=False)
            for node in work.prompts.nodes():
                self._node_observers.drop(node)
            work.prompts.remove()
        if self._selected not in ids:
            self._selected = None
        self._changed()

    def _on_volume_changed(self) -> None:
        """Voxels or places have changed: show the model anew, keep what is known."""
        try:
            fits = self._stacks.refresh()
        except UserError as error:
            self.close()
            self._fail(error)
            return
        for work in self._works.values():
            if not fits:
                work.end()
            elif work.session is not None:
                work.set_stack(self._stacks.stack(work.plane))

    def _restore(self) -> None:
        ids = self.segmentation_node.GetSegmentation().GetSegmentIDs()
        for id_, saved in self._saved.read().items():
            if id_ not in ids:
                continue
            work = SegmentWork(self.segmentation_node, self.volume_node, id_)
            try:
                plane = Plane(saved["plane"])
                work.begin(self._stacks.stack(plane), self._propagator, self._masking, saved)
            except (UserError, KeyError, ValueError, TypeError) as error:
                work.end()
                logging.warning("The saved work on %s cannot be used: %s", id_, error)
            self._works[id_] = work
            self._observe_prompts(work)
            work.prompts.set_shown(False)

    def _save(self) -> None:
        self._saved.write(self._works)

    # Messages

    def _say(self, text: str, problem: bool = False) -> None:
        if not problem:
            self.oblique_view = None
        if (self.message, self.is_problem) != (text, problem):
            self.message, self.is_problem = text, problem
            self._changed()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, Cancelled):
            self._say("Cancelled.")
        elif isinstance(error, UserError):
            self.oblique_view = getattr(error, "slice_node", None)
            self._say(str(error), problem=True)
        else:
            logging.error("SAM2Medical3D failed", exc_info=error)
            self._say(f"It did not work: {error or type(error).__name__}", problem=True)
