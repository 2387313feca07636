"""SAM2Medical3D as a module of 3D Slicer: the panel, its logic and its tests."""

import enum
import importlib.util
import os
from collections.abc import Callable

import slicer
import vtk
from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
)
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
        self.parent.title = _("SAM2Medical3D")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Markups", "Segmentations"]
        self.parent.contributors = ["SAM2Medical3D contributors"]
        self.parent.helpText = _(
            "Segment an organ or a tumour in a CT or MR volume from a click or a box on one slice, "
            "which SAM 2 carries through all slices. See the "
            '<a href="https://github.com/SAM2Medical3D/SlicerSAM2Medical3D">documentation</a>.'
        )
        self.parent.acknowledgementText = _(
            "Built on SAM 2 (Ravi et al. 2024) and on the work of Shen et al. 2024, "
            "Khlaut et al. 2025 and Yang et al. 2025. Not for clinical use."
        )


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

    def label(self) -> str:
        """What the panel shows."""
        return {
            Method.SAM2: _("SAM 2 (memory of other slices)"),
            Method.RADSAM: _("RadSAM (slice by slice)"),
        }[self]


@parameterNodeWrapper
class SAM2Medical3DParameterNode:
    """The panel's choices, saved with the scene."""

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segmentName: str = "Object"
    positivePoints: vtkMRMLMarkupsFiducialNode
    negativePoints: vtkMRMLMarkupsFiducialNode
    roi: vtkMRMLMarkupsROINode
    method: Method = Method.SAM2
    masking: OtherSegments = OtherSegments.OVERLAP


class SAM2Medical3DWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: choices in, one button, what happened out."""

    def __init__(self, parent=None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: SAM2Medical3DLogic | None = None
        self._parameterNode: SAM2Medical3DParameterNode | None = None
        self._guiTag = None

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        panel = slicer.util.loadUI(self.resourcePath("UI/SAM2Medical3D.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = SAM2Medical3DLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.propagateButton.connect("clicked(bool)", self.onPropagate)
        self._useParameterNode(self.logic.getParameterNode())

    def cleanup(self) -> None:
        self._useParameterNode(None)
        self.removeObservers()

    def enter(self) -> None:
        self._useParameterNode(self.logic.getParameterNode())

    def exit(self) -> None:
        self._useParameterNode(None)

    def onSceneStartClose(self, caller, event) -> None:
        self._useParameterNode(None)

    def onSceneEndClose(self, caller, event) -> None:
        if self.parent.isEntered:
            self._useParameterNode(self.logic.getParameterNode())

    def onPropagate(self) -> None:
        from SAM2Medical3DLib.errors import UserError

        self.ui.propagateButton.enabled = False
        self.ui.progressBar.visible = True
        self.ui.statusLabel.text = ""
        try:
            with slicer.util.tryWithErrorDisplay(_("The propagation failed."), waitCursor=True):
                try:
                    ensurePackages(self.resourcePath("requirements.txt"))
                    self.logic.propagate(self._parameterNode, self._showProgress)
                    self.ui.statusLabel.text = _("Done.")
                except UserError as error:
                    self.ui.statusLabel.text = str(error)
        finally:
            self.ui.progressBar.visible = False
            self._updateButton()

    def _showProgress(self, done: int, total: int) -> None:
        import qt

        self.ui.progressBar.maximum = total
        self.ui.progressBar.value = done
        # Draw, but let nobody close the scene or press the button again in mid-run.
        slicer.app.processEvents(qt.QEventLoop.ExcludeUserInputEvents)

    def _useParameterNode(self, node: SAM2Medical3DParameterNode | None) -> None:
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(
                self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._updateButton
            )
        self._parameterNode = node
        if node is not None:
            self._guiTag = node.connectGui(self.ui)
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._updateButton)
        self._updateButton()

    def _updateButton(self, caller=None, event=None) -> None:
        node = self._parameterNode
        ready = node is not None and node.volume is not None and node.segmentation is not None
        self.ui.propagateButton.enabled = ready
        self.ui.propagateButton.toolTip = (
            _("Segment the object through the volume") if ready
            else _("Select a volume and a segmentation first")
        )  # fmt: skip


def ensurePackages(requirements: str) -> None:
    """Install the Python packages that Slicer lacks, after asking the user for each step.

    Args:
        requirements: path of the requirements file.

    Raises:
        UserError: the user declined, or the PyTorch extension is missing.
    """
    from SAM2Medical3DLib.errors import UserError

    declined = _("Python packages are needed; press Propagate again and agree to install them.")
    if importlib.util.find_spec("torch") is None:
        if importlib.util.find_spec("PyTorchUtils") is None:
            raise UserError(_("Install the PyTorch extension first, in the Extensions Manager."))
        import PyTorchUtils

        torchLogic = PyTorchUtils.PyTorchUtilsLogic()
        if torchLogic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.5") is None:
            raise UserError(declined)
    import slicer.packaging

    try:
        slicer.packaging.pip_ensure(
            slicer.packaging.load_requirements(requirements), requester="SAM2Medical3D"
        )
    except RuntimeError as error:
        raise UserError(declined) from error
    if importlib.util.find_spec("sam2") is None:
        question = _("The Python package sam2 1.1.0 (Meta's SAM 2) will be installed. Continue?")
        if not slicer.util.confirmOkCancelDisplay(question):
            raise UserError(declined)
        # Its build would otherwise bring a second torch and compile CUDA code that is not used.
        os.environ["SAM2_BUILD_CUDA"] = "0"
        slicer.packaging.pip_install("sam2==1.1.0 --no-deps --no-build-isolation")


class SAM2Medical3DLogic(ScriptedLoadableModuleLogic):
    """Runs without the panel, for example from the Python console or a script.

    Args:
        createPropagator: makes the propagator of a method, given its name; None takes the method's
            bundled model.
    """

    def __init__(self, createPropagator: Callable[[str], object] | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._createPropagator = createPropagator or self._bundled
        self._models: dict[str, object] = {}

    def getParameterNode(self) -> SAM2Medical3DParameterNode:
        return SAM2Medical3DParameterNode(super().getParameterNode())

    def propagate(
        self,
        parameters: SAM2Medical3DParameterNode,
        progress: Callable[[int, int], None] | None = None,
    ) -> str:
        """Carry the markups through the volume and write the result into a segment.

        Args:
            parameters: what to segment where.
            progress: called with the numbers of slices done and in reach.

        Returns:
            The segment's id.

        Raises:
            UserError: for every mistake in the parameters; the segmentation is as it was then.
        """
        from SAM2Medical3DLib.mrml import Masking
        from SAM2Medical3DLib.mrml.run import segment_from_markups

        return segment_from_markups(
            parameters.volume,
            parameters.segmentation,
            parameters.segmentName,
            lambda: self._createPropagator(parameters.method.value),
            positive=parameters.positivePoints,
            negative=parameters.negativePoints,
            roi=parameters.roi,
            masking=Masking(parameters.masking.value),
            progress=progress,
        )

    def _bundled(self, method: str) -> object:
        from SAM2Medical3DLib.models.registry import load_model
        from SAM2Medical3DLib.propagation.registry import create_propagator, find_method

        name = find_method(method).default_model
        if name not in self._models:
            self._models[name] = load_model(name)
        return create_propagator(method, self._models[name])


class SAM2Medical3DTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer, without torch: a stand-in repeats a square on every slice."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        for test in (self.test_propagate, self.test_mistakesChangeNothing):
            self.setUp()
            test()

    def test_propagate(self) -> None:
        """A point becomes a segment on the volume's grid; the other segment stays."""
        import numpy as np

        logic, parameters = self._case()
        steps = []
        segmentId = logic.propagate(parameters, lambda *step: steps.append(step))
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(
            parameters.segmentation, segmentId, parameters.volume
        )
        expected = np.zeros((6, 10, 12), bool)
        expected[:, 2:5, 3:7] = True
        np.testing.assert_array_equal(mask != 0, expected)
        self.assertEqual(steps[-1], (6, 6))
        self.assertEqual(parameters.segmentation.GetSegmentation().GetNumberOfSegments(), 2)

    def test_mistakesChangeNothing(self) -> None:
        """A point outside the volume is refused with a sentence."""
        from SAM2Medical3DLib.errors import UserError

        logic, parameters = self._case()
        parameters.positivePoints.AddControlPoint(900, 900, 900, "far")
        with self.assertRaisesRegex(UserError, "far lies outside the volume"):
            logic.propagate(parameters)
        self.assertEqual(parameters.segmentation.GetSegmentation().GetNumberOfSegments(), 1)

    def _case(self) -> tuple[SAM2Medical3DLogic, SAM2Medical3DParameterNode]:
        import numpy as np

        from SAM2Medical3DLib.propagation import ObjectResult, SliceResult

        class Square:
            def propagate(self, stack, prompts, span):
                for index in range(len(stack)):
                    mask = np.zeros(stack.shape[1:], bool)
                    mask[2:5, 3:7] = True
                    yield SliceResult(index, {1: ObjectResult(mask, 1.0, 1.0)})

        # I to the patient's left, J to the back: rows and columns as a slice view shows them.
        ijkToRas = np.diag([-1.0, -1.0, 3.0, 1.0])
        voxels = np.arange(6 * 10 * 12, dtype=np.int16).reshape(6, 10, 12)
        logic = SAM2Medical3DLogic(lambda method: Square())
        parameters = logic.getParameterNode()
        parameters.volume = slicer.util.addVolumeFromArray(voxels, ijkToRas)
        add = slicer.mrmlScene.AddNewNodeByClass
        parameters.segmentation = add("vtkMRMLSegmentationNode")
        parameters.segmentation.CreateDefaultDisplayNodes()
        parameters.segmentation.GetSegmentation().AddEmptySegment("other", "other")
        parameters.positivePoints = add("vtkMRMLMarkupsFiducialNode")
        parameters.positivePoints.AddControlPoint(-4, -3, 6)
        return logic, parameters
