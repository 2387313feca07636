"""The workbench on real MRML nodes: live masks, propagation, corrections, undo, saving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from blobs import FIRST, LAST, dice
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Plane
from SAM2Medical3DLib.mrml import Masking, set_locked
from SAM2Medical3DLib.propagation import Direction, Span
from workbenches import TRUTH, ThresholdPropagator, User

NOTHING = np.zeros(TRUTH.shape[1:], bool)


@pytest.fixture
def make() -> Iterator[Callable[..., User]]:
    users = []

    def made(*args: object, **options: object) -> User:
        users.append(User(*args, **options))
        return users[-1]

    yield made
    for user in users:
        user.close()


@pytest.fixture
def user(make: Callable[..., User]) -> User:
    return make()


@pytest.fixture
def propagated(user: User) -> User:
    """After one click on slice 8 and a propagation."""
    user.click(8, *centre(8))
    user.bench.propagate()
    user.bench.wait()
    return user


def centre(index: int) -> tuple[float, float]:
    rows, cols = np.nonzero(TRUTH[index])
    return float(rows.mean()), float(cols.mean())


def changed(before: np.ndarray, after: np.ndarray) -> list[int]:
    return np.flatnonzero((before != after).any((1, 2))).tolist()


def test_a_click_shows_a_live_mask_on_its_slice_alone(user: User) -> None:
    user.click(8, *centre(8))
    found = user.slices()
    assert np.flatnonzero(found.any((1, 2))).tolist() == [8]
    assert dice(found[8], TRUTH[8]) > 0.95
    assert user.bench.plane is Plane.AXIAL
    assert not user.bench.is_problem


def test_a_negative_point_takes_away(user: User) -> None:
    row, col = centre(8)
    user.click(8, row, col)
    before = user.slices()[8].sum()
    user.click(8, row - 12, col, positive=False)
    assert 0 < user.slices()[8].sum() < before


def test_a_box_shows_a_live_mask(user: User) -> None:
    rows, cols = np.nonzero(TRUTH[8])
    user.box(8, (rows.min() - 2, cols.min() - 2, rows.max() + 2, cols.max() + 2))
    assert dice(user.slices()[8], TRUTH[8]) > 0.95
    assert np.flatnonzero(user.slices().any((1, 2))).tolist() == [8]


@pytest.mark.parametrize("plane", list(Plane))
def test_the_view_clicked_in_decides_the_axis(user: User, plane: Plane) -> None:
    truth = np.array(user.geometry(plane).to_stack(user.geometry().from_stack(TRUTH)))
    index = int(truth.any((1, 2)).nonzero()[0].mean())
    rows, cols = np.nonzero(truth[index])
    user.click(index, rows[len(rows) // 2], cols[len(rows) // 2], plane=plane)
    assert user.bench.plane is plane
    assert np.flatnonzero(user.slices(plane=plane).any((1, 2))).tolist() == [index]
    user.bench.propagate()
    user.bench.wait()
    assert len(np.flatnonzero(user.slices(plane=plane).any((1, 2)))) > 10


def test_a_moved_and_a_deleted_point_change_the_mask(user: User) -> None:
    user.click(14, *centre(14))
    before = user.slices()[14]
    node = user.bench._works[user.bench.selected].prompts.points(True)
    rows, cols = np.nonzero(TRUTH[14])
    from SAM2Medical3DLib.mrml import point_to_world

    world = point_to_world(user.geometry(), 14, rows.min() + 3, cols[rows.argmin()])
    node.SetNthControlPointPositionWorld(0, world)
    user.bench.wait()
    assert (user.slices()[14] != before).any()
    node.RemoveNthControlPoint(0)
    user.bench.wait()
    assert not user.slices().any()
    user.bench.undo()
    user.bench.wait()
    assert user.slices()[14].any()
    assert node.GetNumberOfControlPoints() == 1


def test_propagation_writes_every_slice(propagated: User) -> None:
    assert dice(propagated.slices(), TRUTH) > 0.95
    assert "slices in" in propagated.bench.message
    states = propagated.bench.slice_states()
    assert states.prompted.tolist() == [s == 8 for s in range(len(TRUTH))]
    assert not np.isnan(states.confidence).any()
    assert not states.stale.any()


def test_slices_fill_in_while_it_runs(make: Callable[..., User]) -> None:
    gate = threading.Semaphore(0)
    user = make(ThresholdPropagator(lambda: gate.acquire(timeout=10)))
    user.click(8, *centre(8))
    user.bench.propagate()
    seen = []
    for _ in range(6):
        gate.release()
        for _ in range(60):
            user.bench.tick()
            threading.Event().wait(0.005)
        seen.append(int(user.slices().any((1, 2)).sum()))
    assert user.bench.is_running
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]
    assert user.bench.progress.total == len(TRUTH) - 1
    assert 3 <= user.bench.progress.done <= 6
    for _ in TRUTH:
        gate.release()
    user.bench.wait()
    assert dice(user.slices(), TRUTH) > 0.95


@pytest.mark.parametrize("keep", [True, False])
def test_cancelling_keeps_or_discards(make: Callable[..., User], keep: bool) -> None:
    gate = threading.Semaphore(0)
    user = make(ThresholdPropagator(lambda: gate.acquire(timeout=10)))
    user.click(8, *centre(8))
    before = user.slices()
    user.bench.propagate()
    for _ in range(5):
        gate.release()
    while user.bench.progress is None or user.bench.progress.done < 3:
        user.bench.tick()
    user.bench.cancel(keep)
    for _ in TRUTH:
        gate.release()
    user.bench.wait()
    assert not user.bench.is_running
    after = user.slices()
    if keep:
        assert 1 < after.any((1, 2)).sum() < LAST - FIRST
        user.bench.undo()
        user.bench.wait()
    np.testing.assert_array_equal(user.slices(), before)
    user.bench.propagate()
    user.bench.wait()
    assert dice(user.slices(), TRUTH) > 0.95


def test_a_correction_changes_only_its_span(propagated: User) -> None:
    user = propagated
    drawn = TRUTH[12].copy()
    drawn[:, : drawn.shape[1] // 2] = False
    user.paint(user.bench.selected, {12: drawn})
    user.bench.wait()
    assert user.bench.slice_states().locked[12]
    before = user.slices()
    np.testing.assert_array_equal(before[12], drawn)
    user.bench.propagate()
    user.bench.wait()
    after = user.slices()
    np.testing.assert_array_equal(after[12], drawn)
    np.testing.assert_array_equal(after[:9], before[:9])


def test_undo_and_redo_restore_every_voxel(propagated: User) -> None:
    user = propagated
    states = [user.slices()]
    drawn = np.roll(TRUTH[12], 7, 1)
    acts = [
        lambda: user.paint(user.bench.selected, {12: drawn, 13: drawn}),
        lambda: user.bench.propagate(),
        lambda: user.click(4, *centre(4)),
        lambda: user.bench.clear(),
    ]
    for act in acts:
        act()
        user.bench.wait()
        states.append(user.slices())
    assert not states[-1].any()
    for expected in reversed(states[:-1]):
        assert user.bench.can_undo
        user.bench.undo()
        user.bench.wait()
        np.testing.assert_array_equal(user.slices(), expected)
    for expected in states[1:]:
        user.bench.redo()
        user.bench.wait()
        np.testing.assert_array_equal(user.slices(), expected)
    assert not user.bench.can_redo


def test_what_was_there_before_is_locked(user: User) -> None:
    drawn = np.zeros_like(TRUTH)
    drawn[10] = TRUTH[10]
    segment = user.add_segment("mine", drawn)
    user.bench.select(segment)
    user.bench.propagate()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices()[10], TRUTH[10])
    assert dice(user.slices(), TRUTH) > 0.9
    assert user.bench.slice_states().locked[10]
    user.bench.undo()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), drawn)
    assert not user.bench.can_undo


def test_a_slice_painted_in_another_view_decides_the_axis(user: User) -> None:
    truth = np.array(user.geometry(Plane.SAGITTAL).to_stack(user.geometry().from_stack(TRUTH)))
    index = int(truth.any((1, 2)).nonzero()[0].mean())
    segment = user.add_segment("mine")
    user.paint(segment, {index: truth[index]}, Plane.SAGITTAL)
    user.bench.select(segment)
    user.bench.propagate()
    user.bench.wait()
    assert user.bench.plane is Plane.SAGITTAL
    np.testing.assert_array_equal(user.slices(plane=Plane.SAGITTAL)[index], truth[index])


def test_nothing_painted_and_nothing_clicked_is_said(user: User) -> None:
    user.bench.add_segment()
    with pytest.raises(UserError, match="There is no prompt"):
        user.bench.propagate()


def test_closing_in_mid_run_keeps_what_came_as_it_is(make: Callable[..., User]) -> None:
    gate = threading.Semaphore(0)
    user = make(ThresholdPropagator(lambda: gate.acquire(timeout=0.2)))
    user.click(8, *centre(8))
    segment = user.bench.selected
    user.bench.propagate()
    for _ in range(4):
        gate.release()
    while user.bench.progress is None or user.bench.progress.done < 2:
        user.bench.tick()
    user.bench.close()
    shown = user.slices(segment)
    user.open()
    user.bench.select(segment)
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), shown)
    assert not user.bench.slice_states().locked.any()
    user.bench.propagate()
    user.bench.wait()
    assert dice(user.slices(), TRUTH) > 0.95


def test_a_box_drawn_in_another_view_is_refused(propagated: User) -> None:
    from SAM2Medical3DLib.mrml import point_to_world
    from SAM2Medical3DLib.mrml.prompts.placing import placing_node

    user = propagated
    before = user.slices()
    user.look_at(40, Plane.CORONAL)
    user.bench.start_tool("box")
    roi = placing_node(user.scene)
    for row, col in ((4, 30), (15, 60)):
        roi.AddControlPointWorld(point_to_world(user.geometry(Plane.CORONAL), 40, row, col))
    user.bench.stop_tool()
    user.bench.wait()
    assert "axial view" in user.bench.message
    assert all(not node.IsA("vtkMRMLMarkupsROINode") for node in prompts_in(user))
    np.testing.assert_array_equal(user.slices(), before)


def test_mask_tool_locks_the_painted_slice(user: User) -> None:
    segment = user.add_segment("mine")
    user.bench.select(segment)
    with pytest.raises(UserError, match="Nothing is painted"):
        user.bench.lock_slice(user.look_at(9))
    user.paint(segment, {9: TRUTH[9]})
    user.bench.lock_slice(user.look_at(9))
    user.bench.wait()
    assert user.bench.slice_states().locked[9]
    np.testing.assert_array_equal(user.slices()[9], TRUTH[9])


def test_painting_during_a_run_is_kept(make: Callable[..., User]) -> None:
    gate = threading.Semaphore(0)
    user = make(ThresholdPropagator(lambda: gate.acquire(timeout=10)))
    user.click(8, *centre(8))
    user.bench.propagate()
    for _ in range(4):
        gate.release()
    while user.bench.progress is None or user.bench.progress.done < 2:
        user.bench.tick()
    drawn = np.roll(TRUTH[16], 5, 0)
    user.paint(user.bench.selected, {16: drawn})
    for _ in TRUTH:
        gate.release()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices()[16], drawn)
    assert user.bench.slice_states().locked[16]


def test_clear_slice_brings_back_what_propagation_left(propagated: User) -> None:
    user = propagated
    before = user.slices()
    user.paint(user.bench.selected, {12: NOTHING})
    user.bench.wait()
    assert not user.slices()[12].any()
    user.bench.clear_slice(user.look_at(12))
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), before)


def test_several_segments_keep_their_own_prompts_and_history(propagated: User) -> None:
    user = propagated
    first, before = user.bench.selected, user.slices()
    second = user.bench.add_segment()
    user.click(14, *centre(14))
    assert user.slices(second).any((1, 2)).nonzero()[0].tolist() == [14]
    np.testing.assert_array_equal(user.slices(first), before)
    user.bench.undo()
    user.bench.wait()
    assert not user.slices(second).any()
    np.testing.assert_array_equal(user.slices(first), before)
    user.bench.select(first)
    assert user.bench.can_undo
    shown = {n.GetName(): n.GetDisplayVisibility() for n in prompts_in(user)}
    assert any(shown.values())


def prompts_in(user: User) -> list:
    nodes = user.scene.GetNodesByClass("vtkMRMLMarkupsNode")
    return [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]


@pytest.mark.parametrize("masking", list(Masking))
def test_other_segments_are_respected(make: Callable[..., User], masking: Masking) -> None:
    user = make(masking=masking)
    block = np.zeros_like(TRUTH)
    block[6:12, 30:60, 30:45] = True
    names = ("open", "hidden", "locked")
    others = {name: user.add_segment(name, block) for name in names}
    user.segmentation.GetDisplayNode().SetSegmentVisibility(others["hidden"], False)
    set_locked(user.segmentation, others["locked"])
    user.bench.add_segment()
    user.click(8, *centre(8))
    user.bench.propagate()
    user.bench.wait()
    found = user.slices()
    for name in ("hidden", "locked"):
        np.testing.assert_array_equal(user.slices(others[name]), block)
    if masking is Masking.OVERLAP:
        np.testing.assert_array_equal(user.slices(others["open"]), block)
        assert (found & block).any()
    elif masking is Masking.OVERWRITE:
        np.testing.assert_array_equal(user.slices(others["open"]), block & ~found)
        assert (found & block).any()
    else:
        np.testing.assert_array_equal(user.slices(others["open"]), block)
        assert not (found & block).any()
    while user.bench.can_undo:
        user.bench.undo()
        user.bench.wait()
    assert not user.slices().any()
    np.testing.assert_array_equal(user.slices(others["open"]), block)
    # What other segments took away of a result is no drawing of the user's.
    assert user.bench.slice_states().locked.sum() == 0


def test_hidden_and_locked_segments_are_refused(propagated: User) -> None:
    user = propagated
    user.segmentation.GetDisplayNode().SetSegmentVisibility(user.bench.selected, False)
    with pytest.raises(UserError, match="hidden"):
        user.bench.propagate()
    with pytest.raises(UserError, match="hidden"):
        user.bench.start_tool("positive")
    user.segmentation.GetDisplayNode().SetSegmentVisibility(user.bench.selected, True)
    set_locked(user.segmentation, user.bench.selected)
    with pytest.raises(UserError, match="locked"):
        user.bench.clear()


def test_direction_and_range_limit_what_is_written(user: User) -> None:
    user.click(8, *centre(8))
    user.bench.propagate(Span(Direction.FORWARD, last=12))
    user.bench.wait()
    assert user.slices().any((1, 2)).nonzero()[0].tolist() == [8, 9, 10, 11, 12]


def test_everything_up_to_date_says_so(propagated: User) -> None:
    propagated.bench.propagate()
    propagated.bench.wait()
    assert "up to date" in propagated.bench.message


def test_work_goes_on_after_the_scene_is_opened_again(propagated: User) -> None:
    user = propagated
    user.paint(user.bench.selected, {12: np.roll(TRUTH[12], 5, 0)})
    user.bench.wait()
    segment, before = user.bench.selected, user.slices()
    user.bench.close()
    user.open()
    user.bench.select(segment)
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), before)
    assert user.bench.slice_states().locked[12]
    assert user.bench.slice_states().prompted[8]
    user.bench.propagate()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices()[12], before[12])
    assert not user.bench.slice_states().stale.any()


def test_edits_made_while_it_was_closed_are_locked(propagated: User) -> None:
    user = propagated
    segment = user.bench.selected
    user.bench.close()
    user.paint(segment, {15: NOTHING})
    user.open()
    user.bench.select(segment)
    user.bench.wait()
    assert user.bench.slice_states().locked[15]
    assert not user.slices()[15].any()


def test_only_negative_points_are_refused_with_a_sentence(user: User) -> None:
    row, col = centre(8)
    user.click(8, row - 30, col, positive=False)
    assert user.bench.is_problem
    assert "positive point" in user.bench.message
    assert not user.slices().any()
    user.click(8, *centre(8))
    assert not user.bench.is_problem


def test_a_point_outside_the_volume_is_named_and_taken_away(user: User) -> None:
    user.click(8, *centre(8))
    before = user.slices()
    node = user.bench._works[user.bench.selected].prompts.points(True)
    node.AddControlPointWorld(900, 900, 900)
    user.bench.wait()
    assert "outside the volume" in user.bench.message
    assert node.GetNumberOfDefinedControlPoints() == 1
    user.click(14, *centre(14))
    assert user.slices()[14].any()
    np.testing.assert_array_equal(user.slices()[8], before[8])


def test_embeddings_do_not_keep_a_volume() -> None:
    import gc
    import weakref

    from blobs import blob_stack
    from SAM2Medical3DLib.models.registry import load_model
    from SAM2Medical3DLib.prompts import Point, Prompts, SlicePrompt
    from SAM2Medical3DLib.propagation.registry import create_propagator

    propagator = create_propagator("radsam", load_model("bundled-radsam", device="cpu"))
    stack = blob_stack()
    gone = weakref.ref(stack.volume)
    prompts = Prompts.single(8, SlicePrompt((Point(*centre(8)),)))
    propagator.predict_slice(stack, prompts, 8)
    propagator.predict_slice(stack, prompts, 8)
    assert propagator.cache.bytes > 0
    misses = propagator.cache.misses
    propagator.predict_slice(stack, prompts, 8)
    assert propagator.cache.misses == misses
    del stack
    gc.collect()
    assert gone() is None
    assert propagator.cache.bytes == 0


def test_oblique_view_is_said_and_can_be_put_right(make: Callable[..., User]) -> None:
    user = make()
    view = user.look_at(8)
    matrix = view.GetSliceToRAS()
    tilt = np.radians(20)
    for row, col, value in ((1, 1, np.cos(tilt)), (2, 1, np.sin(tilt)),
                            (1, 2, -np.sin(tilt)), (2, 2, np.cos(tilt))):  # fmt: skip
        matrix.SetElement(row, col, value)
    view.UpdateMatrices()
    user.bench.add_segment()
    with pytest.raises(UserError, match="oblique"):
        user.bench.lock_slice(view)


@pytest.mark.parametrize("what", ["segment", "segmentation", "volume", "scene"])
def test_removing_things_in_mid_run_ends_it(make: Callable[..., User], what: str) -> None:
    gate = threading.Semaphore(0)
    user = make(ThresholdPropagator(lambda: gate.acquire(timeout=10)))
    user.click(8, *centre(8))
    user.bench.propagate()
    for _ in range(3):
        gate.release()
    while user.bench.progress is None or user.bench.progress.done < 1:
        user.bench.tick()
    if what == "segment":
        user.segmentation.GetSegmentation().RemoveSegment(user.bench.selected)
    elif what == "scene":
        user.scene.Clear(0)
    else:
        user.scene.RemoveNode(getattr(user, what))
    for _ in TRUTH:
        gate.release()
    for _ in range(50):
        user.bench.tick()
        threading.Event().wait(0.005)
    assert user.bench.is_open == (what == "segment")
    assert not user.worker.busy or what != "segment"


def test_failure_in_mid_run_loses_nothing(make: Callable[..., User]) -> None:
    calls = iter(range(1000))

    def fail() -> None:
        if next(calls) == 5:
            raise MemoryError("no memory left")

    user = make(ThresholdPropagator(fail))
    user.click(8, *centre(8))
    before = user.slices()
    user.bench.propagate()
    user.bench.wait()
    np.testing.assert_array_equal(user.slices(), before)
    assert "no memory left" in user.bench.message
    user.bench.propagate()
    user.bench.wait()
    assert dice(user.slices(), TRUTH) > 0.95


def test_go_to_central_and_doubtful_slices(propagated: User) -> None:
    from SAM2Medical3DLib.mrml.slice_views import view_slice

    user = propagated
    view = user.look_at(0)
    index = user.bench.go_to_central_slice(view)
    areas = user.slices().sum((1, 2))
    assert areas[index] == areas.max()
    found = user.bench.go_to_next_doubtful(view)
    assert found % 5 == 0
    assert view_slice(view, user.geometry()) == found


def test_a_volume_that_moves_takes_its_prompts_along(propagated: User) -> None:
    from mrml_scenes import put_under

    user = propagated
    before = user.slices()
    shift = np.eye(4)
    shift[:3, 3] = 11, -7, 5
    put_under(user.volume, shift)
    user.bench.wait()
    np.testing.assert_array_equal(user.bench.slice_states().prompted.nonzero()[0], [8])
    assert not user.bench.is_problem
    user.bench.propagate()
    user.bench.wait()
    assert before.any()


def test_no_observer_is_left_behind(propagated: User) -> None:
    user = propagated
    user.bench.close()
    ticks = []
    user.bench._changed = lambda: ticks.append(1)
    user.segmentation.GetSegmentation().AddEmptySegment()
    user.volume.Modified()
    for node in prompts_in(user):
        node.RemoveAllControlPoints()
    assert not ticks


def test_real_model_from_click_to_corrected_volume(make: Callable[..., User]) -> None:
    from SAM2Medical3DLib.models.registry import load_model
    from SAM2Medical3DLib.propagation.lazy import LazyPropagator
    from SAM2Medical3DLib.propagation.registry import create_propagator

    lazy = LazyPropagator(
        lambda: create_propagator("radsam", load_model("bundled-radsam", device="cpu"))
    )
    user = make(lazy)
    assert not lazy.is_loaded
    user.click(8, *centre(8))
    assert lazy.is_loaded
    assert dice(user.slices()[8], TRUTH[8]) > 0.85
    user.bench.propagate()
    user.bench.wait()
    assert dice(user.slices()[:12], TRUTH[:12]) > 0.85
