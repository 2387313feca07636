"""What the module tests inside Slicer: logic without torch, then the panel with real events."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

import numpy as np
import slicer

from ..mrml import grid_from_node, point_to_world, read_segment
from ..mrml.prompts.placing import placing_node
from ..mrml.segments.labelmaps import labelmap_from_mask
from ..mrml.slice_views import show_slice
from ..prompts import Prompts
from ..propagation import ObjectResult, SliceResult, Span
from ..propagation.base import EVERYWHERE
from ..volume import SliceStack

_LONGEST_GAP_S = 0.1


class BrightPixels:
    """Stands for a model: finds what is bright, on every slice."""

    def predict_slice(
        self, stack: SliceStack, prompts: Prompts, index: int, *, views: object = None
    ) -> SliceResult:
        return SliceResult(index, {o: self._found(stack, index) for o in prompts.objects})

    def propagate(
        self,
        stack: SliceStack,
        prompts: Prompts,
        span: Span = EVERYWHERE,
        *,
        with_logits: bool = False,
        views: object = None,
    ) -> Iterator[SliceResult]:
        first, last = span.limits(len(stack))
        for index in range(first, last + 1):
            time.sleep(0.005)
            yield SliceResult(index, {o: self._found(stack, index) for o in prompts.objects})

    def _found(self, stack: SliceStack, index: int) -> ObjectResult:
        return ObjectResult(stack.frame(index) > 128, 0.9, 0.9)


def run(case: TestCase) -> None:
    """All tests, one after another, each on an empty scene."""
    tests: list[Callable[[TestCase], None]] = [test_click_to_segment, test_correction_and_undo]
    if hasattr(slicer, "app") and slicer.app.layoutManager():
        layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
        slicer.app.layoutManager().setLayout(layout)
        tests += [test_scene_is_saved_and_opened_again, test_panel, test_nodes_go_in_mid_run,
                  test_work_goes_on_while_the_window_waits]  # fmt: skip
        if importlib.util.find_spec("torch") is not None:
            tests.append(test_window_stays_responsive)
    for test in tests:
        slicer.mrmlScene.Clear()
        print(f"{test.__name__}: {test.__doc__}")
        test(case)
    print(f"{len(tests)} tests passed.")


def test_click_to_segment(case: TestCase) -> None:
    """A point gives a live mask on its slice, propagation all slices; other segments stay."""
    logic, bench, truth = _opened()
    try:
        _click(bench, 5)
        case.assertEqual(_slices(bench), [5])
        bench.propagate()
        bench.wait()
        np.testing.assert_array_equal(_voxels(bench), truth)
        case.assertEqual(bench.segmentation_node.GetSegmentation().GetNumberOfSegments(), 1)
    finally:
        logic.close()


def test_correction_and_undo(case: TestCase) -> None:
    """A slice changed by hand is locked and comes back; undo restores every voxel."""
    logic, bench, truth = _opened()
    try:
        _click(bench, 5)
        bench.propagate()
        bench.wait()
        drawn = truth.copy()
        drawn[7] = False
        _paint(bench, drawn)
        bench.wait()
        case.assertTrue(bench.slice_states().locked[7])
        bench.propagate()
        bench.wait()
        case.assertFalse(_voxels(bench)[7].any())
        while bench.can_undo:
            bench.undo()
            bench.wait()
        case.assertFalse(_voxels(bench).any())
    finally:
        logic.close()


def test_scene_is_saved_and_opened_again(case: TestCase) -> None:
    """After an MRB was saved and opened, prompts and locked slices are there and work goes on."""
    logic, bench, truth = _opened()
    _click(bench, 5)
    bench.propagate()
    bench.wait()
    drawn = truth.copy()
    drawn[7] = False
    _paint(bench, drawn)
    bench.wait()
    segment = bench.selected
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "case.mrb")
        case.assertTrue(slicer.util.saveScene(path))
        logic.close()
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(path)
    logic = _logic()
    try:
        parameters = logic.getParameterNode()
        case.assertEqual(parameters.segment, segment)
        bench = logic.follow(parameters)
        bench.wait()
        states = bench.slice_states()
        case.assertTrue(states.locked[7])
        case.assertTrue(states.prompted[5])
        bench.propagate()
        bench.wait()
        case.assertFalse(_voxels(bench)[7].any())
        case.assertTrue(_voxels(bench)[4].any())
    finally:
        logic.close()


def test_panel(case: TestCase) -> None:
    """The buttons of the panel do what they say, and the panel shows what there is."""
    _add_volume()
    panel = _panel()
    with _stand_in(panel):
        ui = panel.ui
        ui.positiveButton.click()
        _process(lambda: panel.bench is not None and panel.bench.tool() == "positive")
        case.assertTrue(ui.positiveButton.checked)
        _place(panel.bench, 5)
        ui.positiveButton.click()
        _process(lambda: panel.bench.tool() is None and _slices(panel.bench) == [5])
        _process(lambda: ui.propagateButton.enabled)
        ui.propagateButton.click()
        _process(lambda: panel.bench.is_running)
        _process(lambda: not panel.bench.is_busy)
        case.assertEqual(len(_slices(panel.bench)), 12)
        _process(lambda: ui.undoButton.enabled)
        ui.undoButton.click()
        _process(lambda: _slices(panel.bench) == [5])
        ui.redoButton.click()
        _process(lambda: len(_slices(panel.bench)) == 12)
        ui.clearButton.click()
        _process(lambda: not _slices(panel.bench))


def test_nodes_go_in_mid_run(case: TestCase) -> None:
    """Volume, segmentation or scene go while slices are coming: no error, nothing is left."""
    for gone in ("volume", "segmentation", "scene"):
        slicer.mrmlScene.Clear()
        _add_volume()
        panel = _panel()
        with _stand_in(panel):
            panel.ui.positiveButton.click()
            _process(lambda p=panel: p.bench is not None and p.bench.tool() == "positive")
            _place(panel.bench, 5)
            _process(lambda p=panel: _slices(p.bench) == [5])
            panel.ui.propagateButton.click()
            _process(lambda p=panel: p.bench.progress is not None and p.bench.progress.done > 1)
            bench = panel.bench
            if gone == "scene":
                slicer.mrmlScene.Clear()
            else:
                slicer.mrmlScene.RemoveNode(getattr(bench, f"{gone}_node"))
            case.assertFalse(bench.is_open)
            _process(lambda p=panel: not p.logic.worker.busy)
            case.assertIsNone(panel.bench)


def test_work_goes_on_while_the_window_waits(case: TestCase) -> None:
    """The worker's thread gets its share although nobody runs Python in the window."""
    panel = _panel()
    worker, steps, begun = panel.logic.worker, 1000, time.monotonic()
    worker.submit(lambda ticket: [time.sleep(0.001) for _ in range(steps)])
    panel._wake()
    _process(lambda: not worker.busy, 120)
    took = time.monotonic() - begun
    print(f"{steps} pauses of a millisecond in the thread: {took:.1f} s")
    case.assertLess(took, 5)


def test_window_stays_responsive(case: TestCase) -> None:
    """While the bundled model propagates, the event loop is never blocked for 100 ms."""
    import qt

    from .sample_data import load_phantom

    (volume,) = load_phantom()[:1]
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    panel = _panel()
    panel.ui.positiveButton.click()
    _process(lambda: panel.bench is not None and panel.bench.tool() == "positive")
    _place(panel.bench, 45, (82, 169))
    panel.ui.positiveButton.click()
    _process(lambda: not panel.bench.is_busy and bool(_slices(panel.bench)), 120)
    gaps, last = [], [time.perf_counter()]

    def beat() -> None:
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = qt.QTimer()
    timer.setInterval(1)
    timer.connect("timeout()", beat)
    panel.ui.propagateButton.click()
    last[0] = time.perf_counter()
    timer.start()
    _process(lambda: not panel.bench.is_running, 300)
    timer.stop()
    print(
        f"event loop while propagating ({panel.bench.message}): longest gap {max(gaps) * 1e3:.0f} "
        f"ms, of {len(gaps)} the 99th percentile {np.percentile(gaps, 99) * 1e3:.0f} ms"
    )
    case.assertLess(max(gaps), _LONGEST_GAP_S)


# A volume with a bright block, and a user's acts on it


def _logic() -> object:
    from SAM2Medical3D import SAM2Medical3DLogic

    return SAM2Medical3DLogic(lambda *chosen: BrightPixels())


def _add_volume() -> tuple[object, np.ndarray]:
    truth = np.zeros((12, 40, 48), bool)
    truth[:, 10:30, 12:36] = True
    voxels = np.where(truth, 200, 20).astype(np.uint8)
    # I to the patient's left, J to the back: rows and columns as a slice view shows them.
    ijk_to_ras = np.diag([-1.0, -1.0, 3.0, 1.0])
    return slicer.util.addVolumeFromArray(voxels, ijk_to_ras), truth


def _opened() -> tuple[object, object, np.ndarray]:
    logic = _logic()
    parameters = logic.getParameterNode()
    parameters.volume, truth = _add_volume()
    parameters.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    parameters.segmentation.CreateDefaultDisplayNodes()
    bench = logic.follow(parameters)
    parameters.segment = bench.add_segment()
    return logic, bench, truth


def _place(bench: object, index: int, pixel: tuple[float, float] = (20, 20)) -> None:
    """A control point on an axial slice, as a click leaves it in the node that is placed."""
    geometry = bench.stack_geometry()
    for node in bench.slice_nodes():
        if node.GetOrientation() == "Axial":
            show_slice(node, geometry, index)
    placing_node(slicer.mrmlScene).AddControlPointWorld(point_to_world(geometry, index, *pixel))


def _click(bench: object, index: int) -> None:
    bench.start_tool("positive")
    _place(bench, index)
    bench.stop_tool()
    bench.wait()


def _paint(bench: object, mask: np.ndarray) -> None:
    """Replace the segment by a (K, J, I) mask as Segment Editor does."""
    grid = grid_from_node(bench.volume_node, bench.segmentation_node)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    labelmap = labelmap_from_mask(mask, grid)
    logic.SetBinaryLabelmapToSegment(
        labelmap, bench.segmentation_node, bench.selected, logic.MODE_REPLACE
    )


def _voxels(bench: object) -> np.ndarray:
    return read_segment(bench.segmentation_node, bench.selected, bench.volume_node)


def _slices(bench: object) -> list[int]:
    if bench is None or bench.selected is None:
        return []
    return np.flatnonzero(_voxels(bench).any((1, 2))).tolist()


def _panel() -> object:
    slicer.util.selectModule("SAM2Medical3D")
    slicer.app.processEvents()
    return slicer.modules.sam2medical3d.widgetRepresentation().self().panel


class _stand_in:
    """The panel's logic without torch, for as long as a test takes."""

    def __init__(self, panel: object) -> None:
        self._panel, self._real = panel, panel.logic._createPropagator

    def __enter__(self) -> None:
        self._panel.logic.forgetModels()
        self._panel.logic._createPropagator = lambda *chosen: BrightPixels()
        self._panel.models.ready = True

    def __exit__(self, *_: object) -> None:
        self._panel.logic._createPropagator = self._real
        self._panel.logic.forgetModels()
        self._panel.models.ready = False


def _process(until: Callable[[], bool], seconds: float = 20.0) -> None:
    """Run an event loop until something is so.

    As in an application that nobody scripts, it keeps Python's interpreter while it waits: a
    loop written in Python would let other threads run that otherwise stand still.
    """
    import qt

    loop, timer, end = qt.QEventLoop(), qt.QTimer(), time.monotonic() + seconds

    def look() -> None:
        if until() or time.monotonic() > end:
            loop.quit()

    timer.setInterval(20)
    timer.connect("timeout()", look)
    timer.start()
    if not until():
        loop.exec_()
    timer.stop()
    if not until():
        raise AssertionError("it did not happen in time")
