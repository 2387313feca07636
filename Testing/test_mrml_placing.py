"""Prompts placed and dragged with the mouse in Slicer's own slice views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import slicer
from vtkmodules.vtkCommonCore import vtkCommand

from mrml_scenes import add_segmentation, ijk_to_ras, ramp
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry
from SAM2Medical3DLib.mrml import node_from_volume, offscreen
from SAM2Medical3DLib.mrml.prompts.box_drag import BoxDrag
from SAM2Medical3DLib.mrml.prompts.placing import placing_node, start_placing, stop_placing
from SAM2Medical3DLib.mrml.prompts.prompt_nodes import PromptNodes
from SAM2Medical3DLib.mrml.slice_views import (
    plane_of_box,
    plane_of_point,
    rotate_to_volume,
    show_slice,
    view_plane,
    view_slice,
)
from SAM2Medical3DLib.mrml.transforms import to_numpy
from SAM2Medical3DLib.prompts import Box
from SAM2Medical3DLib.volume import Volume

if TYPE_CHECKING:
    from trame_slicer.core import SlicerApp
    from trame_slicer.views import SliceView

SHAPE = (24, 40, 30)
ORIENTATIONS = {
    "permuted": {"order": (2, 0, 1), "signs": (-1, 1, -1), "spacing": (0.8, 1.5, 3.0)},
    "oblique": {"order": (1, 2, 0), "spacing": (2.5, 0.9, 1.2), "turn": (12, -17, 25)},
}
Pixel = tuple[int, int]


@dataclass(eq=False)
class Bench:
    """An application with a volume in three slice views, and the prompts of a segment."""

    application: SlicerApp
    volume: slicer.vtkMRMLScalarVolumeNode
    grid: Grid
    views: dict[Plane, SliceView]
    prompts: PromptNodes

    @property
    def scene(self) -> slicer.vtkMRMLScene:
        return self.application.scene

    @property
    def slice_nodes(self) -> list[slicer.vtkMRMLSliceNode]:
        return [view.get_view_node() for view in self.views.values()]

    def geometry(self, plane: Plane) -> StackGeometry:
        return StackGeometry(self.grid, plane)

    def voxel(self, plane: Plane, pixel: Pixel) -> np.ndarray:
        """Stack coordinates under a pixel, as Slicer itself resamples the volume there."""
        layer = self.views[plane].get_volume_layer_logic(self.volume)
        ijk = layer.GetXYToIJKTransform().TransformPoint(*pixel, 0.0)
        return self.geometry(plane).stack_from_ijk(np.array(ijk))

    def pixel(self, plane: Plane, stack: tuple[float, float, float]) -> Pixel:
        """The pixel that shows a place of the volume."""
        ras = self.grid.ras_from_ijk(self.geometry(plane).ijk_from_stack(np.array(stack)))
        xy_to_ras = to_numpy(self.views[plane].get_view_node().GetXYToRAS())
        x, y = (np.linalg.inv(xy_to_ras) @ (*ras, 1))[:2]
        return round(x), round(y)

    def move(self, plane: Plane, pixel: Pixel) -> None:
        self._send(plane, vtkCommand.MouseMoveEvent, pixel)

    def click(self, plane: Plane, pixel: Pixel) -> None:
        self.move(plane, pixel)
        self._send(plane, vtkCommand.LeftButtonPressEvent, pixel)
        self._send(plane, vtkCommand.LeftButtonReleaseEvent, pixel)

    def drag(self, plane: Plane, start: Pixel, end: Pixel) -> None:
        self.views[plane].render()
        self.move(plane, start)
        self._send(plane, vtkCommand.LeftButtonPressEvent, start)
        for step in np.linspace(start, end, 5)[1:]:
            self.move(plane, tuple(int(round(value)) for value in step))
        self._send(plane, vtkCommand.LeftButtonReleaseEvent, end)

    def draw_box(self, plane: Plane, first: Pixel, second: Pixel) -> slicer.vtkMRMLMarkupsROINode:
        """Two clicks, with the box flattened in the event of its placement."""
        roi = self.prompts.new_box(self.grid)

        def placed(*_: object) -> None:
            found = plane_of_box(roi, self.grid)
            assert found is plane
            self.prompts.flatten_box(roi, self.geometry(found))

        roi.AddObserver(roi.PointPositionDefinedEvent, placed)
        start_placing(self.scene, roi, persistent=False)
        self.click(plane, first)
        self.click(plane, second)
        return roi

    def _send(self, plane: Plane, event: int, pixel: Pixel) -> None:
        interactor = self.views[plane].interactor()
        interactor.SetEventInformation(*pixel, 0, 0, "\0", 0, None)
        interactor.InvokeEvent(event)


@pytest.fixture(scope="module", params=ORIENTATIONS)
def application_bench(request: pytest.FixtureRequest) -> Bench:
    try:
        offscreen.check_opengl()
    except UserError as error:
        pytest.skip(str(error))
    application = offscreen.slicer_application()
    grid = Grid(SHAPE[::-1], ijk_to_ras(**ORIENTATIONS[request.param]))
    volume = node_from_volume(application.scene, Volume(ramp(SHAPE), grid, "ct"))
    views = {}
    for plane in Plane:
        views[plane] = offscreen.make_slice_view(application, plane, 320, 260)
        views[plane].set_background_volume_id(volume.GetID())
    prompts = PromptNodes(add_segmentation(application.scene), "liver")
    return Bench(application, volume, grid, views, prompts)


@pytest.fixture
def bench(application_bench: Bench) -> Iterator[Bench]:
    """Every view along the voxels, on a slice of its own."""
    bench = application_bench
    for number, (plane, view) in enumerate(bench.views.items()):
        view.set_orientation(plane.value.capitalize())
        rotate_to_volume(view.get_view_node(), bench.volume)
        view.fit_view_to_content()
        show_slice(view.get_view_node(), bench.geometry(plane), 7 + number)
    yield bench
    stop_placing(bench.scene)
    bench.prompts.set_shown(True)
    bench.prompts.set_editable(True)
    bench.prompts.remove()


@pytest.mark.parametrize("plane", Plane)
def test_a_click_prompts_the_slice_shown_at_its_pixel(bench: Bench, plane: Plane) -> None:
    positive, negative = bench.prompts.points(True), bench.prompts.points(False)
    index = view_slice(bench.views[plane].get_view_node(), bench.geometry(plane))
    start_placing(bench.scene, positive, persistent=True)
    assert placing_node(bench.scene) is positive
    bench.move(plane, (100, 100))
    assert positive.GetNumberOfControlPoints() == 1 and bench.prompts.is_empty  # a preview
    clicks = [(150, 120), (171, 133), (160, 140)]
    for pixel in clicks[:2]:
        bench.click(plane, pixel)
    start_placing(bench.scene, negative, persistent=False)
    bench.click(plane, clicks[2])
    assert placing_node(bench.scene) is None
    bench.click(plane, (120, 120))  # the mouse belongs to the view again
    ((found, (points, box)),) = bench.prompts.read(bench.geometry(plane)).items()
    assert found == index and box is None
    assert [point.positive for point in points] == [True, True, False]
    expected = np.array([bench.voxel(plane, pixel) for pixel in clicks])
    assert np.allclose([(p.row, p.col) for p in points], expected[:, 1:], atol=1e-3)
    assert np.allclose(expected[:, 0], index, atol=1e-3)
    for node, number in ((positive, 0), (positive, 1), (negative, 0)):
        assert plane_of_point(node, number, bench.grid, bench.slice_nodes) is plane


def test_stopping_takes_the_preview_away(bench: Bench) -> None:
    node = bench.prompts.points(True)
    start_placing(bench.scene, node, persistent=True)
    bench.move(Plane.AXIAL, (150, 120))
    bench.click(Plane.CORONAL, (150, 120))
    bench.move(Plane.CORONAL, (100, 120))
    stop_placing(bench.scene)
    assert placing_node(bench.scene) is None
    assert node.GetNumberOfControlPoints() == 1


def test_other_nodes_do_not_take_the_clicks(bench: Bench) -> None:
    node = bench.prompts.points(True)
    start_placing(bench.scene, node, persistent=True)
    bench.move(Plane.AXIAL, (150, 120))
    geometry = bench.geometry(Plane.AXIAL)
    bench.prompts.write(geometry, {3: ((), Box(3, 3, 6, 6))})
    bench.prompts.points(False)
    bench.click(Plane.AXIAL, (150, 120))
    assert placing_node(bench.scene) is node and node.GetNumberOfDefinedControlPoints() == 1
    bench.prompts.remove()
    assert placing_node(bench.scene) is None
    bench.click(Plane.AXIAL, (150, 120))
    assert bench.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0


@pytest.mark.parametrize("plane", Plane)
def test_two_clicks_draw_a_box(bench: Bench, plane: Plane) -> None:
    index = view_slice(bench.views[plane].get_view_node(), bench.geometry(plane))
    first, second = (130, 150), (190, 110)
    bench.draw_box(plane, first, second)
    assert placing_node(bench.scene) is None
    bench.click(plane, (140, 140))
    assert bench.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    (a, b) = (bench.voxel(plane, pixel)[1:] for pixel in (first, second))
    ((found, (points, box)),) = bench.prompts.read(bench.geometry(plane)).items()
    assert found == index and not points
    expected = Box(*a, *b)
    assert vars(box) == pytest.approx(vars(expected), abs=1e-3)


@pytest.mark.parametrize("plane", Plane)
def test_a_drag_draws_a_box_from_corner_to_corner(bench: Bench, plane: Plane) -> None:
    index = view_slice(bench.views[plane].get_view_node(), bench.geometry(plane))
    drags = BoxDrag(bench.scene)
    drags.watch(bench.views[plane].interactor(), bench.views[plane].get_view_node())
    try:
        roi = bench.prompts.new_box(bench.grid)
        start_placing(bench.scene, roi, persistent=False)
        first, second = (130, 150), (190, 110)
        bench.drag(plane, first, second)
        assert bench.prompts.is_empty
        assert drags.finish()
        assert not drags.finish()
        assert placing_node(bench.scene) is None
        bench.prompts.flatten_box(roi, bench.geometry(plane))
        (a, b) = (bench.voxel(plane, pixel)[1:] for pixel in (first, second))
        ((found, (points, box)),) = bench.prompts.read(bench.geometry(plane)).items()
        assert found == index and not points
        assert vars(box) == pytest.approx(vars(Box(*a, *b)), abs=1e-3)
    finally:
        drags.close()


def test_two_clicks_still_draw_a_box_while_drags_are_watched(bench: Bench) -> None:
    drags = BoxDrag(bench.scene)
    view = bench.views[Plane.AXIAL]
    drags.watch(view.interactor(), view.get_view_node())
    try:
        roi = bench.prompts.new_box(bench.grid)
        start_placing(bench.scene, roi, persistent=False)
        bench.click(Plane.AXIAL, (130, 150))
        assert not drags.finish()
        bench.click(Plane.AXIAL, (190, 110))
        assert not drags.finish()
        assert len(bench.prompts.read(bench.geometry(Plane.AXIAL))) == 1
    finally:
        drags.close()


def test_a_third_click_makes_no_other_box(bench: Bench) -> None:
    roi = bench.prompts.new_box(bench.grid)
    start_placing(bench.scene, roi, persistent=True)
    for pixel in ((130, 150), (190, 110), (150, 130), (170, 90)):
        bench.click(Plane.AXIAL, pixel)
    assert bench.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == 1
    assert len(bench.prompts.read(bench.geometry(Plane.AXIAL))) == 1


def test_a_box_without_area_still_waits(bench: Bench) -> None:
    roi = bench.draw_box(Plane.AXIAL, (150, 150), (150, 150))
    assert bench.prompts.is_empty
    assert bench.prompts.new_box(bench.grid) is roi and roi.GetNumberOfControlPoints() == 0


@pytest.mark.parametrize("plane", Plane)
def test_corners_and_edges_of_a_box_are_dragged(bench: Bench, plane: Plane) -> None:
    geometry = bench.geometry(plane)
    roi = bench.draw_box(plane, (130, 150), (190, 110))
    ended: list[str] = []
    roi.AddObserver(roi.PointEndInteractionEvent, lambda *_: ended.append("end"))
    ((index, (_, before)),) = bench.prompts.read(geometry).items()
    thickness = roi.GetSize()[2]

    def dragged(start: Pixel, end: Pixel) -> Box:
        bench.drag(plane, start, end)
        ((found, (_, box)),) = bench.prompts.read(geometry).items()
        assert found == index and roi.GetSize()[2] == pytest.approx(thickness)
        return box

    corner = bench.pixel(plane, (index, before.row1, before.col1))
    bigger = dragged(corner, (corner[0] + 16, corner[1] - 12))
    step = bench.voxel(plane, (16, -12)) - bench.voxel(plane, (0, 0))
    expected = Box(before.row0, before.col0, before.row1 + step[1], before.col1 + step[2])
    assert vars(bigger) == pytest.approx(vars(expected), abs=1e-2)
    middle = (bigger.row0 + bigger.row1) / 2
    edge = bench.pixel(plane, (index, middle, bigger.col0))
    wider = dragged(edge, (edge[0] - 10, edge[1]))
    step = bench.voxel(plane, (-10, 0)) - bench.voxel(plane, (0, 0))
    assert wider.col0 == pytest.approx(bigger.col0 + step[2], abs=1e-2)
    assert (wider.row0, wider.row1, wider.col1) == pytest.approx(
        (bigger.row0, bigger.row1, bigger.col1), abs=1e-2
    )
    assert ended == ["end", "end"]
    bench.prompts.set_editable(False)
    corner = bench.pixel(plane, (index, wider.row1, wider.col1))
    assert dragged(corner, (corner[0] + 16, corner[1] - 12)) == wider


def test_a_point_is_dragged(bench: Bench) -> None:
    node = bench.prompts.points(True)
    start_placing(bench.scene, node, persistent=False)
    bench.click(Plane.CORONAL, (150, 120))
    bench.move(Plane.CORONAL, (20, 20))
    bench.drag(Plane.CORONAL, (150, 120), (170, 130))
    ((_, (points, _)),) = bench.prompts.read(bench.geometry(Plane.CORONAL)).items()
    expected = bench.voxel(Plane.CORONAL, (170, 130))[1:]
    assert [(p.row, p.col) for p in points] == [pytest.approx(tuple(expected), abs=1e-3)]


@pytest.mark.parametrize("plane", Plane)
def test_prompts_are_seen_on_their_own_slice_only(bench: Bench, plane: Plane) -> None:
    geometry, view = bench.geometry(plane), bench.views[plane]
    n, height, width = geometry.shape
    node = bench.prompts.points(True)
    bench.prompts.write(geometry, {7: ((), Box(2, 2, height - 3, width - 3))})
    world = bench.grid.ras_from_ijk(geometry.ijk_from_stack(np.array([7, height / 2, width / 2])))
    node.AddControlPointWorld(world)

    def coloured() -> tuple[bool, bool]:
        picture = offscreen.picture_of(view).astype(int)
        red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
        is_green = (green > red + 60) & (green > blue + 60)
        is_yellow = (red > blue + 60) & (green > blue + 60)
        return bool(is_green.any()), bool(is_yellow.any())

    for index in (6, 7, 8):
        show_slice(view.get_view_node(), geometry, index)
        assert coloured() == (index == 7, index == 7)
    show_slice(view.get_view_node(), geometry, 7)
    bench.prompts.set_shown(False)
    assert coloured() == (False, False)


def test_an_oblique_view_is_recognised(bench: Bench) -> None:
    view = bench.views[Plane.AXIAL].get_view_node()
    tilted = np.eye(4)
    tilted[1:3, 1:3] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    view.GetSliceToRAS().DeepCopy((to_numpy(view.GetSliceToRAS()) @ tilted).ravel())
    view.UpdateMatrices()
    assert view_plane(view, bench.grid) is None
    node = bench.prompts.points(True)
    start_placing(bench.scene, node, persistent=False)
    bench.click(Plane.AXIAL, (150, 120))
    assert plane_of_point(node, 0, bench.grid, bench.slice_nodes) is None
    rotate_to_volume(view, bench.volume)
    assert view_plane(view, bench.grid) is Plane.AXIAL
