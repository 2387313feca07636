"""Takes the pictures of the user guide (docs/images/panel-*.png) in 3D Slicer, on the phantom.

    Slicer --no-splash --ignore-slicerrc --additional-module-paths SAM2Medical3D \
        --python-script docs/guide_pictures.py docs/images

The Slicer needs what the module's first use installs (PyTorch, ``sam2``). The screen is grabbed:
leave the mouse alone meanwhile. ``panel-consent.png`` shows what a Slicer without these asks; it is
grabbed by hand.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk
from scipy import ndimage

SIZE = (1500, 1000)
WIDTH = 1200  # of a picture of the whole window


class Guide:
    """The phantom in the module's panel, and a user's acts on it."""

    def __init__(self, folder: Path) -> None:
        from SAM2Medical3DLib.application.sample_data import load_phantom
        from SAM2Medical3DLib.phantom import abdomen_phantom

        self.folder = folder
        self.window = slicer.util.mainWindow()
        self.window.move(0, 0)
        self.window.resize(*SIZE)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        slicer.util.selectModule("SAM2Medical3D")
        pause(0.5)
        self.volume = load_phantom()[0]
        phantom = abdomen_phantom()
        self.truths = {name: phantom.labels == label for label, name in phantom.names.items()}
        self.dock = slicer.util.findChild(self.window, "PanelDockWidget")
        self.window.resizeDocks([self.dock], [400], qt.Qt.Horizontal)
        slicer.util.findChild(self.window, "DataProbeCollapsibleWidget").collapsed = True
        slicer.util.resetSliceViews()
        self.panel = slicer.modules.sam2medical3d.widgetRepresentation().self().panel
        self.ui = self.panel.ui
        pause(1)

    def save(self, name: str, *shown: object) -> None:
        """The part of the screen that some widgets take, or the whole window, scaled down."""
        for view in ("Red", "Green", "Yellow"):
            slicer.app.layoutManager().sliceWidget(view).sliceView().forceRender()
        pause(0.2)
        corner = self.window.mapToGlobal(qt.QPoint(0, 0))
        area = qt.QRect(corner.x(), corner.y(), self.window.width, self.window.height)
        if shown:
            area = _area(shown[0])
            for widget in shown[1:]:
                area = area.united(_area(widget))
        screen = slicer.app.primaryScreen
        screen = screen() if callable(screen) else screen
        picture = screen.grabWindow(0, area.x(), area.y(), area.width(), area.height())
        if not shown:
            picture = picture.scaledToWidth(WIDTH, qt.Qt.SmoothTransformation)
        if not picture.save(str(self.folder / f"panel-{name}.png")):
            raise OSError(f"The picture 'panel-{name}.png' cannot be written to {self.folder}.")
        print(f"panel-{name}.png", flush=True)

    def add_segment(self, name: str) -> None:
        self.ui.addSegmentButton.click()
        segmentation = self.panel.bench.segmentation_node.GetSegmentation()
        segmentation.GetSegment(self.panel.bench.selected).SetName(name)
        pause(0.3)

    def show(self, *voxel: float) -> None:
        """A (k, j, i) voxel in all slice views."""
        for view in ("Red", "Green", "Yellow"):
            node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
            node.JumpSliceByOffsetting(*self._world(*voxel))
        pause(0.3)

    def click(self, view: str, *voxel: float) -> None:
        """With the mouse at a (k, j, i) voxel of a slice view."""
        mouse = self.move(view, *voxel)
        mouse.LeftButtonPressEvent()
        mouse.LeftButtonReleaseEvent()
        pause(0.2)

    def move(self, view: str, *voxel: float) -> object:
        """The mouse there; the view's interactor."""
        widget = slicer.app.layoutManager().sliceWidget(view)
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(widget.mrmlSliceNode().GetXYToRAS(), inverse)
        x, y = inverse.MultiplyPoint([*self._world(*voxel), 1])[:2]
        mouse = widget.interactorStyle().GetInteractor()
        for offset in (3, 0):
            mouse.SetEventInformation(round(x) - offset, round(y) - offset)
            mouse.MouseMoveEvent()
            pause(0.1)
        return mouse

    def propagate(self) -> None:
        self.ui.propagateButton.click()
        pause(0.3)
        self.idle()

    def idle(self) -> None:
        """Until nothing is computed any more."""
        pause(0.5)
        until(lambda: not self.panel.bench.is_busy)
        pause(0.3)

    def found(self) -> np.ndarray:
        """(K, J, I) bool: the selected segment."""
        from SAM2Medical3DLib.mrml import read_segment

        bench = self.panel.bench
        return read_segment(bench.segmentation_node, bench.selected, bench.volume_node)

    def _world(self, k: float, j: float, i: float) -> list[float]:
        matrix = vtk.vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        return list(matrix.MultiplyPoint([i, j, k, 1])[:3])


def take(guide: Guide) -> None:
    """The pictures, in the order of the guide."""
    ui, layout = guide.ui, slicer.app.layoutManager()
    red = layout.sliceWidget("Red")
    guide.save("open")
    ui.noticeButton.click()

    truth = guide.truths["right kidney"]
    middle = _middle(truth)
    j, i = np.nonzero(truth[middle])
    guide.show(middle, j.mean(), i.mean())
    guide.add_segment("right kidney")
    ui.boxButton.click()
    pause(0.3)
    guide.click("Red", middle, j.min() - 3, i.min() - 3)
    guide.move("Red", middle, j.max(), i.max())
    guide.save("box", guide.dock, red)
    guide.click("Red", middle, j.max() + 3, i.max() + 3)
    until(lambda: guide.found().any())
    guide.idle()
    ui.negativeButton.click()
    pause(0.2)
    guide.click("Red", middle, *_deepest(guide.found()[middle] & ~truth[middle]))
    guide.idle()
    guide.save("live", red)
    ui.negativeButton.click()

    bench = guide.panel.bench
    ui.propagateButton.click()
    until(lambda: bench.progress is not None and bench.progress.done > 13)
    guide.save("run")
    guide.idle()

    worst = _worst(guide.found(), truth, middle)
    guide.panel.strip._go_to(worst)
    missed = truth[worst] ^ guide.found()[worst]
    spot = _deepest(missed)
    tool = ui.positiveButton if truth[worst][spot] else ui.negativeButton
    tool.click()
    pause(0.2)
    guide.click("Red", worst, *spot)
    guide.idle()
    tool.click()
    guide.save("correct", guide.dock, red)
    guide.propagate()

    ui.whatSection.collapsed = True
    ui.handSection.collapsed = False
    pause(0.8)
    hand = slicer.util.findChildren(ui.handSection, className="qMRMLSegmentEditorWidget")[0]
    hand.setActiveEffectByName("Paint")
    hand.activeEffect().setCommonParameter("BrushRelativeDiameter", "2")
    scroll = _scroll_area(guide.panel.form)
    pause(0.5)
    scroll.verticalScrollBar().setValue(scroll.verticalScrollBar().maximum)
    worst = _worst(guide.found(), truth, middle)
    guide.panel.strip._go_to(worst)
    pause(0.3)
    guide.click("Red", worst, *_deepest(truth[worst] & ~guide.found()[worst]))
    guide.idle()
    guide.save("hand", guide.dock, red)
    hand.setActiveEffectByName("")
    ui.handSection.collapsed = True
    ui.whatSection.collapsed = False
    scroll.verticalScrollBar().setValue(0)
    guide.propagate()

    truth = guide.truths["spleen"]
    row = _middle(truth, axis=1)
    k, i = np.nonzero(truth[:, row])
    guide.show(k.mean(), row, i.mean())
    guide.add_segment("spleen")
    ui.boxButton.click()
    pause(0.3)
    guide.click("Green", k.min() - 1, row, i.min() - 3)
    guide.click("Green", k.max() + 1, row, i.max() + 3)
    guide.idle()
    guide.propagate()
    bench.segmentation_node.CreateClosedSurfaceRepresentation()
    pause(2)
    view = layout.threeDWidget(0).threeDView()
    view.mrmlViewNode().SetBoxVisible(False)
    view.mrmlViewNode().SetAxisLabelsVisible(False)
    view.resetFocalPoint()
    view.resetCamera()
    pause(1)
    guide.save("two")


def pause(seconds: float) -> None:
    """Run the application's event loop for so long."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end)


def until(done: Callable[[], bool], seconds: float = 300) -> None:
    """Run the application's event loop until something is so."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen in time")
        slicer.app.processEvents()
        time.sleep(0.005)


def _area(widget: object) -> object:
    corner = widget.mapToGlobal(qt.QPoint(0, 0))
    return qt.QRect(corner.x(), corner.y(), widget.width, widget.height)


def _scroll_area(widget: object) -> object:
    while widget.className() != "QScrollArea":
        widget = widget.parent() if callable(widget.parent) else widget.parent
    return widget


def _middle(mask: np.ndarray, axis: int = 0) -> int:
    others = tuple(a for a in range(3) if a != axis)
    return int(np.median(np.flatnonzero(mask.any(others))))


def _deepest(mask: np.ndarray) -> tuple[int, int]:
    depth = ndimage.distance_transform_edt(mask)
    return tuple(int(n) for n in np.unravel_index(depth.argmax(), depth.shape))


def _worst(found: np.ndarray, truth: np.ndarray, middle: int, reach: int = 14) -> int:
    """The slice of the lowest Dice among those around the middle one."""
    shown = [n for n in range(middle - reach, middle + reach) if truth[n].any() and n != middle]
    return min(shown, key=lambda n: (found[n] & truth[n]).sum() / (found[n].sum() + truth[n].sum()))


def main() -> int:
    try:
        folder = Path(sys.argv[-1]) if len(sys.argv) > 1 else Path("docs/images")
        take(Guide(folder))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    slicer.util.exit(main())
