"""The slices of one volume node along its three axes, and which of them a view shows."""

from __future__ import annotations

import slicer

from ...errors import UserError
from ...geometry import Grid, Plane
from ...volume import IntensityMapping, SliceStack
from ..slice_views import view_plane, view_slice
from ..volumes import volume_from_node


class ObliqueView(UserError):
    """A slice view along none of the volume's axes; ``slice_node`` is the view's."""

    def __init__(self, slice_node: slicer.vtkMRMLSliceNode) -> None:
        super().__init__(
            f"The {slice_node.GetName()} view is oblique to the voxels of the volume; rotate it to "
            "the volume plane and try again."
        )
        self.slice_node = slice_node


class Stacks:
    """Stacks of one volume node, made when they are asked for, with one intensity mapping.

    Args:
        volume_node: the volume.
        window: how intensities become greys, see :meth:`~...volume.IntensityMapping.named`.

    Raises:
        UserError: a volume that cannot be worked on.
    """

    def __init__(self, volume_node: slicer.vtkMRMLScalarVolumeNode, window: str = "auto") -> None:
        self._node, self._window = volume_node, window
        self._volume = volume_from_node(volume_node)
        self._made: dict[Plane, SliceStack] = {}

    @property
    def grid(self) -> Grid:
        """The volume's voxels in the world."""
        return self._volume.grid

    def stack(self, plane: Plane) -> SliceStack:
        """The slices along one axis; the same object until :meth:`refresh`."""
        if plane not in self._made:
            # The display's window may change meanwhile; what the model is shown does not.
            mapping = next((stack.mapping for stack in self._made.values()), None)
            mapping = mapping or IntensityMapping.named(self._window, self._volume)
            self._made[plane] = SliceStack(self._volume, plane, mapping)
        return self._made[plane]

    def refresh(self) -> bool:
        """Voxels or place of the volume have changed. Whether slices are as many as before.

        Raises:
            UserError: it cannot be worked on any more.
        """
        before, self._volume = self._volume.grid.size, volume_from_node(self._node)
        self._made.clear()
        return before == self._volume.grid.size

    def plane_in(self, slice_node: slicer.vtkMRMLSliceNode | None) -> Plane:
        """The axis that a view shows; without a view that of the thickest slices.

        Raises:
            ObliqueView: it shows none.
        """
        if slice_node is None:
            return self.grid.thickest_plane()
        plane = view_plane(slice_node, self.grid)
        if plane is None:
            raise ObliqueView(slice_node)
        return plane

    def index_in(self, slice_node: slicer.vtkMRMLSliceNode, plane: Plane) -> int:
        """The slice along ``plane`` that a view shows.

        Raises:
            UserError: it shows another axis, an oblique one, or no slice of the volume.
        """
        if self.plane_in(slice_node) is not plane:
            raise UserError(
                f"This segment is worked on along the {plane.value} axis; use the "
                f"{plane.value} view."
            )
        index = view_slice(slice_node, self.stack(plane).geometry)
        if index is None:
            raise UserError(f"The {slice_node.GetName()} view shows no slice of the volume.")
        return index
