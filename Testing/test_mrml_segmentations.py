"""Masks into segments: which voxels change, which do not, and where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st
from vtkmodules.vtkCommonDataModel import vtkPolyData  # noqa: E402
from vtkmodules.vtkCommonMath import vtkMatrix4x4  # noqa: E402

from mrml_scenes import (  # noqa: E402
    SHAPE,
    add_segmentation,
    add_volume,
    affines,
    block,
    ijk_to_ras,
    put_under,
    put_under_warp,
    rigid_matrices,
)
from SAM2Medical3DLib.errors import UserError  # noqa: E402
from SAM2Medical3DLib.mrml import (  # noqa: E402
    Masking,
    is_locked,
    read_segment,
    segmentation_from_masks,
    set_locked,
    write_segments,
)

LIVER = block((0, 3), (1, 5), (1, 5))
TUMOUR = block((1, 4), (2, 4), (3, 7))
BOTH = LIVER & TUMOUR


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)  # registers the conversion from labelmaps to surfaces
    return scene


@pytest.fixture
def volume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    return add_volume(scene)


@pytest.fixture
def node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentationNode:
    return add_segmentation(scene)


def share_one_layer(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Segments a, b and c, side by side along I, all in one labelmap with values 1, 2, 3."""
    parts = {n: block((0, 5), (0, 6), (2 * i, 2 * i + 2)) for i, n in enumerate("abc")}
    write_segments(node, volume, parts)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert node.GetSegmentation().GetNumberOfLayers() == 1


def contents(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> dict[str, bytes]:
    """All that a user could notice of the segments."""
    segmentation = node.GetSegmentation()
    found = {}
    for id_ in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(id_)
        found[id_] = (
            segment.GetName(),
            segment.GetColor(),
            segment.GetLabelValue(),
            read_segment(node, id_, volume).tobytes(),
        )
    return found


def brute_force(
    node: slicer.vtkMRMLSegmentationNode, name: str, volume: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """The segment at every voxel centre of the volume, by Slicer's own bookkeeping."""
    segment = node.GetSegmentation().GetSegment(
        node.GetSegmentation().GetSegmentIdBySegmentName(name)
    )
    labelmap = segment.GetRepresentation("Binary labelmap")
    between = _matrix(
        lambda matrix: slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
            volume.GetParentTransformNode(), node.GetParentTransformNode(), matrix
        )
    )
    local = _matrix(labelmap.GetImageToWorldMatrix)
    to_index = np.linalg.inv(local) @ between @ _matrix(volume.GetIJKToRASMatrix)
    found = np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    extent = np.array(labelmap.GetExtent()).reshape(3, 2)
    for k, j, i in np.ndindex(found.shape):
        index = np.rint((to_index @ (i, j, k, 1))[:3]).astype(int)
        if (index >= extent[:, 0]).all() and (index <= extent[:, 1]).all():
            value = labelmap.GetScalarComponentAsDouble(*index.tolist(), 0)
            found[k, j, i] = value == segment.GetLabelValue()
    return found


def _matrix(fill: Callable[[vtkMatrix4x4], object]) -> np.ndarray:
    matrix = vtkMatrix4x4()
    fill(matrix)
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


@settings(max_examples=20, deadline=None)
@given(
    affines(),
    rigid_matrices() | st.none(),
    rigid_matrices() | st.none(),
    st.integers(0, 2**32 - 1),
)
def test_any_mask_comes_back_on_any_grid_under_any_rigid_transform(
    matrix: np.ndarray, volume_moved: np.ndarray | None, seg_moved: np.ndarray | None, seed: int
) -> None:
    scene = slicer.vtkMRMLScene()
    volume, node = add_volume(scene, matrix), add_segmentation(scene)
    for each, moved in ((volume, volume_moved), (node, seg_moved)):
        if moved is not None:
            put_under(each, moved)
    mask = np.random.default_rng(seed).random(SHAPE) < 0.3
    write_segments(node, volume, {"a": mask, "all": np.ones(SHAPE, bool)})
    np.testing.assert_array_equal(read_segment(node, "a", volume), mask)
    np.testing.assert_array_equal(brute_force(node, "a", volume), mask)
    assert read_segment(node, "all", volume).all()


def test_scaling_and_shearing_transforms(scene: slicer.vtkMRMLScene) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    shear = ijk_to_ras(spacing=(1.5, 0.8, 1.0), turn=(5, 10, 15))
    shear[0, 1] += 0.3
    put_under(node, shear)
    put_under(volume, np.diag([2.0, 1.0, 0.5, 1.0]))
    write_segments(node, volume, {"a": LIVER})
    np.testing.assert_array_equal(read_segment(node, "a", volume), LIVER)
    np.testing.assert_array_equal(brute_force(node, "a", volume), LIVER)


def test_new_segments_get_names_colours_geometry_and_status(
    scene: slicer.vtkMRMLScene,
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    ids = write_segments(
        node, volume, {"liver": LIVER, "tumour": TUMOUR}, colours={"liver": (1, 0.5, 0)}
    )
    segmentation = node.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == [ids["liver"], ids["tumour"]]
    liver, tumour = (segmentation.GetSegment(ids[n]) for n in ("liver", "tumour"))
    assert liver.GetName() == "liver" and liver.GetColor() == (1, 0.5, 0)
    assert tumour.GetColor() not in ((0.5, 0.5, 0.5), liver.GetColor())
    assert segmentation.GetSourceRepresentationName() == "Binary labelmap"
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    geometry = segmentation.GetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    )
    reference = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    assert reference.GetExtent() == (0, 6, 0, 5, 0, 4)
    np.testing.assert_allclose(_matrix(reference.GetImageToWorldMatrix), ijk_to_ras(), atol=1e-6)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.GetSegmentStatus(liver) == logic.InProgress
    # Cut to what is set, as Slicer's own editor does.
    assert liver.GetRepresentation("Binary labelmap").GetExtent() == (1, 4, 1, 4, 0, 2)


def test_existing_segment_is_replaced_by_id_or_name(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    ids = write_segments(node, volume, {"liver": LIVER, "tumour": TUMOUR})
    assert write_segments(node, volume, {"liver": TUMOUR}) == {"liver": ids["liver"]}
    np.testing.assert_array_equal(read_segment(node, "liver", volume), TUMOUR)
    assert write_segments(node, volume, {ids["liver"]: BOTH}) == {ids["liver"]: ids["liver"]}
    np.testing.assert_array_equal(read_segment(node, ids["liver"], volume), BOTH)
    np.testing.assert_array_equal(read_segment(node, "tumour", volume), TUMOUR)
    assert node.GetSegmentation().GetNumberOfSegments() == 2


@pytest.mark.parametrize(
    ("masking", "liver", "tumour"),
    [
        (Masking.OVERLAP, LIVER, TUMOUR),
        (Masking.OVERWRITE, LIVER & ~TUMOUR, TUMOUR),
        (Masking.PROTECT, LIVER, TUMOUR & ~LIVER),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_masking(
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
    masking: Masking,
    liver: np.ndarray,
    tumour: np.ndarray,
    together: bool,
) -> None:
    if together:
        write_segments(node, volume, {"liver": LIVER, "tumour": TUMOUR}, masking)
    else:
        write_segments(node, volume, {"liver": LIVER}, masking)
        write_segments(node, volume, {"tumour": TUMOUR}, masking)
    np.testing.assert_array_equal(read_segment(node, "liver", volume), liver)
    np.testing.assert_array_equal(read_segment(node, "tumour", volume), tumour)


@pytest.mark.parametrize("masking", Masking)
def test_shared_layer(
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
    masking: Masking,
) -> None:
    share_one_layer(node, volume)
    before = {n: read_segment(node, n, volume) for n in "abc"}
    set_locked(node, "c")
    mask = block((1, 4), (1, 5), (1, 6))
    write_segments(node, volume, {"b": mask}, masking)
    expected = dict(before, b=mask)
    if masking is Masking.OVERWRITE:
        expected["a"] = before["a"] & ~mask
    if masking is Masking.PROTECT:
        expected["b"] = mask & ~before["a"] & ~before["c"]
    for name in "abc":
        np.testing.assert_array_equal(read_segment(node, name, volume), expected[name], name)
    segmentation = node.GetSegmentation()
    a, c = (segmentation.GetSegmentIdBySegmentName(n) for n in "ac")
    assert segmentation.GetLayerIndex(a) == segmentation.GetLayerIndex(c)
    assert segmentation.GetNumberOfLayers() == 2


def test_hidden_and_locked_segments_are_never_changed(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    share_one_layer(node, volume)
    ids = {n: node.GetSegmentation().GetSegmentIdBySegmentName(n) for n in "abc"}
    node.GetDisplayNode().SetSegmentVisibility(ids["a"], False)
    set_locked(node, "b")
    assert is_locked(node, ids["b"]) and not is_locked(node, "c")
    before = contents(node, volume)
    for name, why in (("a", "is hidden; show it"), ("b", "is locked; unlock it")):
        with pytest.raises(UserError, match=why):
            write_segments(node, volume, {"new": LIVER, name: LIVER}, Masking.OVERWRITE)
    assert contents(node, volume) == before
    write_segments(node, volume, {"new": np.ones(SHAPE, bool)}, Masking.OVERWRITE)
    after = contents(node, volume)
    assert after[ids["a"]] == before[ids["a"]] and after[ids["b"]] == before[ids["b"]]
    assert not read_segment(node, "c", volume).any()
    set_locked(node, "b", False)
    write_segments(node, volume, {"b": LIVER})
    np.testing.assert_array_equal(read_segment(node, "b", volume), LIVER)


def test_protect_keeps_out_of_hidden_segments_too(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    ids = write_segments(node, volume, {"liver": LIVER})
    node.GetDisplayNode().SetSegmentVisibility(ids["liver"], False)
    write_segments(node, volume, {"tumour": TUMOUR}, Masking.PROTECT)
    np.testing.assert_array_equal(read_segment(node, "tumour", volume), TUMOUR & ~LIVER)


def test_empty_mask_empties_the_segment(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    write_segments(node, volume, {"liver": LIVER, "tumour": TUMOUR})
    assert node.CreateClosedSurfaceRepresentation()
    write_segments(node, volume, {"liver": np.zeros(SHAPE, bool), "new": np.zeros(SHAPE, bool)})
    assert not read_segment(node, "liver", volume).any()
    assert not read_segment(node, "new", volume).any()
    np.testing.assert_array_equal(read_segment(node, "tumour", volume), TUMOUR)
    write_segments(node, volume, {"new": LIVER}, Masking.OVERWRITE)
    np.testing.assert_array_equal(read_segment(node, "new", volume), LIVER)


def test_segments_on_another_grid(
    scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLSegmentationNode
) -> None:
    coarse = add_volume(scene, np.diag([2.0, -2, 2, 1]))
    halves = np.diag([1.0, -1, 1, 1])
    halves[:3, 3] = (-0.5, 0.5, -0.5)
    fine = add_volume(scene, halves, (10, 12, 14), "fine")
    write_segments(node, coarse, {"old": LIVER})
    doubled = LIVER.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(read_segment(node, "old", fine), doubled)
    mask = block((2, 4), (4, 8), (2, 6), shape=(10, 12, 14))
    write_segments(node, fine, {"new": mask}, Masking.OVERWRITE)
    np.testing.assert_array_equal(read_segment(node, "new", fine), mask)
    np.testing.assert_array_equal(read_segment(node, "old", fine), doubled & ~mask)
    write_segments(node, fine, {"protected": ~mask}, Masking.PROTECT)
    np.testing.assert_array_equal(read_segment(node, "protected", fine), ~mask & ~doubled)


def test_surfaces_follow(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    share_one_layer(node, volume)
    assert node.CreateClosedSurfaceRepresentation()
    segmentation = node.GetSegmentation()

    def surface(name: str) -> vtkPolyData:
        id_ = segmentation.GetSegmentIdBySegmentName(name)
        return segmentation.GetSegment(id_).GetRepresentation("Closed surface")

    before = {n: surface(n).GetBounds() for n in "abc"}
    write_segments(node, volume, {"b": block((1, 4), (1, 5), (1, 4)), "d": BOTH}, "overwrite")
    assert segmentation.ContainsRepresentation("Closed surface")
    # Slicer smooths the surfaces of a layer together, so a neighbour's edge may shift a little.
    assert surface("c").GetBounds() == pytest.approx(before["c"], abs=0.2)
    assert surface("a").GetBounds() != before["a"]
    assert surface("b").GetBounds() != before["b"]
    assert surface("d").GetNumberOfPoints() > 0


def test_observers_hear_once(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    share_one_layer(node, volume)
    heard: Counter[str] = Counter()
    whole: list[bool] = []
    segmentation = node.GetSegmentation()
    target = segmentation.GetSegmentIdBySegmentName("b")

    def hear(_caller: object, event: str) -> None:
        heard[event] += 1
        whole.append(bool((read_segment(node, target, volume) == LIVER & ~TUMOUR).all()))

    node.AddObserver("AnyEvent", hear)
    write_segments(node, volume, {"b": LIVER, "new": TUMOUR}, Masking.OVERWRITE)
    assert whole and all(whole)
    assert heard["ModifiedEvent"] <= 1
    node.RemoveAllObservers()
    counts: Counter[int] = Counter()
    for event in (segmentation.SourceRepresentationModified, segmentation.RepresentationModified):
        node.AddObserver(event, lambda *_, event=event: counts.update([event]))
    write_segments(node, volume, {"b": TUMOUR, "new": LIVER}, Masking.OVERWRITE)
    assert sorted(counts.values()) == [1, 1]


def test_mistakes_change_nothing(
    scene: slicer.vtkMRMLScene,
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    ids = write_segments(node, volume, {"liver": LIVER, "tumour": TUMOUR})
    before = contents(node, volume)
    wrong = np.zeros((2, 2, 2), bool)
    with pytest.raises(UserError, match=r"mask of tumour has \(2, 2, 2\) voxels"):
        write_segments(node, volume, {"liver": TUMOUR, "tumour": wrong})
    with pytest.raises(UserError, match="same segment"):
        write_segments(node, volume, {"liver": TUMOUR, ids["liver"]: TUMOUR})
    with pytest.raises(UserError, match="has no segment spleen"):
        read_segment(node, "spleen", volume)
    with pytest.raises(UserError, match="No segmentation is selected"):
        write_segments(None, volume, {"liver": LIVER})
    with pytest.raises(UserError, match="No volume is selected"):
        write_segments(node, None, {"liver": LIVER})
    node.GetSegmentation().GetSegment(ids["tumour"]).SetName("liver")
    with pytest.raises(UserError, match="2 segments named liver"):
        write_segments(node, volume, {"liver": LIVER})
    node.GetSegmentation().GetSegment(ids["tumour"]).SetName("tumour")
    assert contents(node, volume) == before


def test_failure_half_way_is_undone(
    monkeypatch: pytest.MonkeyPatch,
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    share_one_layer(node, volume)
    assert node.CreateClosedSurfaceRepresentation()
    before = contents(node, volume)
    layers = node.GetSegmentation().GetNumberOfLayers()
    real = slicer.vtkSlicerSegmentationsModuleLogic
    calls = []

    class Breaks:
        @staticmethod
        def ReconvertAllRepresentations(node: object, ids: list[str]) -> bool:  # noqa: N802
            calls.append(ids)
            if len(calls) == 1:
                raise MemoryError
            return real.ReconvertAllRepresentations(node, ids)

    monkeypatch.setattr(slicer, "vtkSlicerSegmentationsModuleLogic", Breaks)
    with pytest.raises(MemoryError):
        write_segments(node, volume, {"new": LIVER, "b": TUMOUR}, Masking.OVERWRITE)
    assert contents(node, volume) == before
    assert node.GetSegmentation().GetNumberOfLayers() == layers
    assert not node.GetDisableModifiedEvent()


def test_warps_are_refused(
    scene: slicer.vtkMRMLScene,
    node: slicer.vtkMRMLSegmentationNode,
    volume: slicer.vtkMRMLScalarVolumeNode,
) -> None:
    put_under_warp(node)
    with pytest.raises(UserError, match="seg is under a non-linear transform; harden it"):
        write_segments(node, volume, {"liver": LIVER})
    # Under the very same warp the two move together and nothing has to be resampled.
    volume.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    write_segments(node, volume, {"liver": LIVER})
    np.testing.assert_array_equal(read_segment(node, "liver", volume), LIVER)


def test_surface_segmentations_are_refused(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    write_segments(node, volume, {"liver": LIVER})
    assert node.CreateClosedSurfaceRepresentation()
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    with pytest.raises(UserError, match="stored as closed surface"):
        write_segments(node, volume, {"liver": TUMOUR})
    with pytest.raises(UserError, match="stored as closed surface"):
        read_segment(node, "liver", volume)


def test_an_empty_surface_segmentation_becomes_labelmaps(
    node: slicer.vtkMRMLSegmentationNode, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    write_segments(node, volume, {"liver": LIVER})
    np.testing.assert_array_equal(read_segment(node, "liver", volume), LIVER)


def test_segmentation_from_masks(
    scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode
) -> None:
    put_under(volume, ijk_to_ras(turn=(0, 0, 30)))
    made = segmentation_from_masks(
        scene, volume, {1: LIVER, 5: TUMOUR}, {1: "liver"}, {1: (1, 0, 0)}, name="result"
    )
    assert made.GetName() == "result" and made.GetDisplayNode() is not None
    assert made.GetTransformNodeID() == volume.GetTransformNodeID()
    np.testing.assert_array_equal(read_segment(made, "liver", volume), LIVER)
    np.testing.assert_array_equal(read_segment(made, "Object 5", volume), TUMOUR)
    nodes = scene.GetNumberOfNodes()
    with pytest.raises(UserError, match="voxels along K, J, I"):
        segmentation_from_masks(scene, volume, {1: np.zeros((2, 2, 2), bool)})
    with pytest.raises(UserError, match="same name"):
        segmentation_from_masks(scene, volume, {1: LIVER, 2: TUMOUR}, {1: "x", 2: "x"})
    assert scene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize("masking", Masking)
def test_saved_file_holds_the_same(
    tmp_path: Path, scene: slicer.vtkMRMLScene, masking: Masking
) -> None:
    volume = add_volume(scene, ijk_to_ras(order=(2, 0, 1), turn=(10, -20, 30)))
    node = add_segmentation(scene)
    share_one_layer(node, volume)
    set_locked(node, "c")
    write_segments(node, volume, {"b": BOTH, "liver": LIVER, "none": LIVER & False}, masking)
    expected = {n: read_segment(node, n, volume) for n in ("a", "b", "c", "liver", "none")}
    path = tmp_path / "result.seg.nrrd"
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert storage.ReadData(other)
    for name, mask in expected.items():
        np.testing.assert_array_equal(read_segment(other, name, volume), mask, name)
    assert is_locked(other, "c")
