"""A segment that shows slices as they come: what changes, what comes back, what is noticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st
from vtkmodules.vtkCommonCore import VTK_STRING
from vtkmodules.vtkCommonDataModel import vtkImageData

from mrml_scenes import (
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
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Plane, StackGeometry
from SAM2Medical3DLib.mrml import (
    Masking,
    grid_from_node,
    read_segment,
    set_locked,
    write_segments,
)
from SAM2Medical3DLib.mrml.segments import live_segment
from SAM2Medical3DLib.mrml.segments.labelmaps import labelmap_from_mask, voxels
from SAM2Medical3DLib.mrml.segments.live_segment import LiveSegment
from SAM2Medical3DLib.mrml.segments.stack_labels import lattice_of
from SAM2Medical3DLib.mrml.transforms import to_vtk

Nodes = tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLScalarVolumeNode]
LOGIC = slicer.vtkSlicerSegmentationsModuleLogic

# (K, J, I), on a volume whose K runs upwards, J backwards and I leftwards: an axial stack's slices,
# rows and columns are its K, J and I.
ORGAN = block((0, 3), (1, 5), (1, 5))
LESION = block((1, 4), (2, 4), (3, 7))
FULL = np.ones(SHAPE[1:], bool)
NONE = np.zeros(SHAPE[1:], bool)


def make_scene() -> slicer.vtkMRMLScene:
    """A scene that can convert labelmaps to surfaces; its nodes do not keep it alive."""
    scene = slicer.vtkMRMLScene()
    logic = LOGIC()
    logic.SetMRMLScene(scene)
    return scene


def make_nodes(
    scene: slicer.vtkMRMLScene, masks: dict[str, np.ndarray], matrix: np.ndarray | None = None
) -> Nodes:
    volume, node = add_volume(scene, matrix), add_segmentation(scene)
    write_segments(node, volume, masks)
    return node, volume


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    return make_scene()


@pytest.fixture
def nodes(scene: slicer.vtkMRMLScene) -> Nodes:
    return make_nodes(scene, {"organ": ORGAN, "lesion": LESION})


def id_of(node: slicer.vtkMRMLSegmentationNode, name: str) -> str:
    return node.GetSegmentation().GetSegmentIdBySegmentName(name)


def labelmap_of(node: slicer.vtkMRMLSegmentationNode, name: str) -> slicer.vtkOrientedImageData:
    return node.GetSegmentation().GetSegment(id_of(node, name)).GetRepresentation("Binary labelmap")


def live(
    nodes: Nodes, masking: Masking = Masking.OVERLAP, plane: Plane = Plane.AXIAL
) -> LiveSegment:
    node, volume = nodes
    return LiveSegment(node, volume, id_of(node, "lesion"), plane, masking)


def hide(node: slicer.vtkMRMLSegmentationNode, name: str, hidden: bool = True) -> None:
    node.GetDisplayNode().SetSegmentVisibility(id_of(node, name), not hidden)


def paint(nodes: Nodes, mask: np.ndarray, mode: int, name: str = "lesion") -> None:
    """What Segment Editor does with a (K, J, I) brush mask: paint, erase or replace."""
    node, volume = nodes
    brush = labelmap_from_mask(mask, grid_from_node(volume, node))
    if mode == LOGIC.MODE_MERGE_MIN:
        voxels(brush)[...] = np.where(voxels(brush), 0, 255)
    extent = brush.GetExtent()
    assert LOGIC.SetBinaryLabelmapToSegment(brush, node, id_of(node, name), mode, extent)


def stored(node: slicer.vtkMRMLSegmentationNode, name: str) -> set[tuple[float, ...]]:
    """The RAS points of a segment's own voxels; nothing is resampled."""
    labelmap = labelmap_of(node, name)
    value = node.GetSegmentation().GetSegment(id_of(node, name)).GetLabelValue()
    ijk = np.argwhere(voxels(labelmap) == value)[:, ::-1] + labelmap.GetExtent()[::2]
    matrix = lattice_of(labelmap)
    return {tuple(p) for p in np.round(ijk @ matrix[:3, :3].T + matrix[:3, 3], 3).tolist()}


def everything(node: slicer.vtkMRMLSegmentationNode) -> dict[str, set[tuple[float, ...]]]:
    segmentation = node.GetSegmentation()
    names = [segmentation.GetSegment(id_).GetName() for id_ in segmentation.GetSegmentIDs()]
    return {name: stored(node, name) for name in names}


def crowd(seed: int) -> dict[str, np.ndarray]:
    """Segments that overlap or share an image: a, b and c side by side, d and lesion anywhere."""
    random = np.random.default_rng(seed)
    parts = random.choice([0, 0, 1, 2, 3], SHAPE)
    masks = {name: parts == value for value, name in enumerate("abc", 1)}
    return masks | {name: random.random(SHAPE) < 0.4 for name in ("d", "lesion")}


def collapse(node: slicer.vtkMRMLSegmentationNode) -> None:
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    shared = {node.GetSegmentation().GetLayerIndex(id_of(node, name)) for name in "abc"}
    assert len(shared) == 1


STEPS = st.lists(
    st.tuples(st.sampled_from(Masking), st.sets(st.integers(0, 4), min_size=1, max_size=2)),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(
    affines(),
    rigid_matrices() | st.none(),
    st.sampled_from(Plane),
    st.sampled_from(["a", "d", "lesion"]),
    st.sets(st.sampled_from(["b", "d", "lesion"])),
    STEPS,
    st.integers(0, 2**32 - 1),
)
def test_earlier_masks_bring_everything_back(
    matrix: np.ndarray,
    moved: np.ndarray | None,
    plane: Plane,
    target: str,
    elsewhere: set[str],
    steps: list[tuple[Masking, set[int]]],
    seed: int,
) -> None:
    scene = make_scene()
    node, volume = make_nodes(scene, crowd(seed), matrix)
    random = np.random.default_rng(seed)
    collapse(node)
    if elsewhere:
        # These are stored on other voxels: oblique ones, or half a step beside the volume's.
        options = {"turn": (3, 8, -5), "spacing": (1.1, 0.8, 0.9)}
        if seed % 2:
            options = {"spacing": (1, 1, 1), "origin": (0.5, 0.5, -0.5)}
        turned = matrix @ ijk_to_ras(**{"signs": (1, 1, 1), "origin": (0.3, 0, -0.2)} | options)
        other = add_volume(scene, turned, name="other")
        write_segments(node, other, {n: crowd(seed + 1)[n] for n in elsewhere})
    if moved is not None:
        put_under(node, moved)
    segment = LiveSegment(node, volume, id_of(node, target), plane)
    start, before = segment.read(), everything(node)
    for masking, slices in steps:
        segment.masking = masking
        masks = {
            index % len(start): random.random(start.shape[1:]) < random.choice([0, 0.3, 0.8, 1])
            for index in slices
        }
        segment.show(masks)
        if masking is not Masking.PROTECT:
            for index, mask in masks.items():
                np.testing.assert_array_equal(segment.read()[index], mask)
        assert not segment.edited()
    segment.show(dict(enumerate(start)))
    np.testing.assert_array_equal(segment.read(), start)
    np.testing.assert_array_equal(
        segment.geometry.from_stack(start), read_segment(node, target, volume)
    )
    after = everything(node)
    for name in before:
        # What was stored on other voxels is now stored on the volume's.
        if name != target or not (target in elsewhere or moved is not None):
            assert after[name] == before[name], name
    segment.finish()
    assert not segment.edited()


class Reference:
    """What the segments should be, voxel by voxel."""

    def __init__(self, masks: dict[str, np.ndarray]) -> None:
        self.own = masks["lesion"].copy()
        self.others = {name: mask.copy() for name, mask in masks.items() if name != "lesion"}
        self.missing = {name: mask & False for name, mask in self.others.items()}
        self.first = dict(enumerate(masks["lesion"].copy()))
        self.overlap = masks["lesion"] & np.any(list(self.others.values()), axis=0)

    def show(self, masking: Masking, index: int, mask: np.ndarray, editable: Iterable[str]) -> None:
        is_first = np.array_equal(mask, self.first[index])
        free = self.overlap[index] & is_first
        if masking is Masking.PROTECT:
            taken = np.any([other[index] for other in self.others.values()], axis=0)
            mask = mask & (~taken | free)
        self.own[index] = mask
        for name in editable:
            other, missing = self.others[name][index], self.missing[name][index]
            cover = mask & ~free
            other |= missing & ~cover
            missing &= cover
            if masking is Masking.OVERWRITE:
                missing |= other & cover
                other &= ~cover


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(Masking),
            st.integers(0, SHAPE[0] - 1),
            st.sampled_from([0, 0.3, 0.8, 1, None]),
            st.sets(st.sampled_from("abcd"), max_size=2),
        ),
        max_size=8,
    ),
    st.integers(0, 2**32 - 1),
)
def test_masking_voxel_by_voxel(
    steps: list[tuple[Masking, int, float | None, set[str]]], seed: int
) -> None:
    scene, masks = make_scene(), crowd(seed)
    node, volume = make_nodes(scene, masks)
    collapse(node)
    random = np.random.default_rng(seed)
    segment, expected = live((node, volume)), Reference(masks)
    for number, (masking, index, share, untouchable) in enumerate(steps):
        for name in "abcd":
            hide(node, name, name in untouchable and number % 2 == 0)
            set_locked(node, name, name in untouchable and number % 2 == 1)
        # What waited for a segment comes back with any later write; the simplest one is this.
        editable = set("abcd") - untouchable
        for other in range(SHAPE[0]):
            if other != index:
                for name in editable:
                    missing = expected.missing[name][other]
                    cover = expected.own[other] & missing
                    expected.others[name][other] |= missing & ~cover
                    missing &= cover
        mask = masks["lesion"][index] if share is None else random.random(SHAPE[1:]) < share
        segment.masking = masking
        segment.show({index: mask})
        expected.show(masking, index, mask, editable)
        np.testing.assert_array_equal(read_segment(node, "lesion", volume), expected.own)
        for name, other in expected.others.items():
            np.testing.assert_array_equal(read_segment(node, name, volume), other, name)


@settings(max_examples=25, deadline=None)
@given(
    affines(),
    rigid_matrices() | st.none(),
    rigid_matrices() | st.none(),
    st.sampled_from(Plane),
    st.integers(0, 2**32 - 1),
)
def test_slices_are_where_the_stack_has_them(
    matrix: np.ndarray,
    volume_moved: np.ndarray | None,
    moved: np.ndarray | None,
    plane: Plane,
    seed: int,
) -> None:
    scene = make_scene()
    node, volume = make_nodes(scene, {"lesion": LESION}, matrix)
    for each, by in ((volume, volume_moved), (node, moved)):
        if by is not None:
            put_under(each, by)
    segment = live((node, volume), plane=plane)
    assert segment.geometry.shape == StackGeometry(grid_from_node(volume), plane).shape
    expected = np.random.default_rng(seed).random(segment.geometry.shape) < 0.3
    for index in np.random.default_rng(seed).permutation(len(expected)):
        segment.show({int(index): expected[index]})
    for _ in range(2):
        np.testing.assert_array_equal(segment.read(), expected)
        np.testing.assert_array_equal(
            read_segment(node, "lesion", volume), segment.geometry.from_stack(expected)
        )
        segment.finish()
    assert not segment.edited()


def test_image_extent_that_does_not_begin_at_zero(scene: slicer.vtkMRMLScene) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    image = vtkImageData()
    image.DeepCopy(volume.GetImageData())
    image.SetExtent(3, 9, -2, 3, 5, 9)
    volume.SetAndObserveImageData(image)
    write_segments(node, volume, {"lesion": LESION})
    # As Segment Editor stores it: by the volume's own indices.
    labelmap = labelmap_of(node, "lesion")
    shift = np.eye(4)
    shift[:3, 3] = (-3, 2, -5)
    matrix = lattice_of(labelmap) @ shift
    labelmap.SetImageToWorldMatrix(to_vtk(matrix))
    labelmap.SetExtent(*(np.array(labelmap.GetExtent()) + np.repeat((3, -2, 5), 2)).tolist())
    segment = live((node, volume))
    np.testing.assert_array_equal(segment.read(), LESION)
    segment.show({0: FULL})
    np.testing.assert_array_equal(lattice_of(labelmap_of(node, "lesion")), matrix)
    expected = LESION.copy()
    expected[0] = True
    np.testing.assert_array_equal(read_segment(node, "lesion", volume), expected)


def test_content_beyond_the_volume_stays(nodes: Nodes) -> None:
    node, volume = nodes
    scene = volume.GetScene()
    # The middle of the same lattice, and finer voxels.
    inner = ijk_to_ras()
    inner[:3, 3] = (ijk_to_ras() @ (2, 2, 1, 1))[:3]
    for name, matrix in (("inner", inner), ("fine", inner @ np.diag([0.5, 0.5, 0.5, 1]))):
        small = add_volume(scene, matrix, (2, 2, 3), name)
        before = read_segment(node, "lesion", volume)
        segment = live((node, small))
        segment.show({0: np.ones((2, 3), bool)})
        segment.finish()
        here = np.zeros(SHAPE, bool)
        here[1:3, 2:4, 2:5] = True
        after = read_segment(node, "lesion", volume)
        np.testing.assert_array_equal(after[~here], before[~here], name)
        assert segment.read()[0].all()


def test_a_shared_image_is_left_to_the_others(scene: slicer.vtkMRMLScene) -> None:
    node, volume = make_nodes(scene, crowd(1))
    collapse(node)
    before = everything(node)
    segment = LiveSegment(node, volume, id_of(node, "b"), Plane.AXIAL)
    segment.show({1: FULL})
    segmentation = node.GetSegmentation()
    assert (
        len(segmentation.GetSegmentIDsForLayer(segmentation.GetLayerIndex(id_of(node, "b")))) == 1
    )
    assert {n: s for n, s in everything(node).items() if n != "b"} == {
        n: s for n, s in before.items() if n != "b"
    }
    # Slicer puts a new segment into the first segment's image.
    segment = LiveSegment(node, volume, id_of(node, "a"), Plane.AXIAL)
    segment.show({1: FULL})
    new = segmentation.AddEmptySegment("", "new")
    paint((node, volume), LESION & ~read_segment(node, "a", volume), LOGIC.MODE_MERGE_MASK, "new")
    painted = stored(node, "new")
    assert painted and not segment.edited()
    segment.show({1: NONE, 2: FULL})
    assert stored(node, "new") == painted
    fresh = LiveSegment(node, volume, new, Plane.AXIAL)
    fresh.show({3: FULL})
    np.testing.assert_array_equal(segment.read()[1:3], [NONE, FULL])


def test_first_slices_of_an_empty_segmentation(scene: slicer.vtkMRMLScene) -> None:
    volume, node = add_volume(scene), add_segmentation(scene)
    ids = [node.GetSegmentation().AddEmptySegment("", name) for name in ("lesion", "other")]
    logic, segment = LOGIC, node.GetSegmentation().GetSegment(ids[0])
    assert logic.GetSegmentStatus(segment) == logic.NotStarted
    shown = live((node, volume))
    shown.finish()
    shown.show({2: LESION[2]})
    shown.finish()
    np.testing.assert_array_equal(read_segment(node, "lesion", volume)[2], LESION[2])
    assert logic.GetSegmentStatus(segment) == logic.InProgress
    assert labelmap_of(node, "lesion").GetExtent() == (3, 6, 2, 3, 2, 2)
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    shown.show({2: NONE})
    shown.finish()
    assert labelmap_of(node, "lesion").GetExtent() == (0, -1, 0, -1, 0, -1)
    assert not shown.read().any() and not shown.edited()
    shown.show({0: FULL})
    assert shown.read()[0].all()


@pytest.mark.parametrize("large", [1, 200, 300, 70000])
def test_label_values_of_any_size(scene: slicer.vtkMRMLScene, large: int) -> None:
    node, volume = make_nodes(scene, {"lesion": np.zeros(SHAPE, bool)})
    segment = node.GetSegmentation().GetSegment(id_of(node, "lesion"))
    segment.SetLabelValue(large)
    shown = live((node, volume))
    shown.show({0: FULL})
    assert shown.read()[0].all() and segment.GetLabelValue() == large
    assert read_segment(node, "lesion", volume)[0].all()


# Overwriting, and giving back


def test_what_was_taken_comes_back(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({1: LESION[1]})
    # The overlap was there before.
    np.testing.assert_array_equal(read_segment(node, "organ", volume), ORGAN)
    segment.show({1: FULL})
    assert not read_segment(node, "organ", volume)[1].any()
    segment.masking = Masking.PROTECT
    segment.show({1: FULL})
    assert segment.read()[1].all()  # what was taken stays taken
    half = FULL.copy()
    half[:, 3:] = False
    segment.show({1: half})
    np.testing.assert_array_equal(read_segment(node, "organ", volume)[1], ORGAN[1] & ~half)
    segment.show({1: FULL})
    np.testing.assert_array_equal(segment.read()[1], half | ~ORGAN[1])
    np.testing.assert_array_equal(read_segment(node, "organ", volume)[1], ORGAN[1] & ~half)
    segment.show({1: LESION[1]})
    np.testing.assert_array_equal(segment.read(), LESION)
    np.testing.assert_array_equal(read_segment(node, "organ", volume), ORGAN)


@pytest.mark.parametrize("way", ["hidden", "locked"])
def test_hidden_and_locked_segments_wait(nodes: Nodes, way: str) -> None:
    node, volume = nodes
    change = hide if way == "hidden" else set_locked
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({0: FULL})
    change(node, "organ", True)
    segment.show({0: NONE})
    segment.show({1: FULL})
    assert not read_segment(node, "organ", volume)[0].any()
    np.testing.assert_array_equal(read_segment(node, "organ", volume)[1:], ORGAN[1:])
    change(node, "organ", False)
    segment.show({4: FULL})
    np.testing.assert_array_equal(read_segment(node, "organ", volume), ORGAN)


def test_removed_cropped_and_changed_segments(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({0: FULL, 2: FULL})
    # Somebody cuts the image to what is left, erases a part of it, and paints another one anew.
    paint(nodes, block((1, 2), (1, 2), (1, 2)), LOGIC.MODE_MERGE_MIN, "organ")
    assert labelmap_of(node, "organ").GetExtent()[4:] == (1, 1)
    paint(nodes, block((2, 3), (0, 2), (0, 2)), LOGIC.MODE_MERGE_MASK, "organ")
    segment.show({0: LESION[0], 2: LESION[2]})
    expected = ORGAN.copy()
    expected[2, :2, :2] = True
    expected[1, 1, 1] = False
    np.testing.assert_array_equal(read_segment(node, "organ", volume), expected)
    segment.show({0: FULL})
    node.GetSegmentation().RemoveSegment(id_of(node, "organ"))
    segment.show({0: NONE})
    np.testing.assert_array_equal(segment.read()[1:], LESION[1:])


def test_a_cropped_empty_segment_gets_everything_back(scene: slicer.vtkMRMLScene) -> None:
    node, volume = make_nodes(scene, {"organ": ORGAN, "lesion": LESION & False})
    segment = live((node, volume), Masking.OVERWRITE)
    segment.show(dict.fromkeys(range(5), FULL))
    organ = LiveSegment(node, volume, id_of(node, "organ"), Plane.AXIAL)
    organ.show({0: FULL})
    organ.show({0: NONE})
    organ.finish()
    assert labelmap_of(node, "organ").GetNumberOfPoints() == 0
    segment.show(dict.fromkeys(range(5), NONE))
    np.testing.assert_array_equal(read_segment(node, "organ", volume), ORGAN)


def test_a_place_taken_by_another_segment_is_not_given_back(scene: slicer.vtkMRMLScene) -> None:
    node, volume = make_nodes(scene, crowd(2))
    collapse(node)
    a, b = (read_segment(node, name, volume) for name in "ab")
    segment = live((node, volume), Masking.OVERWRITE)
    segment.show({0: FULL})
    paint((node, volume), block((0, 1), (0, 6), (0, 7)), LOGIC.MODE_MERGE_MASK, "b")
    segment.show({0: NONE})
    b[0] = True
    a[0] = False
    for name, mask in (("a", a), ("b", b)):
        np.testing.assert_array_equal(read_segment(node, name, volume), mask, name)


def test_images_that_are_merged_meanwhile(scene: slicer.vtkMRMLScene) -> None:
    node, volume = make_nodes(scene, {n: m for n, m in crowd(3).items() if n in "abc"})
    before = everything(node)
    segment = LiveSegment(node, volume, id_of(node, "b"), Plane.AXIAL, Masking.OVERWRITE)
    start = segment.read()
    segment.show({0: FULL})
    collapse(node)
    assert segment.edited() == {}
    segment.show({0: start[0]})
    assert everything(node) == before


def test_what_somebody_else_uncovers_is_given_back(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({0: FULL})
    paint(nodes, block((0, 1), (0, 3), (0, 7)), LOGIC.MODE_MERGE_MIN)
    assert list(segment.edited()) == [0]
    segment.show({})
    expected = ORGAN.copy()
    expected[0, 3:] = False
    np.testing.assert_array_equal(read_segment(node, "organ", volume), expected)


def test_cropped_segments_on_other_voxels(scene: slicer.vtkMRMLScene, nodes: Nodes) -> None:
    node, volume = nodes
    matrix = ijk_to_ras(spacing=(0.7, 0.9, 1.1), turn=(10, 0, 5))
    other = add_volume(scene, matrix, (8, 7, 9), "other")
    write_segments(node, other, {"organ": np.ones((8, 7, 9), bool)})
    before = stored(node, "organ")
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({0: FULL, 1: FULL})
    organ = LiveSegment(node, other, id_of(node, "organ"), Plane.AXIAL)
    organ.show({0: np.zeros((7, 9), bool)})
    organ.finish()
    assert stored(node, "organ") < before
    left = labelmap_of(node, "organ").GetExtent()
    segment.show({0: NONE, 1: LESION[1]})
    assert labelmap_of(node, "organ").GetExtent() != left
    organ.show({0: np.ones((7, 9), bool)})
    assert stored(node, "organ") == before


# Other people's edits


def test_strokes_are_noticed_slice_by_slice(nodes: Nodes) -> None:
    segment = live(nodes)
    segment.show({2: FULL})
    stroke = block((0, 3), (0, 3), (0, 3))
    expected = segment.read() | stroke
    paint(nodes, stroke, LOGIC.MODE_MERGE_MAX)
    seen = segment.edited()
    # Nothing was new on the slice that is full.
    assert list(seen) == [0, 1]
    for index, mask in seen.items():
        np.testing.assert_array_equal(mask, expected[index])
    assert segment.edited() == {}
    paint(nodes, block((1, 4), (2, 4), (4, 6)), LOGIC.MODE_MERGE_MIN)
    assert list(segment.edited()) == [1, 2, 3]
    paint(nodes, block((2, 3), (0, 6), (0, 7)), LOGIC.MODE_REPLACE)
    seen = segment.edited()
    assert list(seen) == [0, 1, 2, 3]
    np.testing.assert_array_equal(list(seen.values()), [NONE, NONE, FULL, NONE])
    segment.show({0: FULL})
    segment.finish()
    assert segment.edited() == {}


def test_an_edit_is_not_lost_to_a_write_elsewhere(nodes: Nodes) -> None:
    segment = live(nodes)
    paint(nodes, block((0, 1), (0, 2), (0, 2)), LOGIC.MODE_MERGE_MASK)
    segment.show({4: FULL})
    segment.finish()
    assert list(segment.edited()) == [0]
    paint(nodes, block((0, 1), (4, 6), (0, 2)), LOGIC.MODE_MERGE_MASK)
    segment.show({0: FULL})
    assert segment.edited() == {}


def test_an_overwriting_segment_is_noticed(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes)
    other = LiveSegment(node, volume, id_of(node, "organ"), Plane.AXIAL, Masking.OVERWRITE)
    other.show({1: FULL, 0: FULL})
    seen = segment.edited()
    assert list(seen) == [1] and not seen[1].any()
    other.show({1: NONE})
    np.testing.assert_array_equal(segment.edited()[1], LESION[1])
    assert other.edited() == {}


def test_undo_of_slicer_is_noticed(nodes: Nodes) -> None:
    node, volume = nodes
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({3: FULL})
    history.SaveState()
    paint(nodes, block((0, 2), (0, 3), (0, 3)), LOGIC.MODE_MERGE_MASK)
    assert list(segment.edited()) == [0, 1]
    assert history.RestorePreviousState()
    seen = segment.edited()
    assert list(seen) == [0, 1]
    np.testing.assert_array_equal(seen[1], LESION[1])
    # A state saved by Slicer is not touched by what is shown later.
    segment.show({1: FULL, 3: NONE})
    assert list(segment.edited()) == []
    history.SaveState()
    segment.show({1: NONE})
    assert history.RestorePreviousState()
    assert segment.edited()[1].all()
    history.SetSegmentation(None)


def test_a_painted_overlap_comes_back_as_it_was(nodes: Nodes) -> None:
    node, volume = nodes
    for masking in (Masking.PROTECT, Masking.OVERWRITE):
        segment = live(nodes, masking)
        segment.show({0: FULL})
        segment.show({0: NONE})
        paint(nodes, block((0, 1), (0, 6), (0, 3)), LOGIC.MODE_MERGE_MASK)
        (painted,) = segment.edited().values()
        before = everything(node)
        for mask in (painted, FULL, painted, NONE, painted):
            segment.show({0: mask})
        assert everything(node) == before
        paint(nodes, block((0, 1), (0, 6), (0, 7)), LOGIC.MODE_MERGE_MIN)


# Events and surfaces


def test_observers_hear_once_with_the_segment(nodes: Nodes) -> None:
    node, volume = nodes
    segment, segmentation = live(nodes, Masking.OVERWRITE), node.GetSegmentation()
    segment.show({1: LESION[1] | ORGAN[1]})
    heard: Counter[int] = Counter()
    said: list[str] = []
    whole: list[bool] = []
    mask = FULL

    def hear(_caller: object, _event: str, segment_id: str) -> None:
        said.append(segment_id)
        whole.append(np.array_equal(segment.read()[1], mask) and not segment.edited())

    hear.CallDataType = VTK_STRING
    events = (segmentation.SourceRepresentationModified, segmentation.RepresentationModified)
    for event in events:
        node.AddObserver(event, hear)
        segmentation.AddObserver(event, lambda *_, event=event: heard.update([event]))
    node.AddObserver("ModifiedEvent", lambda *_: heard.update([0]))
    for mask in (FULL, LESION[1], NONE):
        segment.show({1: mask})
        assert sorted(heard.items()) == [(event, 1) for event in sorted(events)]
        heard.clear()
    assert said == [id_of(node, "lesion")] * 6 and all(whole)
    segment.show({1: NONE, 3: LESION[3]})
    segment.edited()
    assert not heard
    segment.finish()
    assert sorted(heard.items()) == [(event, 1) for event in sorted(events)]
    heard.clear()
    segment.finish()
    assert not heard


def test_surfaces_wait_for_the_end(nodes: Nodes) -> None:
    node, volume = nodes
    assert node.CreateClosedSurfaceRepresentation()
    segmentation = node.GetSegmentation()

    def surface(name: str) -> tuple[float, ...]:
        segment = segmentation.GetSegment(id_of(node, name))
        return segment.GetRepresentation("Closed surface").GetBounds()

    before = surface("organ"), surface("lesion")
    segment = live(nodes, Masking.OVERWRITE)
    for index in (0, 4):
        segment.show({index: FULL})
    assert (surface("organ"), surface("lesion")) == before
    segment.finish()
    assert surface("organ") != before[0] and surface("lesion") != before[1]
    assert labelmap_of(node, "lesion").GetExtent() == (0, 6, 0, 5, 0, 4)
    assert not segment.edited()


def test_slice_images_know_that_they_changed(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({1: FULL})
    images = [labelmap_of(node, name) for name in ("organ", "lesion")]
    times = [image.GetMTime() for image in images]
    segment.show({1: NONE})
    assert [labelmap_of(node, name) for name in ("organ", "lesion")] == images
    assert all(image.GetMTime() > time for image, time in zip(images, times, strict=True))


# Refusals


def test_refusals(nodes: Nodes) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    before = everything(node)
    assert segment.refusal() is None

    def refused(sentence: str) -> None:
        assert sentence in segment.refusal()
        with pytest.raises(UserError, match=sentence):
            segment.show({0: FULL})

    hide(node, "lesion")
    refused("is hidden; show it")
    hide(node, "lesion", False)
    set_locked(node, "lesion")
    refused("is locked; unlock it")
    set_locked(node, "lesion", False)
    put_under(volume, ijk_to_ras(spacing=(1, 1, 1), turn=(0, 0, 20)))
    refused("ct was moved against seg")
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    assert segment.refusal() is None
    volume.SetAndObserveTransformNodeID(None)
    node.SetAndObserveTransformNodeID(None)
    put_under_warp(volume)
    refused("under a non-linear transform")
    assert segment.edited() == {}
    volume.SetAndObserveTransformNodeID(None)
    image = volume.GetImageData()
    volume.SetAndObserveImageData(None)
    refused("has no image data")
    volume.SetAndObserveImageData(image)
    for slices, sentence in (
        ({5: FULL}, "no slice 5; the volume has 0 to 4"),
        ({-1: FULL}, "no slice -1"),
        ({0: FULL, 1: np.ones((7, 6), bool)}, r"slice 1 has \(7, 6\) pixels; the slice has"),
    ):
        with pytest.raises(UserError, match=sentence):
            segment.show(slices)
    assert everything(node) == before
    with pytest.raises(UserError, match="not in seg"):
        LiveSegment(node, volume, "nothing", Plane.AXIAL)
    with pytest.raises(UserError, match="No segmentation"):
        LiveSegment(None, volume, "nothing", Plane.AXIAL)
    with pytest.raises(UserError, match="No volume"):
        LiveSegment(node, None, "nothing", Plane.AXIAL)


@pytest.mark.parametrize("what", ["segment", "volume", "segmentation", "scene"])
def test_what_is_gone(nodes: Nodes, what: str) -> None:
    node, volume = nodes
    scene = node.GetScene()
    segment = live(nodes)
    segment.show({0: FULL})
    if what == "segment":
        node.GetSegmentation().RemoveSegment(id_of(node, "lesion"))
    elif what == "scene":
        scene.Clear()
    else:
        scene.RemoveNode(volume if what == "volume" else node)
    sentence = segment.refusal()
    assert sentence and sentence.endswith("select another one.")
    for call in (lambda: segment.show({0: NONE}), segment.read):
        with pytest.raises(UserError, match="select another one"):
            call()
    assert segment.edited() == {}
    segment.finish()


def test_a_failure_half_way_changes_nothing(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node, volume = nodes
    segment = live(nodes, Masking.OVERWRITE)
    segment.show({0: FULL})
    before = everything(node)

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(live_segment, "write_of_neighbours", fail)
        with pytest.raises(MemoryError):
            segment.show({0: NONE, 1: FULL})
    assert everything(node) == before
    assert not node.GetDisableModifiedEvent() and not segment.edited()
    segment.show({0: LESION[0]})
    np.testing.assert_array_equal(segment.read(), LESION)
    np.testing.assert_array_equal(read_segment(node, "organ", volume), ORGAN)


def test_a_segment_far_larger_than_the_volume_is_refused(nodes: Nodes) -> None:
    node, volume = nodes
    tiny = add_volume(volume.GetScene(), np.diag([1e-3, 1e-3, 1e-3, 1]), name="tiny")
    with pytest.raises(UserError, match="far larger than the volume"):
        live((node, tiny))


def test_no_observer_stays_behind(nodes: Nodes) -> None:
    node, volume = nodes
    segmentation = node.GetSegmentation()
    watched = (node, volume, segmentation, labelmap_of(node, "organ"))
    before = [str(each.HasObserver("AnyEvent")) for each in watched]
    segment = live(nodes)
    segment.show({0: FULL})
    assert [str(each.HasObserver("AnyEvent")) for each in watched] == before
