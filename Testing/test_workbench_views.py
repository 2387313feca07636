"""The whole act with the mouse, in Slicer's own slice views: what is clicked, computed and seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import slicer
from scipy.ndimage import binary_dilation, binary_erosion
from vtkmodules.vtkCommonCore import vtkCommand

from blobs import dice
from grids import make_grid
from mrml_scenes import add_segmentation
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Plane, StackGeometry
from SAM2Medical3DLib.models.registry import load_model
from SAM2Medical3DLib.mrml import Masking, node_from_volume, offscreen, set_locked
from SAM2Medical3DLib.mrml.prompts.placing import placing_node
from SAM2Medical3DLib.mrml.slice_views import rotate_to_volume
from SAM2Medical3DLib.mrml.transforms import to_numpy
from SAM2Medical3DLib.mrml.workbench import Workbench
from SAM2Medical3DLib.propagation.registry import create_propagator
from SAM2Medical3DLib.session.worker import Worker
from SAM2Medical3DLib.volume import Volume
from workbenches import User

AXIAL, CORONAL, SAGITTAL = Plane.AXIAL, Plane.CORONAL, Plane.SAGITTAL
# I runs to the feet in thick slices, J to the right and K to the back, so that no axis can pass
# for another.
GRID = make_grid((72, 80, 20), order=(2, 0, 1), signs=(-1, 1, -1), spacing=(3.0, 0.9, 1.1))
STACK = StackGeometry(GRID, AXIAL)
WIDTH, HEIGHT = 320, 260
MAGENTA = (1.0, 0.0, 1.0)  # as no prompt is
Pixel = tuple[int, int]


def body(slice_: float, row: float, col: float, *radii: float) -> np.ndarray:
    """A leaning ellipsoid, (slice, row, column) bool along the axial axis."""
    s, r, c = np.mgrid[tuple(slice(n) for n in STACK.shape)]
    lean = 0.4 * (s - slice_)
    away = [s - slice_, r - row - lean, c - col]
    return sum((a / b) ** 2 for a, b in zip(away, radii, strict=True)) < 1


ORGAN, OTHER = body(10, 34, 30, 7.5, 14, 13), body(10, 36, 60, 6, 10, 9)
MIDDLE, ON_ORGAN, ON_OTHER = 10, (34.0, 30.0), (36.0, 60.0)


class MouseUser(User):
    """Somebody at real slice views, whose acts are the mouse's events.

    The application, the views and the model are made once; :meth:`begin` gives a new segmentation.
    """

    def __init__(self) -> None:
        self.application = offscreen.slicer_application()
        self.scene = self.application.scene
        noise = np.random.default_rng(0).normal(0, 12, STACK.shape)
        hounsfield = np.select([ORGAN, OTHER], [120, 180], -20) + noise
        array = np.ascontiguousarray(STACK.from_stack(hounsfield)).astype(np.int16)
        self.volume = node_from_volume(self.scene, Volume(array, GRID, "ct"))
        self.screens = {
            plane: offscreen.make_slice_view(self.application, plane, WIDTH, HEIGHT)
            for plane in Plane
        }
        for screen in self.screens.values():
            screen.set_background_volume_id(self.volume.GetID())
        self.views = {plane: screen.get_view_node() for plane, screen in self.screens.items()}
        model = load_model("bundled-radsam", device="cpu")
        self.propagator = create_propagator("radsam", model)
        self.worker = Worker()

    def begin(self) -> None:
        """An empty segmentation with a magenta segment, every view on the middle of the volume."""
        for plane, screen in self.screens.items():
            screen.set_orientation(plane.value.capitalize())
            rotate_to_volume(self.views[plane], self.volume)
            screen.fit_view_to_content()
            self.look_at(self.geometry(plane).shape[0] // 2, plane)
        self.segmentation = add_segmentation(self.scene)
        segment_id = self.open().add_segment()
        self.segmentation.GetSegmentation().GetSegment(segment_id).SetColor(*MAGENTA)

    def end(self) -> None:
        self.bench.close()
        self.scene.RemoveNode(self.segmentation)
        for node in list(self.markups):
            self.scene.RemoveNode(node)
        self.application.segmentation_editor.deactivate_effect()

    def open(self, **options: object) -> Workbench:
        nodes = self.volume, self.segmentation
        self.bench = Workbench(*nodes, self.propagator, self.worker, **options)
        return self.bench

    @property
    def markups(self) -> list[slicer.vtkMRMLMarkupsNode]:
        nodes = self.scene.GetNodesByClass("vtkMRMLMarkupsNode")
        return [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]

    # The mouse

    def pixel(self, plane: Plane, index: int, row: float, col: float) -> Pixel:
        """Where a view shows a place of the volume."""
        ijk = self.geometry(plane).ijk_from_stack(np.array([index, row, col]))
        xy_from_ras = np.linalg.inv(to_numpy(self.views[plane].GetXYToRAS()))
        x, y = (xy_from_ras @ (*GRID.ras_from_ijk(ijk), 1))[:2]
        return round(x), round(y)

    def mouse(self, plane: Plane, *events: int, at: Pixel) -> None:
        interactor = self.screens[plane].interactor()
        for event in events:
            interactor.SetEventInformation(*at, 0, 0, "\0", 0, None)
            interactor.InvokeEvent(event)

    def press(self, plane: Plane, at: Pixel) -> None:
        self.mouse(plane, vtkCommand.MouseMoveEvent, vtkCommand.LeftButtonPressEvent, at=at)

    def release(self, plane: Plane, at: Pixel) -> None:
        self.mouse(plane, vtkCommand.LeftButtonReleaseEvent, at=at)

    def stroke(
        self, plane: Plane, start: Pixel, end: Pixel, on_the_way: Callable[[], None] = lambda: None
    ) -> None:
        """Press, move in steps, and release."""
        self.screens[plane].render()
        self.press(plane, start)
        for step in np.linspace(start, end, 6)[1:]:
            self.mouse(plane, vtkCommand.MouseMoveEvent, at=tuple(int(v) for v in step.round()))
            on_the_way()
        self.release(plane, end)

    def click_at(self, index: int, *places: tuple[float, float], plane: Plane = AXIAL) -> None:
        """Click on places (row, column) of a slice with whatever tool there is."""
        self.look_at(index, plane)
        for row, col in places:
            at = self.pixel(plane, index, row, col)
            self.press(plane, at)
            self.release(plane, at)

    def use(
        self, tool: str, index: int, *places: tuple[float, float], plane: Plane = AXIAL
    ) -> None:
        """Take a tool, click, move the mouse away and wait for the live mask."""
        self.bench.start_tool(tool)
        self.click_at(index, *places, plane=plane)
        self.mouse(plane, vtkCommand.MouseMoveEvent, at=(5, 5))
        self.bench.wait()

    def put_tool_down(self) -> None:
        self.bench.stop_tool()
        assert placing_node(self.scene) is None

    def brush(self, index: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A stroke of Segment Editor's brush in the axial view, on the selected segment."""
        from trame_slicer.segmentation import SegmentationEffectPaint
        from trame_slicer.segmentation.paint_effect_parameters import BrushDiameterMode

        self.put_tool_down()
        self.look_at(index)
        editor = self.application.segmentation_editor
        editor.set_active_segmentation(self.segmentation, self.volume)
        editor.set_active_segment_id(self.bench.selected)
        paint = editor.set_active_effect_type(SegmentationEffectPaint)
        paint.set_brush_diameter(9.0, BrushDiameterMode.Absolute)
        self.stroke(AXIAL, *(self.pixel(AXIAL, index, *place) for place in (start, end)))
        editor.deactivate_effect()

    # What there is and what is seen

    def every_voxel(self) -> dict[str, np.ndarray]:
        ids = self.segmentation.GetSegmentation().GetSegmentIDs()
        return {id_: self.slices(id_) for id_ in ids}

    def seen(self, plane: Plane) -> np.ndarray:
        """(HEIGHT, WIDTH) bool: magenta pixels of a view's picture."""
        picture = offscreen.picture_of(self.screens[plane]).astype(int)
        return picture[..., ::2].min(axis=2) - picture[..., 1] > 40

    def to_be_seen(self, plane: Plane) -> np.ndarray:
        """(HEIGHT, WIDTH) bool: pixels whose voxel is in the selected segment."""
        y, x = np.mgrid[HEIGHT - 1 : -1 : -1, :WIDTH].reshape(2, -1)
        zeros, ones = np.zeros(x.size), np.ones(x.size)
        ras = to_numpy(self.views[plane].GetXYToRAS()) @ (x, y, zeros, ones)
        ijk = np.rint(GRID.ijk_from_ras(ras[:3].T)).astype(int)
        inside = ((ijk >= 0) & (ijk < GRID.size)).all(axis=1)
        i, j, k = np.where(inside[:, None], ijk, 0).T
        return (self.voxels(self.bench.selected)[k, j, i] & inside).reshape(HEIGHT, WIDTH)

    def shows_its_mask(self, plane: Plane) -> bool:
        """Whether a view is magenta where the segment is, to a pixel, and nowhere else."""
        seen, wanted = self.seen(plane), self.to_be_seen(plane)
        near = binary_dilation(wanted, iterations=2)
        missing = binary_erosion(wanted, iterations=2) & ~binary_dilation(seen, iterations=6)
        return not (seen & ~near).any() and not missing.any() and dice(seen, wanted) > 0.9


@pytest.fixture(scope="module")
def mouse_user() -> Iterator[MouseUser]:
    try:
        offscreen.check_opengl()
    except UserError as error:
        pytest.skip(str(error))
    user = MouseUser()
    yield user
    user.worker.close()


@pytest.fixture
def user(mouse_user: MouseUser) -> Iterator[MouseUser]:
    mouse_user.begin()
    yield mouse_user
    mouse_user.end()


@pytest.fixture
def propagated(user: MouseUser) -> MouseUser:
    """After one click on the organ's middle and a propagation."""
    user.use("positive", MIDDLE, ON_ORGAN)
    propagate(user)
    return user


def propagate(user: MouseUser) -> None:
    user.bench.propagate()
    user.bench.wait()
    assert not user.bench.is_problem, user.bench.message


def filled(slices: np.ndarray) -> list[int]:
    return np.flatnonzero(slices.any((1, 2))).tolist()


def changed(before: np.ndarray, after: np.ndarray) -> list[int]:
    return filled(before ^ after)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[id_], other[id_]) for id_ in one)


def around(mask: np.ndarray, margin: int = 2) -> tuple[tuple[float, float], tuple[float, float]]:
    """Opposite corners, (row, column), of a box about a 2D mask."""
    rows, cols = np.nonzero(mask)
    return (
        (float(rows.min() - margin), float(cols.min() - margin)),
        (float(rows.max() + margin), float(cols.max() + margin)),
    )


def test_a_click_in_the_axial_view_is_seen_on_its_slice_alone(user: MouseUser) -> None:
    user.use("positive", MIDDLE, ON_ORGAN)
    found = user.slices()
    assert filled(found) == [MIDDLE]
    assert dice(found[MIDDLE], ORGAN[MIDDLE]) > 0.9
    assert user.bench.plane is AXIAL and user.bench.tool() == "positive"
    assert user.seen(AXIAL).any() and user.shows_its_mask(AXIAL)
    x, y = user.pixel(AXIAL, MIDDLE, ON_ORGAN[0] + 6, ON_ORGAN[1])
    assert user.seen(AXIAL)[HEIGHT - 1 - y, x]
    for index in (MIDDLE - 1, MIDDLE + 1):
        user.look_at(index)
        assert not user.seen(AXIAL).any()
    user.look_at(0, CORONAL)
    assert not user.seen(CORONAL).any()


def test_a_point_under_the_mouse_is_no_prompt_before_the_click(user: MouseUser) -> None:
    user.bench.start_tool("positive")
    user.mouse(AXIAL, vtkCommand.MouseMoveEvent, at=user.pixel(AXIAL, MIDDLE, *ON_ORGAN))
    user.bench.wait()
    assert not user.slices().any() and user.bench.plane is None


def test_two_clicks_draw_a_box(user: MouseUser) -> None:
    user.use("box", MIDDLE, *around(ORGAN[MIDDLE]))
    found = user.slices()
    assert filled(found) == [MIDDLE]
    assert dice(found[MIDDLE], ORGAN[MIDDLE]) > 0.95
    assert user.bench.tool() is None
    assert user.shows_its_mask(AXIAL)


def test_a_dragged_corner_of_a_box_changes_the_mask(user: MouseUser) -> None:
    user.use("box", MIDDLE, *around(ORGAN[MIDDLE]))
    _, corner = around(ORGAN[MIDDLE])
    _, further = around((ORGAN | OTHER)[MIDDLE])
    user.stroke(AXIAL, *(user.pixel(AXIAL, MIDDLE, *place) for place in (corner, further)))
    user.bench.wait()
    found = user.slices()
    assert filled(found) == [MIDDLE]
    assert dice(found[MIDDLE], (ORGAN | OTHER)[MIDDLE]) > 0.9
    assert user.shows_its_mask(AXIAL)


def test_a_box_in_another_view_is_refused_and_leaves_nothing_behind(user: MouseUser) -> None:
    user.use("positive", MIDDLE, ON_ORGAN)
    user.put_tool_down()
    before, markups = user.slices(), len(user.markups)
    user.use("box", 37, (5, 20), (15, 40), plane=CORONAL)
    assert user.bench.is_problem and "in the axial view" in user.bench.message
    assert placing_node(user.scene) is None
    user.click_at(40, (10, 10), plane=CORONAL)
    user.bench.wait()
    assert len(user.markups) == markups
    np.testing.assert_array_equal(user.slices(), before)


def test_a_dragged_point_takes_the_mask_along(user: MouseUser) -> None:
    user.use("positive", MIDDLE, ON_ORGAN)
    user.put_tool_down()
    before, during = user.slices(), []

    def tick() -> None:
        for _ in range(3):
            user.bench.tick()
        during.append(np.array_equal(user.slices(), before))

    start, end = (user.pixel(AXIAL, MIDDLE, *place) for place in (ON_ORGAN, ON_OTHER))
    user.stroke(AXIAL, start, end, tick)
    assert during == [True] * 5, "the model was asked before the mouse was released"
    user.bench.wait()
    after = user.slices()
    assert filled(after) == [MIDDLE]
    assert dice(after[MIDDLE], OTHER[MIDDLE]) > 0.7
    assert dice(after[MIDDLE], ORGAN[MIDDLE]) < 0.1
    assert user.shows_its_mask(AXIAL)
    user.bench.undo()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), before)


def test_a_negative_click_takes_away_what_is_under_it(user: MouseUser) -> None:
    user.use("box", MIDDLE, *around(ORGAN[MIDDLE]))
    row, col = 24, 30
    before = user.slices()
    assert before[MIDDLE, row, col]
    user.use("negative", MIDDLE, (row, col))
    after = user.slices()
    assert filled(after) == [MIDDLE]
    assert not after[MIDDLE, row, col]
    assert dice(after[MIDDLE], before[MIDDLE]) > 0.8
    assert user.shows_its_mask(AXIAL)


def test_slices_fill_in_and_end_as_the_organ(user: MouseUser) -> None:
    user.use("positive", MIDDLE, ON_ORGAN)
    user.look_at(30, CORONAL)
    user.bench.propagate()
    areas, counts = [int(user.seen(CORONAL).sum())], [1]
    while user.bench.tick():
        count = len(filled(user.slices()))
        if count > counts[-1] + 2:
            counts.append(count)
            areas.append(int(user.seen(CORONAL).sum()))
    assert len(areas) > 2, "all came at once"
    assert areas == sorted(areas) and areas[0] < areas[-1]
    found = user.slices()
    assert dice(found, ORGAN) > 0.9
    assert not (found & OTHER).any()
    assert all(user.shows_its_mask(plane) for plane in Plane)


def test_a_correcting_click_changes_its_span_and_nothing_beyond_fixed_slices(
    propagated: MouseUser,
) -> None:
    user = propagated
    user.use("positive", 16, (36, 30))
    user.put_tool_down()
    propagate(user)
    before = user.slices()
    user.use("positive", 13, (37.2, 60.0))
    user.put_tool_down()
    live = user.slices()
    assert changed(before, live) == [13]
    propagate(user)
    after = user.slices()
    np.testing.assert_array_equal(after[13], live[13])
    assert set(changed(before, after)) <= set(range(MIDDLE + 1, 16))
    assert len(changed(before, after)) > 1


def test_a_slice_painted_in_segment_editor_comes_back_bit_for_bit(propagated: MouseUser) -> None:
    user = propagated
    before = user.slices()
    user.brush(6, (30, 18), (30, 44))
    drawn = user.slices()
    assert changed(before, drawn) == [6]
    user.bench.wait()
    states = user.bench.slice_states()
    assert np.flatnonzero(states.locked).tolist() == [6] and states.stale.any()
    propagate(user)
    after = user.slices()
    np.testing.assert_array_equal(after[6], drawn[6])
    np.testing.assert_array_equal(after[MIDDLE:], before[MIDDLE:])
    user.use("positive", 3, (31, 30))
    user.put_tool_down()
    propagate(user)
    np.testing.assert_array_equal(user.slices()[6], drawn[6])
    assert user.shows_its_mask(AXIAL)


@pytest.mark.parametrize("masking", list(Masking))
def test_undo_and_redo_restore_every_voxel_of_every_segment(
    user: MouseUser, masking: Masking
) -> None:
    user.bench.set_masking(masking)
    user.add_segment("other", body(10, 34, 46, 7, 12, 12))  # laps over the organ
    selected = user.bench.selected

    def clear() -> None:
        user.bench.clear()
        user.bench.wait()

    states = [user.every_voxel()]
    for act in (
        lambda: user.use("positive", MIDDLE, ON_ORGAN),
        lambda: propagate(user),
        lambda: user.brush(6, (30, 18), (30, 26)),
        lambda: user.use("positive", 13, (37.2, 60.0)),
        lambda: propagate(user),
        clear,
    ):
        act()
        user.bench.wait()
        user.put_tool_down()
        states.append(user.every_voxel())
        assert not same(*states[-2:])
    assert not states[-1][selected].any()
    for step, expected in reversed(list(enumerate(states[:-1]))):
        assert user.bench.can_undo
        user.bench.undo()
        user.bench.wait()
        assert same(user.every_voxel(), expected), f"undo of step {step + 1}"
    assert not user.bench.can_undo
    assert not any(node.GetNumberOfDefinedControlPoints() for node in user.markups)
    for step, expected in enumerate(states[1:], 1):
        user.bench.redo()
        user.bench.wait()
        assert same(user.every_voxel(), expected), f"redo of step {step}"
    assert not user.bench.can_redo


@pytest.mark.parametrize("plane", [CORONAL, SAGITTAL])
def test_the_view_clicked_in_decides_the_axis(user: MouseUser, plane: Plane) -> None:
    truth = np.array(user.geometry(plane).to_stack(STACK.from_stack(ORGAN)))
    index = int(np.mean(filled(truth)))
    rows, cols = np.nonzero(truth[index])
    user.use("positive", index, (rows.mean(), cols.mean()), plane=plane)
    found = user.slices(plane=plane)
    assert user.bench.plane is plane
    assert filled(found) == [index]
    assert dice(found[index], truth[index]) > 0.7
    assert user.shows_its_mask(plane)
    user.put_tool_down()
    propagate(user)
    assert dice(user.slices(), ORGAN) > 0.85
    assert all(user.shows_its_mask(one) for one in Plane)


def test_an_oblique_view_is_refused_until_it_is_rotated_to_the_volume(user: MouseUser) -> None:
    view = user.views[AXIAL]
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    view.GetSliceToRAS().DeepCopy((to_numpy(view.GetSliceToRAS()) @ tilt).ravel())
    view.UpdateMatrices()
    user.bench.start_tool("positive")
    at = user.pixel(AXIAL, MIDDLE, *ON_ORGAN)
    user.press(AXIAL, at)
    user.release(AXIAL, at)
    user.bench.wait()
    assert user.bench.is_problem
    assert "oblique to the voxels" in user.bench.message
    assert "rotate it to the volume plane" in user.bench.message
    assert user.bench.oblique_view is view
    assert user.bench.plane is None and not user.slices().any()
    rotate_to_volume(view, user.volume)
    user.use("positive", MIDDLE, ON_ORGAN)
    assert not user.bench.is_problem and user.bench.oblique_view is None
    assert user.bench.plane is AXIAL
    assert dice(user.slices()[MIDDLE], ORGAN[MIDDLE]) > 0.9
    assert user.shows_its_mask(AXIAL)


@pytest.mark.parametrize("masking", list(Masking))
def test_hidden_and_locked_segments_are_never_written_to(user: MouseUser, masking: Masking) -> None:
    user.bench.set_masking(masking)
    selected = user.bench.selected
    others = {name: user.add_segment(name, ORGAN) for name in ("hidden", "locked")}
    user.segmentation.GetDisplayNode().SetSegmentVisibility(others["hidden"], False)
    set_locked(user.segmentation, others["locked"])
    user.use("positive", MIDDLE, ON_ORGAN)
    user.use("negative", MIDDLE, (24, 30))
    user.put_tool_down()
    propagate(user)
    for id_ in others.values():
        np.testing.assert_array_equal(user.slices(id_), ORGAN)
    overlap = user.slices(selected) & ORGAN
    assert overlap.any() == (masking is not Masking.PROTECT)
    user.bench.select(others["hidden"])
    with pytest.raises(UserError, match="hidden"):
        user.bench.start_tool("positive")
    user.bench.select(others["locked"])
    with pytest.raises(UserError, match="locked"):
        user.bench.start_tool("positive")
    user.click_at(MIDDLE, ON_OTHER)  # moves the view, or nothing
    user.bench.wait()
    for id_ in others.values():
        np.testing.assert_array_equal(user.slices(id_), ORGAN)
