"""SAM2Medical3D as a module of 3D Slicer: registration, parameters, panel, logic and self-test.

The work is done by ``SAM2Medical3DLib``: :class:`~SAM2Medical3DLib.mrml.workbench.Workbench` holds
everything that a user can do, and the panel here only calls it and shows what it says.
"""

import enum
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SAM2Medical3D(ScriptedLoadableModule):
    """The module as Slicer's module list shows it."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        from SAM2Medical3DLib.application.notice import acknowledgement_text, help_text

        self.parent.title = _("SAM2Medical3D")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Markups", "Segmentations", "SubjectHierarchy"]
        self.parent.contributors = ["SAM2Medical3D contributors"]
        self.parent.helpText = help_text()
        self.parent.acknowledgementText = acknowledgement_text()
        slicer.app.connect("startupCompleted()", self._registerSampleData)

    def _registerSampleData(self) -> None:
        from SAM2Medical3DLib.application.sample_data import register_sample_data

        register_sample_data(Path(__file__).parent / "Resources" / "Icons")


class OtherSegments(enum.Enum):
    """What happens where the result meets other segments; values are those of ``Masking``."""

    OVERLAP = "overlap"
    OVERWRITE = "overwrite"
    PROTECT = "protect"

    def label(self) -> str:
        """What the panel shows."""
        return {
            OtherSegments.OVERLAP: _("Allow overlap"),
            OtherSegments.OVERWRITE: _("Overwrite visible segments"),
            OtherSegments.PROTECT: _("Never touch"),
        }[self]


class Method(enum.Enum):
    """How prompts are carried through the volume; values are names of ``METHODS``."""

    SAM2 = "sam2"
    RADSAM = "radsam"
    SAM2_3DMED = "sam2-3dmed"

    def label(self) -> str:
        """What the panel shows."""
        return {
            Method.SAM2: _("SAM 2 (memory of other slices)"),
            Method.RADSAM: _("RadSAM (slice by slice)"),
            Method.SAM2_3DMED: _("SAM2-3dMed (memory and boundaries)"),
        }[self]


class Direction(enum.Enum):
    """Where a propagation goes; values are those of ``propagation.Direction``."""

    BOTH = "both"
    FORWARD = "forward"
    BACKWARD = "backward"

    def label(self) -> str:
        """What the panel shows."""
        return {
            Direction.BOTH: _("Both ways"),
            Direction.FORWARD: _("Up (superior, anterior or right)"),
            Direction.BACKWARD: _("Down (inferior, posterior or left)"),
        }[self]


@parameterNodeWrapper
class SAM2Medical3DParameterNode:
    """The panel's choices, saved with the scene."""

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segment: str = ""
    method: Method = Method.SAM2_3DMED
    model: str = ""
    config: str = ""
    imageSize: int = 0
    refineBoundaries: bool = True
    direction: Direction = Direction.BOTH
    limited: bool = False
    first: int = 0
    last: int = 0
    masking: OtherSegments = OtherSegments.OVERLAP


class SAM2Medical3DWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: what the user does goes to the logic, what the logic says is shown."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: SAM2Medical3DLogic | None = None
        self.panel = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        from SAM2Medical3DLib.application.panel import Panel

        form = slicer.util.loadUI(self.resourcePath("UI/SAM2Medical3D.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        self.logic = SAM2Medical3DLogic()
        self.panel = Panel(form, self.ui, self.logic, self.resourcePath)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEnd)
        self.panel.use(self.logic.getParameterNode())
        if slicer.util.selectedModule() == self.moduleName:  # reloaded while it is shown
            self.panel.setActive(True)

    def cleanup(self) -> None:
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
        if self.logic is not None:
            self.logic.close()

    def enter(self) -> None:
        self.panel.use(self.logic.getParameterNode())
        self.panel.setActive(True)

    def exit(self) -> None:
        self.panel.setActive(False)

    def onSceneStartClose(self, caller, event) -> None:
        self.panel.use(None)
        self.logic.closeWorkbench()

    def onSceneEnd(self, caller, event) -> None:
        self.logic.closeWorkbench()
        self.panel.use(self.logic.getParameterNode())


class SAM2Medical3DLogic(ScriptedLoadableModuleLogic):
    """Runs without the panel too, for example from the Python console or a script.

    Args:
        createPropagator: makes a propagator, given the method's name, the name or path of a model
            ("" for the method's own), configuration and image size of a checkpoint that does not
            say them ("" and 0 otherwise), and whether SAM2-3dMed refines boundaries; None loads
            real models.
    """

    def __init__(
        self, createPropagator: Callable[[str, str, str, int, bool], object] | None = None
    ) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        from SAM2Medical3DLib.session.worker import Worker

        self._createPropagator = createPropagator or self._load
        self._propagators: dict[tuple, object] = {}
        self._workbench = None
        self.worker = Worker()
        self.device = ""
        self.changed: Callable[[], None] = lambda: None

    def getParameterNode(self) -> SAM2Medical3DParameterNode:
        return SAM2Medical3DParameterNode(super().getParameterNode())

    @property
    def workbench(self):
        """The open workbench, or None."""
        if self._workbench is not None and not self._workbench.is_open:
            self._workbench = None
        return self._workbench

    def follow(self, parameters: SAM2Medical3DParameterNode):
        """Open the workbench of the chosen nodes and give it the other choices.

        Returns:
            The workbench; None without a volume and a segmentation.

        Raises:
            UserError: a volume or a segmentation that cannot be worked on.
        """
        from SAM2Medical3DLib.mrml import Masking
        from SAM2Medical3DLib.mrml.workbench import Workbench

        nodes = (parameters.volume, parameters.segmentation)
        bench = self.workbench
        if bench is not None and (bench.volume_node, bench.segmentation_node) != nodes:
            self.closeWorkbench()
            bench = None
        if None in nodes:
            return None
        propagator = self.propagator(parameters)
        if bench is None:
            bench = Workbench(*nodes, propagator, self.worker, changed=lambda: self.changed())
            self._workbench = bench
        bench.set_propagator(propagator)
        bench.set_masking(Masking(parameters.masking.value))
        ids = parameters.segmentation.GetSegmentation().GetSegmentIDs()
        bench.select(parameters.segment if parameters.segment in ids else None)
        return bench

    def span(self, parameters: SAM2Medical3DParameterNode):
        """Which slices a propagation may write."""
        from SAM2Medical3DLib.propagation import Direction as To
        from SAM2Medical3DLib.propagation import Span

        limits = (parameters.first, parameters.last) if parameters.limited else (None, None)
        return Span(To(parameters.direction.value), *limits)

    def propagator(self, parameters: SAM2Medical3DParameterNode):
        """The propagator that is chosen, loaded at its first use and then kept."""
        from SAM2Medical3DLib.propagation.lazy import LazyPropagator

        chosen = (
            parameters.method.value, parameters.model, parameters.config, parameters.imageSize,
            parameters.refineBoundaries,
        )  # fmt: skip
        if chosen not in self._propagators:
            self._propagators[chosen] = LazyPropagator(lambda: self._createPropagator(*chosen))
        return self._propagators[chosen]

    def forgetModels(self) -> None:
        """Free the memory of loaded models; they are loaded again when needed."""
        self._propagators.clear()

    def closeWorkbench(self) -> None:
        """End what is under way; the result so far stays in the segment."""
        if self._workbench is not None:
            self._workbench.close()
            self._workbench = None

    def close(self) -> None:
        """End everything, as when the module is reloaded."""
        self.closeWorkbench()
        self.worker.close()
        self._propagators.clear()

    def _load(
        self, method: str, model: str, config: str, imageSize: int, refineBoundaries: bool
    ) -> object:
        """In the worker's thread: the real thing."""
        import os

        import torch

        from SAM2Medical3DLib.application.device import device_report, model_advice
        from SAM2Medical3DLib.models.registry import load_model
        from SAM2Medical3DLib.propagation.registry import create_propagator, find_method

        name = find_method(method).choose_model(model or None)
        loaded = load_model(name, config=config or None, image_size=imageSize or None)
        if loaded.device.type == "cpu":
            # The window needs a core of its own.
            torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
        report = device_report()
        self.device = " ".join(filter(None, (report.text, model_advice(report, method, name))))
        options = {"boundary_refinement": refineBoundaries} if method == "sam2-3dmed" else {}
        return create_propagator(method, loaded, **options)


class SAM2Medical3DTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer; see ``SAM2Medical3DLib.application.selftest``."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        from SAM2Medical3DLib.application.selftest import run

        self.setUp()
        run(self)
