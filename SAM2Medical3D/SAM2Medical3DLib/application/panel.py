"""What the widgets of the panel do: calls to the workbench, and its words and numbers shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ..errors import UserError
from ..mrml.active_view import ActiveView
from ..mrml.nodes import nodes_of_class
from ..mrml.observers import Observers
from ..mrml.prompts.box_drag import BoxDrag
from ..mrml.segments.segment_rules import is_locked, set_locked
from ..mrml.slice_views import rotate_to_volume, view_plane, view_slice
from .hand_tools import HandTools
from .models_section import ModelsSection
from .notice import notice_is_due, notice_text, remember_notice
from .repaints import Repaints
from .shortcuts import Shortcuts
from .status import StatusLine
from .strip import ConfidenceStrip

_TICK_MS = 2  # the worker's thread runs in our pauses only: see Worker.give_way
_REFRESH_S = 0.2  # between two looks at a run under way
_MODIFIED = vtk.vtkCommand.ModifiedEvent


class Panel:
    """Connects the form made in Qt Designer with a logic.

    Args:
        form: the top widget of the form.
        ui: its named widgets.
        logic: the module's logic.
        resource: gives the path of a file in the module's resources.
    """

    def __init__(
        self, form: qt.QWidget, ui: object, logic: object, resource: Callable[[str], str]
    ) -> None:
        self.form, self.ui, self.logic = form, ui, logic
        self._parameters = None
        self._gui_tag = None
        self._stale = True
        form.setMRMLScene(slicer.mrmlScene)
        self._parameter_observers, self._scene_observers = Observers(), Observers()
        self.view = ActiveView(slicer.mrmlScene)
        self.box_drag = BoxDrag(slicer.mrmlScene)
        self.strip = ConfidenceStrip(self._go_to_slice, ui.stripHolder)
        ui.stripHolder.layout().addWidget(self.strip)
        self.hand = HandTools(ui.handSection, self._on_hand_tool)
        self.models = ModelsSection(ui, logic, Path(resource("requirements.txt")), self._say)
        ui.noticeLabel.text = notice_text()
        ui.noticeFrame.visible = notice_is_due()
        ui.noticeButton.connect("clicked()", self._notice_read)
        self.timer = qt.QTimer(form)
        self.timer.setInterval(_TICK_MS)
        self.timer.connect("timeout()", self._tick)
        logic.changed = self._wake
        self._connect()
        self.shortcuts = Shortcuts(self._commands(), ui)
        self._observe_place_mode()
        self._add_icons(resource)
        self.status = StatusLine(ui)
        self.repaints = Repaints()
        self._refreshed = 0.0
        self._refresh()

    def close(self) -> None:
        """Leave nothing behind: no timer, shortcut, observer or tool."""
        self.timer.stop()
        self.logic.changed = lambda: None
        self.repaints.set_gentle(False)
        self.use(None)
        self.shortcuts.close()
        self._scene_observers.clear()
        self.view.close()
        self.box_drag.close()
        self.models.close()
        self.hand.close()

    def use(self, parameters: object | None) -> None:
        """Show and follow a parameter node; None for none."""
        if self._parameters is not None:
            self._parameters.disconnectGui(self._gui_tag)
            self._parameter_observers.clear()
        self._parameters = parameters
        if parameters is not None:
            self._gui_tag = parameters.connectGui(self.ui)
            node = parameters.parameterNode
            self._parameter_observers.add(node, _MODIFIED, self._follow)
            self._choose_volume()
        self.models.use(parameters)
        self._follow()

    def setActive(self, active: bool) -> None:
        """Shortcuts work, and tools may be used, only while the module is shown."""
        self.shortcuts.set_enabled(active)
        if not active:
            self.hand.stop()
            if self.bench is not None:
                self.bench.stop_tool()
        self._wake()

    @property
    def bench(self) -> object | None:
        """The workbench, where volume and segmentation are chosen."""
        return self.logic.workbench

    # Widgets to workbench

    def _notice_read(self) -> None:
        remember_notice()
        self.ui.noticeFrame.visible = False

    def _connect(self) -> None:
        ui = self.ui
        for kind, button in self._tools().items():
            button.connect("clicked(bool)", lambda on, k=kind: self._tool(k, on))
        clicked = {
            ui.maskButton: self._lock_slice,
            ui.clearSliceButton: self._clear_slice,
            ui.clearButton: self._clear,
            ui.centralButton: self._central,
            ui.rotateButton: self._rotate,
            ui.propagateButton: self._propagate,
            ui.doubtfulButton: self._next_doubtful,
            ui.undoButton: self._undo,
            ui.redoButton: self._redo,
            ui.addSegmentButton: self._add_segment,
            ui.removeSegmentButton: self._remove_segment,
        }
        for button, act in clicked.items():
            button.connect("clicked()", act)
        ui.lockSegmentButton.connect("clicked(bool)", self._lock_segment)
        ui.limitCheckBox.connect("clicked(bool)", self._limit)
        rows = slicer.util.findChild(ui.segmentsTable, "SegmentsTable")
        rows.connect("clicked(QModelIndex)", self._on_segment_selected)
        rows.selectionModel().connect(
            "currentRowChanged(QModelIndex,QModelIndex)", self._on_segment_selected
        )
        menu = qt.QMenu(ui.cancelButton)
        menu.addAction(_("Keep the slices that have come"), lambda: self._cancel(True))
        menu.addAction(_("Discard them"), lambda: self._cancel(False))
        ui.cancelButton.setMenu(menu)
        ui.cancelButton.connect("clicked()", lambda: self._cancel(True))
        self._cancel_menu = menu

    def _tools(self) -> dict[str, object]:
        ui = self.ui
        return {"positive": ui.positiveButton, "negative": ui.negativeButton, "box": ui.boxButton}

    def _commands(self) -> list[tuple[str, object, Callable[[], None]]]:
        """Shortcut, the button that says it, and what it does."""
        ui = self.ui
        return [
            ("Q", ui.positiveButton, lambda: self._toggle("positive")),
            ("W", ui.negativeButton, lambda: self._toggle("negative")),
            ("E", ui.boxButton, lambda: self._toggle("box")),
            ("D", ui.maskButton, self._lock_slice),
            ("Shift+X", ui.clearSliceButton, self._clear_slice),
            ("C", ui.centralButton, self._central),
            ("P", ui.propagateButton, self._propagate),
            ("Shift+P", ui.cancelButton, lambda: self._cancel(True)),
            ("N", ui.doubtfulButton, self._next_doubtful),
            ("Ctrl+Z", ui.undoButton, self._undo),
            ("Ctrl+Y", ui.redoButton, self._redo),
            ("Esc", None, self._escape),
        ]

    def _do(self, act: Callable[[object], object]) -> None:
        """Call the workbench, and show what it refuses; what was said before has been read."""
        self._forget_messages()
        try:
            if self.bench is None:
                self._make_segmentation()
            if self.bench is None:
                raise UserError(_("Select a volume first."))
            act(self.bench)
        except UserError as error:
            self._say(str(error))
        self._wake()

    def _tool(self, kind: str, on: bool) -> None:
        if not on:
            self._escape()
        elif self.models.ensure_packages():
            self.hand.stop()
            self._do(lambda bench: bench.start_tool(kind))
            self._remember_segment()
        self._wake()

    def _toggle(self, kind: str) -> None:
        self._tool(kind, self.bench is None or self.bench.tool() != kind)

    def _escape(self) -> None:
        self._forget_messages()
        self.hand.stop()
        if self.bench is not None:
            self.bench.stop_tool()
        self._wake()

    def _lock_slice(self) -> None:
        self._do(lambda bench: bench.lock_slice(self.view.node))

    def _clear_slice(self) -> None:
        self._do(lambda bench: bench.clear_slice(self.view.node))

    def _clear(self) -> None:
        self._do(lambda bench: bench.clear())

    def _central(self) -> None:
        self._do(lambda bench: bench.go_to_central_slice(self.view.node))

    def _rotate(self) -> None:
        bench = self.bench
        if bench is not None and bench.oblique_view is not None:
            rotate_to_volume(bench.oblique_view, bench.volume_node)
            bench.oblique_view = None
        self._wake()

    def _propagate(self) -> None:
        if self.models.ensure_packages():
            self.hand.stop()
            self._do(lambda bench: bench.propagate(self.logic.span(self._parameters)))

    def _cancel(self, keep: bool) -> None:
        if self.bench is not None:
            self.bench.cancel(keep)

    def _next_doubtful(self) -> None:
        self._do(lambda bench: bench.go_to_next_doubtful(self.view.node))

    def _go_to_slice(self, index: int) -> None:
        self._do(lambda bench: bench.go_to_slice(index))

    def _undo(self) -> None:
        self._do(lambda bench: bench.undo())

    def _redo(self) -> None:
        self._do(lambda bench: bench.redo())

    # Segments

    def _choose_volume(self) -> None:
        """Without a choice, the volume that the views show is what the user means."""
        parameters, scene = self._parameters, slicer.mrmlScene
        if parameters is None or parameters.volume is not None or scene.IsBatchProcessing():
            return
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        shown = scene.GetNodeByID(selection.GetActiveVolumeID() or "") if selection else None
        volume = shown or scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        if volume is not None and volume.IsA("vtkMRMLScalarVolumeNode"):
            parameters.volume = volume

    def _make_segmentation(self) -> None:
        parameters = self._parameters
        if parameters is None or parameters.volume is None or parameters.segmentation is not None:
            return
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(parameters.volume)
        node.SetAndObserveTransformNodeID(parameters.volume.GetTransformNodeID())
        parameters.segmentation = node
        self._follow()

    def _add_segment(self) -> None:
        self._do(lambda bench: bench.add_segment())
        self._remember_segment()

    def _remove_segment(self) -> None:
        bench = self.bench
        self._forget_messages()
        if bench is not None and bench.selected is not None:
            bench.segmentation_node.GetSegmentation().RemoveSegment(bench.selected)

    def _lock_segment(self, locked: bool) -> None:
        bench = self.bench
        self._forget_messages()
        if bench is not None and bench.selected is not None:
            set_locked(bench.segmentation_node, bench.selected, locked)
        self._wake()

    def _on_segment_selected(self, *_: object) -> None:
        ids = self.ui.segmentsTable.selectedSegmentIDs()
        if self._parameters is not None and len(ids) == 1:
            self._parameters.segment = ids[0]

    def _remember_segment(self) -> None:
        """The workbench may have made a segment."""
        bench = self.bench
        if bench is not None and self._parameters is not None and bench.selected:
            self._parameters.segment = bench.selected
            if list(self.ui.segmentsTable.selectedSegmentIDs()) != [bench.selected]:
                self.ui.segmentsTable.setSelectedSegmentIDs([bench.selected])

    def _on_hand_tool(self) -> None:
        """A tool of Segment Editor was taken: points are not placed at the same time."""
        if self.bench is not None:
            self.bench.stop_tool()

    # Workbench to widgets

    def _follow(self) -> None:
        """The choices have changed."""
        if self._parameters is None:
            return
        try:
            bench = self.logic.follow(self._parameters)
        except UserError as error:
            self.logic.closeWorkbench()
            self._say(str(error))
            bench = None
        self.hand.show_segment(
            self._parameters.segmentation, self._parameters.volume,
            bench.selected if bench is not None else None,
        )  # fmt: skip
        self.ui.show3DButton.setSegmentationNode(self._parameters.segmentation)
        if bench is not None and bench.selected:
            self._remember_segment()
        self._wake()

    def _observe_place_mode(self) -> None:
        scene = slicer.mrmlScene
        for name in ("vtkMRMLInteractionNodeSingleton", "vtkMRMLSelectionNodeSingleton"):
            node = scene.GetNodeByID(name)
            if node is not None:
                self._scene_observers.add(node, _MODIFIED, self._wake)
        self._scene_observers.add(scene, scene.NodeAddedEvent, self._wake)
        for node in nodes_of_class(scene, "vtkMRMLSliceNode"):
            self._scene_observers.add(node, _MODIFIED, self._wake)
        layout = slicer.app.layoutManager()
        for name in layout.sliceViewNames() if layout is not None else ():
            widget = layout.sliceWidget(name)
            self.box_drag.watch(widget.sliceView().interactor(), widget.mrmlSliceNode())

    def _wake(self) -> None:
        self._stale = True
        if not self.timer.isActive():
            self.timer.start()

    def _tick(self) -> None:
        bench = self.bench
        self.box_drag.finish()
        busy = bench is not None and bench.tick()
        busy = self.logic.worker.poll() or busy
        running = bench is not None and bench.is_running
        self.repaints.set_gentle(running)
        if self._stale and (not running or time.monotonic() - self._refreshed > _REFRESH_S):
            self._stale = False
            self._refreshed = time.monotonic()
            self._choose_volume()
            self._refresh()
        elif busy:
            self._show_status()
        if not busy and not self._stale:
            self.timer.stop()
        self.logic.worker.give_way()

    def _say(self, text: str) -> None:
        self._forget_messages()
        self._said = text
        self._wake()

    _said = ""

    def _forget_messages(self) -> None:
        self._said = ""
        if self.bench is not None:
            self.bench.message, self.bench.is_problem = "", False

    def _show_status(self) -> None:
        if self.bench is not None and self.bench.message:
            self._said = ""  # the workbench has said something since
        self.status.show_state(self._parameters, self.logic, self._said)

    def _refresh(self) -> None:
        """Show everything as it is now."""
        ui, bench, parameters = self.ui, self.bench, self._parameters
        free = bench is None or not bench.is_running
        has_volume = parameters is not None and parameters.volume is not None
        has_segment = bench is not None and bench.selected is not None
        for kind, button in self._tools().items():
            button.enabled = has_volume and free
            button.checked = bench is not None and bench.tool() == kind
        for button in (ui.maskButton, ui.clearSliceButton, ui.clearButton):
            button.enabled = has_segment and free
        ui.centralButton.enabled = has_volume
        ui.rotateButton.visible = bench is not None and bench.oblique_view is not None
        ui.propagateButton.enabled = has_segment and free
        ui.addSegmentButton.enabled = has_volume and free
        ui.removeSegmentButton.enabled = has_segment and free
        ui.lockSegmentButton.enabled = has_segment and free
        ui.lockSegmentButton.checked = has_segment and is_locked(
            bench.segmentation_node, bench.selected
        )
        ui.undoButton.enabled = bench is not None and bench.can_undo
        ui.redoButton.enabled = bench is not None and bench.can_redo
        self._show_limits()
        self._show_axis(bench)
        self._show_progress(bench)
        self._show_strip(bench)
        self.models.refresh()
        self._show_status()

    def _limit(self, limited: bool) -> None:
        """Limits that were never set begin as all slices."""
        parameters, last = self._parameters, self._last_slice()
        if limited and last is not None and parameters.last == 0:
            parameters.last = last

    def _last_slice(self) -> int | None:
        """Number of the last slice along the axis that is worked along."""
        bench, parameters = self.bench, self._parameters
        if bench is not None:
            return (bench.geometry() or bench.stack_geometry()).shape[0] - 1
        volume = None if parameters is None else parameters.volume
        image = None if volume is None else volume.GetImageData()
        return None if image is None else image.GetDimensions()[2] - 1

    def _show_limits(self) -> None:
        limited = self._parameters is not None and self._parameters.limited
        last = self._last_slice()
        for box in (self.ui.firstSpinBox, self.ui.lastSpinBox):
            box.enabled = limited
            if last is not None and box.maximum != last:
                box.maximum = last

    def _show_axis(self, bench: object | None) -> None:
        plane = bench.plane if bench is not None else None
        self.ui.axisLabel.text = (
            _("The view that you click in decides the axis.") if plane is None
            else _("Along the {axis} slices").format(axis=_axis_name(plane.value))
        )  # fmt: skip

    def _show_progress(self, bench: object | None) -> None:
        ui = self.ui
        running = bench is not None and bench.is_running
        ui.propagateButton.visible = not running
        ui.cancelButton.visible = ui.progressBar.visible = running
        if not running:
            return
        progress = bench.progress
        if progress is None or not progress.total:
            ui.progressBar.maximum = 0
            ui.progressBar.setFormat("")
            return
        ui.progressBar.maximum = progress.total
        ui.progressBar.value = progress.done
        left = progress.seconds_left
        text = _("{done} of {total} slices").format(done=progress.done, total=progress.total)
        if left is not None:
            text += _(", {seconds} s left").format(seconds=max(1, round(left)))
        ui.progressBar.setFormat(text)

    def _show_strip(self, bench: object | None) -> None:
        states = bench.slice_states() if bench is not None else None
        here = None
        if states is not None:
            geometry = bench.geometry()
            views = [self.view.node, *bench.slice_nodes()]
            planes = {view: view_plane(view, geometry.grid) for view in views}
            found = (view_slice(v, geometry) for v in views if planes[v] is geometry.plane)
            here = next((index for index in found if index is not None), None)
        self.strip.show_states(states, here)
        self.ui.doubtfulButton.enabled = states is not None

    def _add_icons(self, resource: Callable[[str], str]) -> None:
        names = {
            "positiveButton": "PointPositive", "negativeButton": "PointNegative",
            "boxButton": "Box", "maskButton": "Mask", "clearSliceButton": "ClearSlice",
            "clearButton": "ClearAll", "centralButton": "Central", "undoButton": "Undo",
            "redoButton": "Redo", "doubtfulButton": "Doubtful", "propagateButton": "Propagate",
        }  # fmt: skip
        for button, name in names.items():
            path = Path(resource(f"Icons/{name}.png"))
            if path.is_file():
                getattr(self.ui, button).setIcon(qt.QIcon(str(path)))


def _axis_name(plane: str) -> str:
    return {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}[plane]
