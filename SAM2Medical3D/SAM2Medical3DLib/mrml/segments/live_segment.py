"""One segment that shows the slices of a stack as they come."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import slicer

from ...errors import UserError
from ...geometry import Plane, StackGeometry
from ..volumes import grid_from_node
from .known_slices import FoundOverlaps, KnownSlices, PackedSlice
from .labelmap_writes import ImageWrite, put_in_place, write_of_neighbours
from .masking import Masking
from .segment_image import Frame, SegmentImage
from .segment_rules import binary_labelmap, refusal, segmentation_of
from .taken_voxels import Exchange, Neighbours, TakenVoxels, occupied


class LiveSegment:
    """One segment that shows slices as they come, and notices what others change in it.

    What a caller can expect:

    - Showing a slice changes that slice of the segment and nothing else of it. Other segments
      change only as ``masking`` says, hidden and locked ones never.
    - What other segments lose where they are overwritten they get back with the first write after
      which it is no longer covered, also when somebody else uncovered it; :class:`TakenVoxels` says
      what becomes of it when those segments were changed meanwhile.
      Masking that is changed takes nothing back by itself.
    - Undo is to show the earlier masks again with the masking they were shown with: every voxel of
      every segment is then as before. Where the segment overlapped others before the first write,
      or somebody let it overlap since, it does so again when that very mask is shown, whatever the
      masking.
    - No observers are used; nothing has to be closed.

    The volume must stay where it is relative to the segmentation. Slice indices are those of
    ``geometry``: the volume's stack along ``plane`` when this was made.

    Args:
        node: the segmentation; it and the volume may each be under linear transforms.
        volume_node: the volume on whose voxels the slices are.
        segment_id: the segment's id.
        plane: the plane of the slices.
        masking: what happens where a mask meets other segments.

    Attributes:
        masking: may be set at any time; counts for later writes.

    Raises:
        UserError: no such segment, one stored as something else than a binary labelmap, no image,
            or a non-linear transform. A hidden or locked segment is refused only by :meth:`show`.
    """

    def __init__(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segment_id: str,
        plane: Plane,
        masking: Masking = Masking.OVERLAP,
    ) -> None:
        self.masking = Masking(masking)
        self._node, self._volume_node, self._segment_id = node, volume_node, segment_id
        segmentation_of(node)
        self._frame = Frame(
            grid_from_node(volume_node, node),
            # Planes are anatomical in the world, also when the segmentation is turned in it.
            StackGeometry(grid_from_node(volume_node), Plane(plane)),
        )
        self._check_present()
        self._known = KnownSlices()
        self._seen: tuple[int, int] | None = None
        self._overlaps = FoundOverlaps()
        self._taken = TakenVoxels()
        # Segments whose surfaces are out of date.
        self._stale: set[str] = set()
        self.edited()

    @property
    def geometry(self) -> StackGeometry:
        """The slices that are shown, with the volume's grid in world RAS."""
        return self._frame.geometry

    def refusal(self) -> str | None:
        """A sentence why the segment cannot be written to now, or None if it can."""
        try:
            self._check_present()
        except UserError as error:
            return str(error)
        return refusal(self._node, self._segment_id)

    def show(self, slices: Mapping[int, np.ndarray]) -> None:
        """Make slices of the segment these masks, as far as masking lets them.

        Surfaces are left as they are; see :meth:`finish`. Observers of the segmentation hear of it
        once, when all is in place, and not at all if no voxel changed. What somebody else changed
        on these slices is replaced: ask :meth:`edited` first. What waits to be given back to other
        segments is given back, on whatever slice.

        Args:
            slices: {slice index: (H, W) bool}; may be empty.

        Raises:
            UserError: see :meth:`refusal`; a slice that is not in the stack, a mask of another
                size. Nothing is changed then.
        """
        sentence = self.refusal()
        if sentence is not None:
            raise UserError(sentence)
        masks = self._checked(slices)
        image = self._image()
        before = {index: image.slice(index) for index in {*masks, *self._taken.waiting}}
        for index in masks:
            self._look_for_overlap(index, before[index], image.neighbours)
        # Where the mask may stay together with others.
        free = {index: self._overlaps.of(index, mask) for index, mask in masks.items()}
        after = before | {
            index: self._allowed(index, mask, free[index], image.neighbours)
            for index, mask in masks.items()
        }
        changed = {
            index: (before[index], after[index])
            for index in masks
            if not np.array_equal(before[index], after[index])
        }
        neighbours = image.neighbours
        if changed and image.is_shared:
            neighbours = image.neighbours_without()
        covers = {i: cover & ~free[i] if i in free else cover for i, cover in after.items()}
        exchanges = self._exchanges(covers, masks, neighbours)
        writes = [image.write(changed)] if changed else []
        for group in neighbours:
            parts = [
                w for exchange in exchanges for w in exchange.writes if w.labels is group.labels
            ]
            if parts or group.leaving:
                writes.append(write_of_neighbours(group, parts))
        shown = {index: PackedSlice.of(after[index]) for index in masks}
        with self._putting(writes):
            for exchange in exchanges:
                self._taken.commit(exchange)
                self._stale.update(write.segment_id for write in exchange.writes)
            if changed:
                self._stale.add(self._segment_id)
            for index, mask in shown.items():
                self._known.write(index, mask)
        if writes:
            self._announce()

    def finish(self) -> None:
        """Bring everything else up to date after a number of writes.

        Surfaces of the segments that changed are made anew, the segment's image is cut to its
        content, and the volume's grid becomes the segmentation's reference geometry. Does nothing
        if nothing was written since the last time, or if the segment or the volume is gone.
        """
        if not self._stale or not self._is_present():
            return
        segmentation = self._node.GetSegmentation()
        cut = self._image().cut()
        ids = [id_ for id_ in segmentation.GetSegmentIDs() if id_ in self._stale]
        with self._putting([] if cut is None else [cut]):
            self._node.SetReferenceImageGeometryParameterFromVolumeNode(self._volume_node)
            # An empty list would stand for all segments.
            if ids:
                logic = slicer.vtkSlicerSegmentationsModuleLogic
                logic.ReconvertAllRepresentations(self._node, ids)
            self._stale.clear()
        self._announce()

    def edited(self) -> dict[int, np.ndarray]:
        """The slices that somebody else changed, which count as known from now on.

        All that differs from what was last shown, or seen by this function, is somebody else's: a
        brush, Slicer's undo, another segment that overwrites this one.

        Returns:
            {slice index: (H, W) bool as it is now}, ascending; nothing if the segment or the volume
            is gone.
        """
        if not self._is_present():
            return {}
        stamp = self._stamp()
        if stamp == self._seen:
            return {}
        image = self._image()
        changed = dict(self._known.changed(image.labels, image.value))
        for index, mask in changed.items():
            self._known.see(index, mask)
            self._taken.look_again(index)
        self._seen = stamp
        return {i: mask.array(self.geometry.shape[1:]) for i, mask in changed.items()}

    def read(self) -> np.ndarray:
        """The segment as it is now, (slice, row, column) bool.

        Raises:
            UserError: the segment or the volume is gone.
        """
        self._check_present()
        image = self._image()
        mask = np.zeros(self.geometry.shape, bool)
        for index in image.labels.slices:
            mask[index] = image.slice(index)
        return mask

    def _check_present(self) -> None:
        for node, what in ((self._node, "segmentation"), (self._volume_node, "volume")):
            if node.GetScene() is None:
                raise UserError(f"The {what} {node.GetName()} was removed; select another one.")
        if segmentation_of(self._node).GetSegment(self._segment_id) is None:
            raise UserError(f"The segment is not in {self._node.GetName()}; select another one.")
        grid = self._frame.grid
        now = grid_from_node(self._volume_node, self._node)
        if not now.matches(grid, tolerance_mm=0.01 * min(grid.spacing)):
            raise UserError(
                f"{self._volume_node.GetName()} was moved against {self._node.GetName()}, or its "
                "image was replaced; start again on the volume as it is now."
            )

    def _is_present(self) -> bool:
        try:
            self._check_present()
        except UserError:
            return False
        return True

    def _stamp(self) -> tuple[int, int]:
        """Another one whenever somebody wrote to the segment's image or gave it another image."""
        segment = self._node.GetSegmentation().GetSegment(self._segment_id)
        labelmap = segment.GetRepresentation(binary_labelmap())
        # VTK gives no modification time twice, so it stands for the image as well.
        return labelmap.GetMTime(), segment.GetLabelValue()

    def _image(self) -> SegmentImage:
        return SegmentImage.of(self._node.GetSegmentation(), self._segment_id, self._frame)

    def _checked(self, slices: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        n_slices, *size = self.geometry.shape
        masks = {}
        for index, mask in slices.items():
            mask = np.asarray(mask)
            if not 0 <= index < n_slices:
                raise UserError(f"There is no slice {index}; the volume has 0 to {n_slices - 1}.")
            if mask.shape != tuple(size):
                raise UserError(
                    f"The mask of slice {index} has {mask.shape} pixels; the slice has "
                    f"{tuple(size)}."
                )
            masks[int(index)] = mask.astype(bool, copy=False)
        return masks

    def _look_for_overlap(
        self, index: int, before: np.ndarray, neighbours: Sequence[Neighbours]
    ) -> None:
        """Remember where a slice that somebody else left overlaps others."""
        now = PackedSlice.of(before)
        if not self._known.is_written(index, now):
            overlap = occupied(neighbours, index, before, touching=True)
            self._overlaps.add(index, now, PackedSlice.of(overlap))

    def _allowed(
        self, index: int, mask: np.ndarray, free: np.ndarray, neighbours: Sequence[Neighbours]
    ) -> np.ndarray:
        if self.masking is not Masking.PROTECT:
            return mask
        return mask & (~occupied(neighbours, index, mask) | free)

    def _exchanges(
        self,
        covers: Mapping[int, np.ndarray],
        shown: Collection[int],
        neighbours: Sequence[Neighbours],
    ) -> list[Exchange]:
        overwrites = self.masking is Masking.OVERWRITE
        wanted = [i for i in covers if self._taken.has(i) or (overwrites and i in shown)]
        if not wanted:
            return []
        others = {id_ for group in neighbours for id_ in group.values}
        editable = {id_ for id_ in others if refusal(self._node, id_) is None}
        return [
            self._taken.plan(i, covers[i], neighbours, editable, overwrites and i in shown)
            for i in wanted
        ]

    @contextmanager
    def _putting(self, writes: Sequence[ImageWrite]) -> Iterator[None]:
        """Put writes in place; observers of the node hear of it after the body."""
        segmentation, logic = self._node.GetSegmentation(), slicer.vtkSlicerSegmentationsModuleLogic
        was_known = self._stamp() == self._seen
        was_modifying = self._node.StartModify()
        try:
            put_in_place(segmentation, writes)
            if was_known:
                self._seen = self._stamp()
            segment = segmentation.GetSegment(self._segment_id)
            if writes and logic.GetSegmentStatus(segment) == logic.NotStarted:
                logic.SetSegmentStatus(segment, logic.InProgress)
            yield
        finally:
            self._node.EndModify(was_modifying)

    def _announce(self) -> None:
        segmentation = self._node.GetSegmentation()
        for event in (
            segmentation.SourceRepresentationModified,
            segmentation.RepresentationModified,
        ):
            segmentation.InvokeEvent(event, self._segment_id)
