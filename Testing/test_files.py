"""Image files to volumes and labelmaps, and segmentations to files."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from grids import make_grid, restored
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import (
    ImageWarning,
    Segment,
    read_labelmap,
    read_segments,
    read_volume,
    replacing,
    write_segmentation,
)
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.geometry import Grid
from SAM2Medical3DLib.volume import Volume

FORMATS = ("nrrd", "nii.gz", "nii", "mha")
OBLIQUE = {"order": (2, 0, 1), "signs": (1, -1, -1), "turn": (12.0, -20.0, 33.0)}


def write(path: Path, array: np.ndarray, grid: Grid) -> Path:
    sitk.WriteImage(image_on(array, grid), str(path), useCompression=True)
    return path


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", [{}, OBLIQUE])
def test_volume_round_trip(
    tmp_path: Path, array: np.ndarray, suffix: str, orientation: dict
) -> None:
    grid = make_grid(array.shape, **orientation)
    volume = read_volume(write(tmp_path / f"a.{suffix}", array, grid))
    assert (volume.array == array).all()
    assert volume.array.dtype == np.int16
    assert volume.grid.matches(grid, 1e-3)
    assert volume.name == f"a.{suffix}"


def test_voxels_outlive_the_reader(tmp_path: Path, array: np.ndarray) -> None:
    path = write(tmp_path / "a.nrrd", array, make_grid(array.shape))
    kept = [read_volume(path).array for _ in range(20)]
    assert all((voxels == array).all() for voxels in kept)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_voxel_types_are_kept(tmp_path: Path, array: np.ndarray, dtype: type) -> None:
    typed = np.abs(array % 200).astype(dtype)
    volume = read_volume(write(tmp_path / "a.nrrd", typed, make_grid(array.shape)))
    assert volume.array.dtype == dtype
    assert (volume.array == typed).all()


def test_fourth_dimension_of_one_is_dropped(tmp_path: Path, array: np.ndarray) -> None:
    image = sitk.JoinSeries([image_on(array, make_grid(array.shape))])
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    volume = read_volume(tmp_path / "a.nii")
    assert (volume.array == array).all()
    assert volume.grid.matches(make_grid(array.shape), 1e-3)


def bad_image(kind: str, folder: Path, array: np.ndarray) -> Path:
    """A file that cannot be used, of every kind that is refused when read."""
    grid, path = make_grid(array.shape), folder / "bad.nii.gz"
    if kind == "missing":
        return path
    if kind == "no image":
        path.write_text("not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "sequence":
        sitk.WriteImage(sitk.JoinSeries([image_on(array, grid)] * 3), str(path))
    elif kind == "colour":
        sitk.WriteImage(
            sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(path)
        )
    elif kind == "2D":
        sitk.WriteImage(sitk.GetImageFromArray(array[0]), str(path))
    elif kind == "one slice":
        write(path, array[:1], make_grid((1, 5, 6)))
    elif kind == "constant":
        write(path, np.full_like(array, 5), grid)
    elif kind == "NaN":
        # As NRRD: ITK reads NaN from NIfTI as 0.
        path = write(folder / "bad.nrrd", np.full(array.shape, np.nan, np.float32), grid)
    else:
        path = write(folder / f"bad.{kind.split()[1]}", array, grid)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * 0.7)])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no file or folder"),
        ("no image", "cannot be read"),
        ("empty", "cannot be read"),
        ("empty folder", "no DICOM series"),
        ("sequence", "4D sequence"),
        ("colour", "3 values per voxel"),
        ("2D", "single slice"),
        ("one slice", "single slice"),
        ("constant", "constant"),
        ("NaN", "no finite voxel"),
        *((f"truncated {suffix}", "truncated|damaged") for suffix in FORMATS),
    ],
)
def test_unsuitable_images_are_refused(
    tmp_path: Path, array: np.ndarray, kind: str, message: str, capfd: pytest.CaptureFixture
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_volume(bad_image(kind, tmp_path, array))
    assert "\n" not in str(caught.value)
    assert "ERROR" not in capfd.readouterr().err


def test_uncompressed_metaimage_cut_off_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(image_on(array, make_grid(array.shape)), str(path), useCompression=False)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="damaged"):
        read_volume(path)


def test_labelmap_on_the_grid(tmp_path: Path, tiny_labels: np.ndarray, tiny_volume: Volume) -> None:
    path = write(tmp_path / "l.nii.gz", tiny_labels.astype(np.float32), tiny_volume.grid)
    labels = read_labelmap(path, tiny_volume.grid)
    assert labels.dtype == np.uint8
    assert (labels == tiny_labels).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_labelmap_stored_in_another_order(
    tmp_path: Path,
    tiny_labels: np.ndarray,
    tiny_volume: Volume,
    order: tuple[int, ...],
    signs: tuple[int, ...],
) -> None:
    path = write(tmp_path / "l.nrrd", *restored(tiny_labels, tiny_volume.grid, order, signs))
    assert (read_labelmap(path, tiny_volume.grid) == tiny_labels).all()


def test_labelmap_of_a_part_or_more(
    tmp_path: Path, tiny_labels: np.ndarray, tiny_volume: Volume
) -> None:
    grid = tiny_volume.grid

    def shifted(start: tuple[int, int, int], shape: tuple[int, ...]) -> Grid:
        matrix = grid.ijk_to_ras.copy()
        matrix[:3, 3] = grid.ras_from_ijk(start)
        return Grid(shape[::-1], matrix)

    part = tiny_labels[1:12, 4:25, 3:35]
    path = write(tmp_path / "part.nrrd", part, shifted((3, 4, 1), part.shape))
    assert (read_labelmap(path, grid) == tiny_labels).all()
    more = np.pad(tiny_labels, ((2, 1), (0, 3), (4, 0)))
    path = write(tmp_path / "more.nrrd", more, shifted((-4, 0, -2), more.shape))
    assert (read_labelmap(path, grid) == tiny_labels).all()
    more[0, 0, 0] = 1
    with pytest.raises(UserError, match="outside the volume"):
        read_labelmap(write(path, more, shifted((-4, 0, -2), more.shape)), grid)
    away = write(tmp_path / "away.nrrd", part, shifted((500, 0, 0), part.shape))
    with pytest.raises(UserError, match="outside the volume"):
        read_labelmap(away, grid)


@pytest.mark.parametrize("changed", [{"spacing": (0.8, 0.9, 1.5)}, {"turn": (0, 0, 5.0)},
                                     {"origin": (11.4, -23.0, 40.5)}])  # fmt: skip
def test_labelmap_on_another_grid_is_refused(
    tmp_path: Path, tiny_labels: np.ndarray, tiny_volume: Volume, changed: dict
) -> None:
    path = write(tmp_path / "l.nrrd", tiny_labels, make_grid(tiny_labels.shape, **changed))
    with pytest.raises(UserError, match="resample"):
        read_labelmap(path, tiny_volume.grid)


@pytest.mark.parametrize(("values", "message"), [(0.5, "fractions"), (-1.0, "from 0 up"),
                                                 (np.nan, "fractions")])  # fmt: skip
def test_labelmap_that_holds_no_labels_is_refused(
    tmp_path: Path, tiny_volume: Volume, values: float, message: str
) -> None:
    array = np.zeros(tiny_volume.array.shape, np.float32)
    array[3, 3, 3] = values
    path = write(tmp_path / "l.nrrd", array, tiny_volume.grid)
    with pytest.raises(UserError, match=message):
        read_labelmap(path, tiny_volume.grid)


NAMES = {1: "Liver", 2: "Tumour (left) é\nfollow-up", 5: "not found"}
COLOURS = {1: (0.2, 0.4, 0.6), 2: (1.0, 0.0, 0.25), 5: (0.0, 0.0, 0.0)}


@pytest.mark.parametrize("suffix", ["seg.nrrd", *FORMATS])
def test_segmentation_round_trip(tmp_path: Path, tiny_labels: np.ndarray, suffix: str) -> None:
    grid = make_grid(tiny_labels.shape, **OBLIQUE)
    path = write_segmentation(tmp_path / f"s.{suffix}", tiny_labels, grid, NAMES, COLOURS, "ct")
    assert (read_labelmap(path, grid) == tiny_labels).all()
    expected = {}
    if suffix == "seg.nrrd":
        expected = {i: Segment(" ".join(NAMES[i].split()), COLOURS[i]) for i in NAMES}
    assert read_segments(path) == expected
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_sixteen_bit_labels(tmp_path: Path, tiny_labels: np.ndarray) -> None:
    grid = make_grid(tiny_labels.shape)
    labels = tiny_labels.astype(np.uint16) * 400
    path = write_segmentation(tmp_path / "s.seg.nrrd", labels, grid, {400: "a"}, {400: (1, 0, 0)})
    assert (read_labelmap(path, grid) == labels).all()


@pytest.mark.parametrize("orientation", [{}, OBLIQUE])
def test_slicer_opens_the_segmentation(
    tmp_path: Path, tiny_labels: np.ndarray, orientation: dict
) -> None:
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    grid = make_grid(tiny_labels.shape, **orientation)
    path = write_segmentation(tmp_path / "s.seg.nrrd", tiny_labels, grid, NAMES, COLOURS, "ct")
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetNumberOfLayers() == 1
    for number, label in enumerate(NAMES):
        segment = segmentation.GetNthSegment(number)
        assert segment.GetName() == " ".join(NAMES[label].split())
        assert segment.GetColor() == pytest.approx(COLOURS[label])
        assert segment.GetLabelValue() == label
    image = segmentation.GetNthSegment(0).GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(tiny_labels.shape)
    assert (voxels == tiny_labels).all()
    matrix = vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    found = [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)]
    np.testing.assert_allclose(found, grid.ijk_to_ras, atol=1e-9)
    geometry = segmentation.GetConversionParameter("Reference image geometry")
    reference = slicer.vtkOrientedImageData()
    assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, reference, False)
    assert reference.GetDimensions() == grid.size


def test_segmentation_saved_by_slicer_is_read(
    tmp_path: Path, tiny_labels: np.ndarray, tiny_volume: Volume
) -> None:
    import slicer

    grid = tiny_volume.grid
    first = write_segmentation(tmp_path / "a.seg.nrrd", tiny_labels, grid, NAMES, COLOURS)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(first))
    assert storage.ReadData(node)
    for crop in (False, True):
        saved = tmp_path / f"b{crop}.seg.nrrd"
        storage.SetCropToMinimumExtent(crop)
        storage.SetFileName(str(saved))
        assert storage.WriteData(node)
        size = read_volume(saved).grid.size
        assert (size == grid.size) != crop
        assert (read_labelmap(saved, grid) == tiny_labels).all()
        assert read_segments(saved)[2] == Segment("Tumour (left) é follow-up", (1.0, 0.0, 0.25))


def test_segmentation_is_refused_before_it_is_written(
    tmp_path: Path, tiny_labels: np.ndarray
) -> None:
    grid = make_grid(tiny_labels.shape)
    (tmp_path / "folder.nrrd").mkdir()
    for name, message in (
        ("s.txt", "suffix"),
        ("s", "suffix"),
        ("none/s.nrrd", "no folder"),
        ("folder.nrrd", "is a folder"),
    ):
        with pytest.raises(UserError, match=message):
            write_segmentation(tmp_path / name, tiny_labels, grid, {1: "a"}, {1: (1, 0, 0)})


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("suffix", ["seg.nrrd", *FORMATS])
def test_full_disk_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s.{suffix}"
    path.write_bytes(b"old")
    code = f"""
import resource, signal, numpy as np
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import write_segmentation
from SAM2Medical3DLib.geometry import Grid
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
labels = np.random.default_rng(0).integers(0, 2, (40, 40, 40)).astype(np.uint8)
try:
    write_segmentation({str(path)!r}, labels, Grid((40, 40, 40), np.eye(4)), {{1: "a"}},
                       {{1: (1, 0, 0)}})
except UserError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused: ")
    assert done.stdout.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def fail_halfway(path: Path, error: BaseException) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_replacing_cleans_up_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        fail_halfway(path, KeyboardInterrupt())
    with pytest.raises(UserError, match="No space"):
        fail_halfway(path, OSError(28, "No space left on device"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("case", "plane"),
    [("ct-abdomen-3mm/ct.nii.gz", "axial"), ("ct-abdomen-dicom/series", "axial"),
     ("ct-spine-3mm/ct.nii.gz", "axial"), ("mr-brain-tumor/mr.nrrd", "axial")],
)  # fmt: skip
def test_real_volumes_and_their_labels(data: Path, case: str, plane: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImageWarning)
        volume = read_volume(data / case)
    assert volume.grid.thickest_plane().value == plane
    labels = read_labelmap(next((data / case).parent.glob("labels*")), volume.grid)
    assert labels.shape == volume.array.shape
    if case.startswith("ct-"):
        # Vertebrae and liver are where bone and soft tissue are: the label file that runs the
        # other way along an axis is put on the volume's grid correctly.
        bone, liver = volume.array[(labels >= 27) & (labels <= 33)], volume.array[labels == 5]
        assert bone.size
        assert np.median(bone) > 120
        assert not liver.size or (40 < np.median(liver) < 200 and liver.std() < 60)
    else:
        assert volume.array[labels == 1].mean() > 2 * np.median(volume.array)
