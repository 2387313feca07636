"""Pictures of a segmentation, drawn by Slicer's own displayable managers without a screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import slicer
from PIL import Image, ImageDraw

from ..colours import Colour, default_colours
from ..errors import UserError
from ..files.atomic import check_destination, replacing
from ..geometry import Plane
from ..preview.style import font, to_rgb
from ..volume import Volume
from .offscreen import make_slice_view, make_threed_view, picture_of, slicer_application
from .segments.segmentations import segmentation_from_masks
from .volumes import node_from_volume

if TYPE_CHECKING:
    from trame_slicer.core import SlicerApp
    from trame_slicer.views import SliceView, ThreeDView

Background = Literal["white", "black"]

_TEXTURE = (768, 768)  # pixels of the slice shown in 3D
# Where the camera stands, seen from the object: in front, to the patient's right and above.
_DIRECTION = np.array([0.5, 0.75, 0.5])


@dataclass(frozen=True, eq=False)
class _Shown:
    """A volume and its segmentation in an application's scene; ``inside`` is RAS of a voxel."""

    application: SlicerApp
    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    inside: np.ndarray

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest R, A, S of the segments."""
        bounds = [0.0] * 6
        self.segmentation.GetRASBounds(bounds)
        return np.array(bounds[::2]), np.array(bounds[1::2])


def render_segmentation(
    volume: Volume,
    labels: np.ndarray,
    names: Mapping[int, str],
    colours: Mapping[int, Colour],
    path: Path | str,
    *,
    size: tuple[int, int] = (900, 700),
    background: Background = "white",
    with_slice: bool = True,
) -> Path:
    """Write a PNG of the segments' surfaces, seen obliquely from in front, with their names.

    Args:
        volume: the image.
        labels: (K, J, I) label values on the volume's grid; 0 is background.
        names: {label: name of its segment}; others are called "Object 3".
        colours: {label: (red, green, blue) in 0..1}; others get a default.
        path: the PNG file.
        size: width and height in pixels.
        background: behind the segments.
        with_slice: also show the volume's axial slice at the lower end of the segments.

    Returns:
        The path.

    Raises:
        UserError: nothing is segmented, labels of another shape, trame-slicer or OpenGL missing,
            or the file cannot be written.
    """
    check_destination(path)
    shown = _show(volume, labels, names, colours)
    shown.segmentation.CreateClosedSurfaceRepresentation()
    view = make_threed_view(shown.application, *size, background)
    low, high = shown.bounds()
    if with_slice:
        # Bounds reach half a voxel beyond the centres of the lowest voxels.
        thickness = volume.grid.spacing[volume.grid.axis_of(Plane.AXIAL)]
        lower_end = np.append((low + high)[:2] / 2, low[2] + 0.6 * thickness)
        _slice_view(shown, Plane.AXIAL, lower_end, *_TEXTURE).set_visible_in_3d(True)
    _look_at(view, low, high)
    picture = Image.fromarray(picture_of(view))
    _add_legend(picture, shown.segmentation, background)
    return _save(path, picture)


def render_slices(
    volume: Volume,
    labels: np.ndarray,
    names: Mapping[int, str],
    colours: Mapping[int, Colour],
    path: Path | str,
    *,
    size: tuple[int, int] = (400, 400),
) -> Path:
    """Write a PNG of the axial, coronal and sagittal slice views, side by side.

    The slices go through the thick of the segments, which are filled and outlined on them.

    Args:
        volume, labels, names, colours, path: as :func:`render_segmentation`.
        size: width and height of one view in pixels.

    Returns:
        The path.

    Raises:
        UserError: as :func:`render_segmentation`.
    """
    check_destination(path)
    shown = _show(volume, labels, names, colours)
    views = [_slice_view(shown, plane, shown.inside, *size) for plane in Plane]
    return _save(path, Image.fromarray(np.hstack([picture_of(view) for view in views])))


def _show(
    volume: Volume, labels: np.ndarray, names: Mapping[int, str], colours: Mapping[int, Colour]
) -> _Shown:
    if labels.shape != volume.array.shape:
        raise UserError(f"The labels have {labels.shape} voxels, the volume {volume.array.shape}.")
    values = [int(value) for value in np.unique(labels) if value != 0]
    if not values:
        raise UserError("Nothing is segmented, so there is nothing to draw.")
    application = slicer_application()
    volume_node = node_from_volume(application.scene, volume)
    node = segmentation_from_masks(
        application.scene,
        volume_node,
        {value: labels == value for value in values},
        {value: names[value] for value in values if value in names},
        {**default_colours(values), **colours},
    )
    inside = volume.grid.ras_from_ijk(_voxel_inside(labels != 0))
    return _Shown(application, volume_node, node, inside)


def _voxel_inside(mask: np.ndarray) -> tuple[int, int, int]:
    """(I, J, K) of a voxel in the thick of a (K, J, I) mask."""
    k = int(mask.sum(axis=(1, 2)).argmax())
    j = int(mask[k].sum(axis=1).argmax())
    row = np.flatnonzero(mask[k, j])
    return int(row[len(row) // 2]), j, k


def _slice_view(
    shown: _Shown, plane: Plane, through: np.ndarray, width: int, height: int
) -> SliceView:
    view = make_slice_view(shown.application, plane, width, height)
    view.set_background_volume_id(shown.volume.GetID())
    view.fit_view_to_content()
    view.get_view_node().JumpSliceByOffsetting(*through)
    return view


def _look_at(view: ThreeDView, low: np.ndarray, high: np.ndarray) -> None:
    """Let most of the ball around a box fill the view."""
    camera = view.get_camera_node()
    centre, radius = (low + high) / 2, np.linalg.norm(high - low) / 2
    distance = 0.85 * radius / np.sin(np.radians(camera.GetViewAngle() / 2))
    camera.SetFocalPoint(*centre)
    camera.SetPosition(*(centre + distance * _DIRECTION / np.linalg.norm(_DIRECTION)))
    camera.SetViewUp(0, 0, 1)
    camera.ResetClippingRange()


def _add_legend(
    picture: Image.Image, node: slicer.vtkMRMLSegmentationNode, background: Background
) -> None:
    """The segments' names, top left, where the slice does not reach."""
    draw = ImageDraw.Draw(picture)
    segmentation = node.GetSegmentation()
    ink = "black" if background == "white" else "white"
    for number, segment_id in enumerate(segmentation.GetSegmentIDs()):
        segment, y = segmentation.GetSegment(segment_id), 14 + 24 * number
        draw.rectangle((14, y + 2, 28, y + 16), to_rgb(segment.GetColor()))
        style = {"font": font(15), "stroke_width": 2, "stroke_fill": background}
        draw.text((36, y), segment.GetName(), fill=ink, **style)


def _save(path: Path | str, picture: Image.Image) -> Path:
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
    return Path(path)
