"""The markups of a segment: what they say, how they look, and what becomes of them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st

from mrml_scenes import (
    SHAPE,
    add_segmentation,
    add_volume,
    affines,
    block,
    ijk_to_ras,
    put_under,
    rigid_matrices,
)
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane, StackGeometry
from SAM2Medical3DLib.mrml import point_to_world, write_segments
from SAM2Medical3DLib.mrml.prompts.prompt_nodes import (
    PromptNodes,
    SlicePrompts,
    prompt_nodes_of_scene,
)
from SAM2Medical3DLib.prompts import Box, Point

P, N = (lambda row, col: Point(row, col, True)), (lambda row, col: Point(row, col, False))
MASK = block((1, 3), (1, 3), (2, 5))
GEOMETRY = StackGeometry(Grid(SHAPE[::-1], ijk_to_ras()), Plane.AXIAL)
SOME: SlicePrompts = {
    1: ((P(1, 2), P(2, 3), N(0, 0)), Box(0.5, 1, 3, 3.5)),
    3: ((), Box(1, 1, 2, 2)),
    4: ((N(1, 1),), None),
}


@pytest.fixture
def scene() -> slicer.vtkMRMLScene:
    return slicer.vtkMRMLScene()


@pytest.fixture
def segmentation(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentationNode:
    return with_segments(scene, "liver", "spleen")


@pytest.fixture
def prompts(segmentation: slicer.vtkMRMLSegmentationNode) -> PromptNodes:
    return PromptNodes(segmentation, segment_ids(segmentation)[0])


def with_segments(scene: slicer.vtkMRMLScene, *names: str) -> slicer.vtkMRMLSegmentationNode:
    node = add_segmentation(scene)
    write_segments(node, add_volume(scene), dict.fromkeys(names, MASK))
    return node


def segment_ids(node: slicer.vtkMRMLSegmentationNode) -> Sequence[str]:
    return node.GetSegmentation().GetSegmentIDs()


def flat(prompts: SlicePrompts) -> list[tuple[float, ...]]:
    """Everything as rows of numbers, for comparing with a tolerance."""
    rows = []
    for index, (points, box) in prompts.items():
        rows += [(index, p.positive, p.row, p.col, 0, 0) for p in points]
        rows += [] if box is None else [(index, 2, box.row0, box.col0, box.row1, box.col1)]
    return rows


def assert_says(found: SlicePrompts, expected: SlicePrompts, pixels: float = 1e-3) -> None:
    assert list(found) == list(expected)
    assert len(flat(found)) == len(flat(expected))
    assert np.allclose(flat(found), flat(expected), rtol=0, atol=pixels)


def events_of(nodes: Sequence[slicer.vtkMRMLNode]) -> list[str]:
    """A list that gets every event of the nodes from now on."""
    seen: list[str] = []
    for node in nodes:
        node.AddObserver("AnyEvent", lambda caller, event: seen.append(event) if caller else None)
    return seen


def folder_items(scene: slicer.vtkMRMLScene) -> dict[str, list[str]]:
    """Names of the folders in the subject hierarchy, with the names in each."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    top: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), top)
    found = {}
    for folder in top:
        if hierarchy.GetItemDataNode(folder) is None:
            items: list[int] = []
            hierarchy.GetItemChildren(folder, items)
            found[hierarchy.GetItemName(folder)] = [hierarchy.GetItemName(i) for i in items]
    return found


fractions = st.floats(0, 1)
given_on_slice = st.tuples(
    st.lists(st.tuples(fractions, fractions, st.booleans()), max_size=4),
    st.none() | st.tuples(*[st.floats(0, 0.5)] * 2, *[st.floats(0.6, 1)] * 2),
).filter(lambda given: given[0] or given[1])
given_on_slices = st.dictionaries(st.integers(0, 4), given_on_slice, max_size=3)


def on_stack(geometry: StackGeometry, drawn: dict) -> SlicePrompts:
    """Fractions of the stack as prompts; positive points first, as they are read."""
    n, height, width = geometry.shape
    found = {}
    for where, (points, box) in drawn.items():
        made = [Point(r * height - 0.5, c * width - 0.5, positive) for r, c, positive in points]
        made.sort(key=lambda point: not point.positive)
        corners = None
        if box is not None:
            corners = Box(*(f * s - 0.5 for f, s in zip(box, (height, width) * 2, strict=True)))
        found[where % n] = tuple(made), corners
    return dict(sorted(found.items()))


@settings(max_examples=40, deadline=None)
@given(affines(), st.sampled_from(Plane), given_on_slices, given_on_slices, rigid_matrices())
def test_nodes_say_what_was_written(
    matrix: np.ndarray, plane: Plane, first: dict, second: dict, moved: np.ndarray
) -> None:
    scene = slicer.vtkMRMLScene()
    node = add_segmentation(scene)
    put_under(node, moved)  # the nodes stay in the world
    prompts = PromptNodes(node, "liver")
    geometry = StackGeometry(Grid(SHAPE[::-1], matrix), plane)
    for drawn in (first, second):
        wanted = on_stack(geometry, drawn)
        prompts.write(geometry, wanted)
        assert_says(prompts.read(geometry), wanted)
        seen = events_of([scene, *prompts.nodes()])
        prompts.write(geometry, wanted)
        assert seen == []
        assert prompts.is_empty == (not wanted)


def test_only_what_differs_is_touched(prompts: PromptNodes) -> None:
    prompts.write(GEOMETRY, SOME)
    kept = {node.GetID(): node for node in prompts.nodes()}
    first, second = (kept["vtkMRMLMarkupsROINode1"], kept["vtkMRMLMarkupsROINode2"])
    ids = [prompts.points(True).GetNthControlPointID(n) for n in range(2)]
    untouched = events_of([prompts.points(False), second])
    changed = {**SOME, 1: ((P(1.005, 2), P(2.5, 3), P(3, 3), N(0, 0.005)), Box(0.5, 1, 3, 4))}
    prompts.write(GEOMETRY, changed)
    assert_says(prompts.read(GEOMETRY), changed, pixels=0.01)
    assert untouched == []
    assert [prompts.points(True).GetNthControlPointID(n) for n in range(2)] == ids
    position = [0.0, 0.0, 0.0]
    prompts.points(True).GetNthControlPointPositionWorld(0, position)
    assert position == pytest.approx(point_to_world(GEOMETRY, 1, 1, 2))  # 0.005 pixel is nothing
    assert first.GetSize()[0] == pytest.approx(3 * GEOMETRY.spacing[2])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([P(1, 1), P(2, 2), P(3, 3)], [P(1, 1), P(3, 3)]),
        ([P(1, 1), P(3, 3)], [P(1, 1), P(2, 2), P(3, 3)]),
        ([P(2, 2), P(3, 3)], [P(0, 0), P(1, 1), P(2, 2), P(3, 3)]),
        ([P(1, 1), P(2, 2), P(3, 3)], [P(3, 3), P(1, 1)]),
        ([P(1, 1), P(2, 2)], [P(4, 4), P(2, 2), P(0, 0), P(0, 1)]),
        ([P(1, 1), P(1, 1)], [P(1, 1)]),
        ([], [P(1, 1), P(1, 1)]),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_points_keep_their_order(
    prompts: PromptNodes, before: list[Point], after: list[Point], last: bool
) -> None:
    other = {4: ((P(0, 5), P(5, 0)), None)}
    for points in (before, after, before):
        wanted = {2: (tuple(points), None)} if points else {}
        wanted = {**wanted, **other} if last else {**other, **wanted}
        prompts.write(GEOMETRY, wanted)
        assert_says(prompts.read(GEOMETRY), dict(sorted(wanted.items())))
    assert prompts.points(True).GetNumberOfControlPoints() == len(before) + 2


def test_what_the_user_drags_adds_and_deletes_is_read(prompts: PromptNodes) -> None:
    prompts.write(GEOMETRY, SOME)
    points = prompts.points(True)
    points.SetNthControlPointPositionWorld(0, point_to_world(GEOMETRY, 2, 4, 5))
    points.RemoveNthControlPoint(1)
    points.AddControlPointWorld(point_to_world(GEOMETRY, 0, 5, 6))
    (roi,) = [n for n in prompts.nodes() if n.GetID() == "vtkMRMLMarkupsROINode2"]
    roi.SetCenterWorld(*point_to_world(GEOMETRY, 2, 1.5, 2.5))
    expected = {
        0: ((P(5, 6),), None),
        1: ((N(0, 0),), Box(0.5, 1, 3, 3.5)),
        2: ((P(4, 5),), Box(1, 2, 2, 3)),
        4: ((N(1, 1),), None),
    }
    assert_says(prompts.read(GEOMETRY), expected)
    prompts.write(GEOMETRY, SOME)
    assert_says(prompts.read(GEOMETRY), SOME)
    prompts.write(GEOMETRY, {})
    assert prompts.read(GEOMETRY) == {} and prompts.is_empty


def test_what_is_about_to_be_placed_is_left_alone(
    segmentation: slicer.vtkMRMLSegmentationNode, prompts: PromptNodes
) -> None:
    points, roi = prompts.points(True), prompts.new_box()
    points.AddControlPointWorld((900, 900, 900))
    points.UnsetNthControlPointPosition(0)
    other = PromptNodes(segmentation, segment_ids(segmentation)[1])
    other.new_box().AddControlPointWorld(point_to_world(GEOMETRY, 1, 1, 1))
    assert prompts.is_empty and prompts.read(GEOMETRY) == {}
    seen = events_of([points, roi])
    prompts.write(GEOMETRY, {})
    assert seen == [] and prompts.nodes() == [points, roi]
    prompts.write(GEOMETRY, SOME)
    assert_says(prompts.read(GEOMETRY), SOME)
    assert points.GetNumberOfControlPoints() == 3 and roi in prompts.nodes()
    assert prompts.new_box() is roi  # the one that waits
    assert other.is_empty and other.read(GEOMETRY) == {}


def test_of_two_boxes_the_later_counts(prompts: PromptNodes) -> None:
    prompts.write(GEOMETRY, {1: ((), Box(0, 0, 1, 1))})
    second = prompts.new_box()
    for corner in ((2, 2), (4, 5)):
        second.AddControlPointWorld(point_to_world(GEOMETRY, 1, *corner))
    prompts.flatten_box(second, GEOMETRY)
    assert_says(prompts.read(GEOMETRY), {1: ((), Box(2, 2, 4, 5))})
    seen = events_of([second])
    prompts.write(GEOMETRY, prompts.read(GEOMETRY))
    assert prompts.nodes() == [second] and seen == []


def test_prompts_outside_are_refused_and_brought_back(prompts: PromptNodes) -> None:
    prompts.write(GEOMETRY, SOME)
    prompts.points(True).SetNthControlPointPositionWorld(0, (900.0, 0.0, 0.0))
    with pytest.raises(UserError, match=r"The point \+\d lies outside the volume"):
        prompts.read(GEOMETRY)
    prompts.write(GEOMETRY, SOME)
    assert_says(prompts.read(GEOMETRY), SOME)
    roi = prompts.nodes()[-1]
    roi.SetCenterWorld(900.0, 0.0, 0.0)
    roi.SetCenterWorld(*point_to_world(GEOMETRY, 30, 1, 1))
    with pytest.raises(UserError, match="The centre of liver box lies outside"):
        prompts.read(GEOMETRY)
    prompts.write(GEOMETRY, SOME)
    assert_says(prompts.read(GEOMETRY), SOME)
    assert roi in prompts.nodes()


@settings(max_examples=40, deadline=None)
@given(
    affines(),
    st.sampled_from(Plane),
    st.integers(0, 4),
    st.tuples(*[st.floats(0.01, 0.99)] * 4),
)
def test_a_drawn_box_becomes_flat(
    matrix: np.ndarray, plane: Plane, where: int, corners: tuple[float, ...]
) -> None:
    scene = slicer.vtkMRMLScene()
    prompts = PromptNodes(add_segmentation(scene), "liver")
    geometry = StackGeometry(Grid(SHAPE[::-1], matrix), plane)
    n, height, width = geometry.shape
    r0, c0, r1, c1 = (f * s - 0.5 for f, s in zip(corners, (height, width) * 2, strict=True))
    if min(abs(r1 - r0), abs(c1 - c0)) < 0.01:
        return
    roi = prompts.new_box(geometry.grid)
    prompts.flatten_box(roi, geometry)  # nothing is placed: nothing happens
    assert roi.GetNumberOfControlPoints() == 0
    roi.AddControlPointWorld(point_to_world(geometry, where % n, r0, c0))
    prompts.flatten_box(roi, geometry)
    assert prompts.is_empty
    roi.AddControlPointWorld(point_to_world(geometry, where % n, r1, c1))
    prompts.flatten_box(roi, geometry)
    expected = {where % n: ((), Box(r0, c0, r1, c1))}
    assert_says(prompts.read(geometry), expected)
    size = np.array(roi.GetSize())
    assert size[2] == pytest.approx(geometry.spacing[0])  # Z is across the slices
    assert size[0] == pytest.approx(abs(c1 - c0) * geometry.spacing[2], abs=1e-3)
    # It is in the middle of its slice and reaches half way to the next ones.
    centre = geometry.stack_from_ijk(geometry.grid.ijk_from_ras(roi.GetCenterWorld()))
    assert centre[0] == pytest.approx(where % n, abs=1e-3)
    seen = events_of([roi])
    prompts.flatten_box(roi, geometry)
    assert seen == []


def test_nodes_are_found_again_and_belong_to_one_segment(
    scene: slicer.vtkMRMLScene, segmentation: slicer.vtkMRMLSegmentationNode, prompts: PromptNodes
) -> None:
    liver, spleen = segment_ids(segmentation)
    other = with_segments(scene, "liver")
    prompts.write(GEOMETRY, SOME)
    PromptNodes(segmentation, spleen).write(GEOMETRY, {0: ((P(1, 1),), None)})
    PromptNodes(other, liver).points(False)
    scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "the user's own")
    again = PromptNodes(segmentation, liver)
    assert again.nodes() == prompts.nodes()
    assert [again.kind(n) for n in again.nodes()] == ["positive", "negative", "box", "box"]
    assert again.points(True) is prompts.points(True)
    found = prompt_nodes_of_scene(scene)
    assert set(found) == {
        (segmentation.GetID(), liver),
        (segmentation.GetID(), spleen),
        (other.GetID(), liver),
    }
    assert_says(found[segmentation.GetID(), liver].read(GEOMETRY), SOME)
    assert found[segmentation.GetID(), spleen].kind(again.points(True)) is None
    names = [n.GetName() for n in again.nodes()]
    assert names == ["liver +", "liver -", "liver box", "liver box"]


def test_names_follow_the_segment(segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    prompts = PromptNodes(segmentation, segment_ids(segmentation)[0])
    prompts.write(GEOMETRY, SOME)
    segment = segmentation.GetSegmentation().GetSegment(segment_ids(segmentation)[0])
    segment.SetName("50% of it")  # a trap: Slicer takes labels for formats of C
    assert [n.GetName() for n in prompts.nodes()[:2]] == ["50% of it +", "50% of it -"]
    assert prompts.new_box().GetName() == "50% of it box"
    prompts.points(True).AddControlPointWorld((0.0, 0.0, 0.0))
    nodes = prompts.nodes()
    del prompts
    gc.collect()
    segment.SetName("left alone")
    assert nodes[0].GetName() == "50% of it +"


def test_one_folder_holds_them_until_it_is_empty(
    scene: slicer.vtkMRMLScene, segmentation: slicer.vtkMRMLSegmentationNode, prompts: PromptNodes
) -> None:
    spleen = PromptNodes(segmentation, segment_ids(segmentation)[1])
    assert folder_items(scene) == {}
    prompts.write(GEOMETRY, SOME)
    spleen.points(True)
    folder = "SAM2Medical3D prompts"
    assert sorted(folder_items(scene)[folder]) == sorted(
        n.GetName() for n in prompts.nodes() + spleen.nodes()
    )
    count = scene.GetNumberOfNodes()
    prompts.remove()
    assert prompts.nodes() == [] and folder_items(scene) == {folder: ["spleen +"]}
    assert scene.GetNumberOfNodes() == count - 8  # with their display nodes
    scene.RemoveNode(segmentation)
    spleen.remove()
    assert spleen.nodes() == [] and folder_items(scene) == {}
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsDisplayNode") == 0


def test_copies_by_the_user_are_read_and_merged(
    scene: slicer.vtkMRMLScene, prompts: PromptNodes
) -> None:
    prompts.write(GEOMETRY, {1: ((P(1, 1),), None)})
    copy = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    copy.Copy(prompts.points(True))
    copy.SetNthControlPointPositionWorld(0, point_to_world(GEOMETRY, 1, 3, 3))
    both = {1: ((P(1, 1), P(3, 3)), None)}
    assert_says(prompts.read(GEOMETRY), both)
    prompts.write(GEOMETRY, both)
    assert_says(prompts.read(GEOMETRY), both)
    assert len(prompts.nodes()) == 1


def test_they_look_like_prompts(prompts: PromptNodes) -> None:
    prompts.write(GEOMETRY, SOME)
    colours = [n.GetDisplayNode().GetSelectedColor() for n in prompts.nodes()[:3]]
    assert [int(np.argmax(c)) for c in colours[:2]] == [1, 0]
    assert colours[2][2] < min(colours[2][:2])  # yellow
    for node in prompts.nodes():
        display = node.GetDisplayNode()
        assert not display.GetPointLabelsVisibility() and not display.GetPropertiesLabelVisibility()
        assert not display.GetSliceProjection() and display.GetGlyphScale() < 3
        assert display.GetSnapMode() == display.SnapModeUnconstrained
    assert not display.GetRotationHandleVisibility() and display.GetScaleHandleVisibility()


def test_shown_and_editable_hold_for_later_nodes(
    segmentation: slicer.vtkMRMLSegmentationNode, prompts: PromptNodes
) -> None:
    positive = prompts.points(True)
    prompts.set_shown(False)
    prompts.set_editable(False)
    negative = prompts.points(False)
    assert [n.GetDisplayVisibility() for n in (positive, negative)] == [0, 0]
    assert [n.GetLocked() for n in (positive, negative)] == [1, 1]
    again = PromptNodes(segmentation, segment_ids(segmentation)[0])
    assert again.new_box().GetLocked() and not again.new_box().GetDisplayVisibility()
    again.set_shown(True)
    again.set_editable(True)
    assert all(n.GetDisplayVisibility() and not n.GetLocked() for n in again.nodes())


def saved_and_loaded(scene: slicer.vtkMRMLScene, path: Path) -> slicer.vtkMRMLScene:
    path.parent.mkdir(exist_ok=True)
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(path.parent))
    assert scene.WriteToMRB(str(path))
    with ZipFile(path) as bundle:
        bundle.extractall(path.parent / "unpacked")
    (file,) = (path.parent / "unpacked").rglob("*.mrml")
    loaded = application_scene()
    loaded.SetURL(str(file))
    assert loaded.Import()
    return loaded


def application_scene() -> slicer.vtkMRMLScene:
    """A scene that can save markups, as that of an application can."""
    scene = slicer.vtkMRMLScene()
    scene.AddNode(_singleton(slicer.vtkMRMLSelectionNode()))
    scene.AddNode(_singleton(slicer.vtkMRMLInteractionNode()))
    logic = slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(scene)
    scene.logic = logic
    return scene


def _singleton(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLNode:
    node.SetSingletonTag("Singleton")
    return node


def test_they_survive_a_saved_scene(tmp_path: Path) -> None:
    scene = application_scene()
    segmentation = with_segments(scene, "liver: a; b")
    prompts = PromptNodes(segmentation, segment_ids(segmentation)[0])
    prompts.write(GEOMETRY, SOME)
    prompts.set_shown(False)
    prompts.new_box()
    loaded = saved_and_loaded(scene, tmp_path / "scene.mrb")
    ((key, again),) = prompt_nodes_of_scene(loaded).items()
    assert key == (segmentation.GetID(), segment_ids(segmentation)[0])
    assert_says(again.read(GEOMETRY), SOME)
    assert len(again.nodes()) == 5
    assert not again.points(True).GetDisplayVisibility()
    assert [n.GetName() for n in again.nodes()] == [n.GetName() for n in prompts.nodes()]
    seen = events_of(again.nodes())
    again.write(GEOMETRY, SOME)
    assert seen == []
    (folder,) = folder_items(loaded)
    assert folder == "SAM2Medical3D prompts" and len(folder_items(loaded)[folder]) == 5
    again.remove()
    assert folder_items(loaded) == {}


def test_ordinary_markups_files_say_the_same(tmp_path: Path) -> None:
    scene = application_scene()
    prompts = PromptNodes(with_segments(scene, "liver"), "liver")
    prompts.write(GEOMETRY, SOME)
    for number, node in enumerate(prompts.nodes()):
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(tmp_path / f"{number}.mrk.json"))
        assert storage.WriteData(node)
        node.RemoveAllControlPoints()
        assert storage.ReadData(node)
    assert_says(prompts.read(GEOMETRY), SOME)


def test_new_nodes_do_not_take_the_mouse() -> None:
    scene = application_scene()
    prompts = PromptNodes(with_segments(scene, "liver"), "liver")
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    placed = prompts.points(True)
    selection.SetReferenceActivePlaceNodeClassName(placed.GetClassName())
    selection.SetActivePlaceNodeID(placed.GetID())
    prompts.write(GEOMETRY, SOME)
    assert selection.GetActivePlaceNodeID() == placed.GetID()
    assert selection.GetActivePlaceNodeClassName() == placed.GetClassName()
