"""The project's own phantom in the Sample Data module: computed, of no patient, no download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from ..colours import default_colours
from ..mrml.segments.segmentations import segmentation_from_masks
from ..mrml.volumes import node_from_volume
from ..phantom import Phantom, abdomen_phantom
from .phantom_ct import NAME, NODE_NAME, SEGMENTED_NAME, phantom_ct

if TYPE_CHECKING:
    from SampleData import SampleDataSource

CATEGORY = "SAM2Medical3D"


def register_sample_data(icons: Path) -> None:
    """Offer the phantom in the Sample Data module; for the application's startupCompleted signal.

    Called again, for example when the module is reloaded, it replaces what it has registered.

    Args:
        icons: folder of the module's icons.
    """
    from SampleData import SampleDataLogic

    if hasattr(SampleDataLogic, "registerCustomSampleDataCategory"):  # since Slicer 5.11
        SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, _("SAM2Medical3D"))
    register = SampleDataLogic.registerCustomSampleDataSource
    sources = SampleDataLogic.sampleDataSourcesByCategory().setdefault(CATEGORY, [])
    sources.clear()
    for name, shown, load in (
        (NAME, _("CT phantom"), load_phantom),
        (SEGMENTED_NAME, _("CT phantom with segments"), load_phantom_with_segments),
    ):
        register(
            category=CATEGORY,
            sampleName=name,
            # An address and a file for each are asked for, though nothing is fetched.
            uris="computed:",
            fileNames=f"{name}.nrrd",
            nodeNames=NODE_NAME,
            customDownloader=load,
            thumbnailFileName=str(Path(icons) / f"{name}.png"),
        )
        sources[-1].sampleDescription = shown


def load_phantom(source: SampleDataSource | None = None) -> list:
    """Compute the phantom CT, add it to the scene and show it; takes a few seconds.

    Returns:
        The volume node, in a list as the Sample Data module has it.
    """
    return _load(with_segments=False)


def load_phantom_with_segments(source: SampleDataSource | None = None) -> list:
    """The same with its true segments, to compare with.

    Returns:
        The volume node and the segmentation node.
    """
    return _load(with_segments=True)


def phantom_nodes(
    scene: slicer.vtkMRMLScene, phantom: Phantom, with_segments: bool
) -> list[slicer.vtkMRMLNode]:
    """The phantom's nodes in a scene: the volume and, if wanted, its segmentation."""
    name = scene.GenerateUniqueName(NODE_NAME)
    nodes = [node_from_volume(scene, phantom_ct(phantom), name)]
    if with_segments:
        masks = {label: phantom.labels == label for label in phantom.names}
        nodes.append(
            segmentation_from_masks(
                scene,
                nodes[0],
                masks,
                phantom.names,
                default_colours(phantom.names),
                name=f"{name} segments",
            )
        )
    return nodes


def _load(with_segments: bool) -> list[slicer.vtkMRMLNode]:
    slicer.util.showStatusMessage(_("Computing the phantom..."), 5000)
    with slicer.util.WaitCursor():
        nodes = phantom_nodes(slicer.mrmlScene, abdomen_phantom(), with_segments)
    slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
    return nodes
