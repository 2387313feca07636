"""Image and labels of a case: the same voxels, or a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_folders import (
    GRID,
    SHAPE,
    image_array,
    label_array,
    msd_4d,
    npz,
    write,
    write_4d,
)
from grids import grids, make_grid, restored
from SAM2Medical3DLib.datasets import CaseError, CaseFiles, open_dataset
from SAM2Medical3DLib.geometry import Grid


def case_of(image: Path, labels: Path | None, values: Sequence[int] | None = None) -> CaseFiles:
    return CaseFiles("a", "a", (image,), labels, None if values is None else frozenset(values))


@settings(max_examples=40, deadline=None)
@given(
    grid=grids(),
    order=st.sampled_from(list(permutations(range(3)))),
    signs=st.tuples(*[st.sampled_from((-1, 1))] * 3),
    seed=st.integers(0, 1000),
)
def test_labels_in_any_storage_order_come_back_voxel_for_voxel(
    tmp_path_factory: pytest.TempPathFactory, grid: Grid, order: tuple, signs: tuple, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("case")
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 300, grid.size[::-1]).astype(np.uint16)
    labels.flat[0] = 299
    image = write(folder / "a.nrrd", np.arange(labels.size, dtype=np.int32).reshape(labels.shape),
                  grid)  # fmt: skip
    path = write(folder / "a_seg.nrrd", *restored(labels, grid, order, signs))
    loaded = case_of(image, path).load()
    assert loaded.labels.shape == loaded.volume.array.shape
    assert (loaded.labels == labels).all()


OTHER_GRIDS = {
    "thinner slices": make_grid((8, 6, 5), spacing=(0.8, 0.9, 1.5)),
    # Its outermost voxels are at the image's: only the voxels between lie elsewhere.
    "the same corners": make_grid((7, 6, 5), spacing=(0.8, 0.9, 1.5)),
    "fewer slices": make_grid((3, 6, 5)),
    "more slices": make_grid((5, 6, 5)),
    "one voxel further": make_grid(SHAPE, origin=(10.2, -23.0, 40.5)),
    "a tenth of a voxel further": make_grid(SHAPE, origin=(10.92, -23.0, 40.5)),
    "turned": make_grid(SHAPE, turn=(0, 0, 5)),
    "elsewhere": make_grid(SHAPE, origin=(0, 0, 0)),
}


@pytest.mark.parametrize("other", OTHER_GRIDS)
def test_labels_on_another_grid_are_refused(tmp_path: Path, other: str) -> None:
    grid = OTHER_GRIDS[other]
    image = write(tmp_path / "a.nii.gz", image_array())
    labels = write(tmp_path / "a_seg.nii.gz", np.ones(grid.size[::-1], np.uint8), grid)
    with pytest.raises(CaseError) as caught:
        case_of(image, labels).load()
    size = "x".join(map(str, grid.size))
    assert re.fullmatch(
        rf"Case a: {labels}: image and labels are on different grids \(5x6x4 of 0.8x0.9x3 mm at "
        rf"\S+, \S+, [^ ,]+(, axes [-0-9., ]+)? against {size} of \S+ mm at .*\); "
        r"resample the labels onto the image\.",
        str(caught.value),
    )


def test_rounded_headers_are_the_same_grid(tmp_path: Path) -> None:
    image = write(tmp_path / "a.nrrd", image_array())
    grid = make_grid(SHAPE, spacing=(0.8001, 0.9, 3.0), origin=(11.004, -23.0, 40.5))
    labels = write(tmp_path / "a_seg.nrrd", label_array(), grid)
    assert (case_of(image, labels).load().labels == label_array()).all()


def test_slicer_segmentations_may_be_cropped_to_their_segments(tmp_path: Path) -> None:
    image = write(tmp_path / "a.nrrd", image_array())
    matrix = GRID.ijk_to_ras.copy()
    matrix[:3, 3] = GRID.ras_from_ijk((1, 2, 1))
    part = np.ones((2, 3, 4), np.uint8)
    labels = write(tmp_path / "a.seg.nrrd", part, Grid((4, 3, 2), matrix))
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:3, 2:5, 1:5] = 1
    assert (case_of(image, labels).load().labels == expected).all()


def as_float(value: float) -> Callable[[], np.ndarray]:
    def make() -> np.ndarray:
        array = label_array().astype(np.float64)
        array[2, 2, 2] = value
        return array

    return make


BAD_LABELS = {
    "holds fractions": as_float(0.5),
    "holds fractions, not labels": as_float(np.nan),
    "voxels from -1": as_float(-1),
    "holds the label 70000; labels run from 0 to 65535": as_float(70000),
    "labels run from 0 up": as_float(1e12),
    "holds no label at all, only background": lambda: np.zeros(SHAPE, np.uint8),
    "holds the label 3, which the dataset's description does not name": lambda: label_array((1, 3)),
}


@pytest.mark.parametrize("message", BAD_LABELS)
def test_voxels_that_are_no_labels_are_refused(tmp_path: Path, message: str) -> None:
    image = write(tmp_path / "a.nrrd", image_array())
    labels = write(tmp_path / "a_seg.nrrd", BAD_LABELS[message]())
    with pytest.raises(CaseError, match=f"^Case a: {labels}.*{re.escape(message)}"):
        case_of(image, labels, (0, 1, 2)).load()


def test_other_bad_cases(tmp_path: Path) -> None:
    image = write(tmp_path / "a.nii.gz", image_array())
    labels = write(tmp_path / "a_seg.nii.gz", label_array())
    constant = write(tmp_path / "constant.nii.gz", np.zeros(SHAPE, np.int16))
    truncated = tmp_path / "truncated.nii.gz"
    truncated.write_bytes(image.read_bytes()[:-40])
    sequence = write_4d(tmp_path / "4d.nii.gz", [image_array()] * 3)
    for bad, message in (
        (case_of(image, None), rf"Case a \({image}\) is unlabelled"),
        (case_of(tmp_path / "no.nii", labels), f"no file or folder {tmp_path}/no.nii"),
        (case_of(image, tmp_path / "no.nii"), f"no labelmap file {tmp_path}/no.nii"),
        (case_of(image, truncated), f"Case a: {truncated} .*truncated or damaged"),
        (case_of(truncated, labels), f"Case a: {truncated} .*truncated or damaged"),
        (case_of(constant, labels), rf"Case a \({constant}\): constant.nii.gz is constant"),
        (case_of(sequence, labels), f"Case a: {sequence} is a 4D sequence"),
        (CaseFiles("a", "a", (sequence,) * 2, labels), "4d.nii.gz holds 3 channels .* not the 2"),
        (CaseFiles("a", "a", (image,) * 2, labels), "a.nii.gz holds 1 channel .* not the 2"),
        (CaseFiles("a", "a", (tmp_path / "n",) * 2, labels), "n cannot be read: it is missing"),
    ):
        with pytest.raises(CaseError, match=message) as caught:
            bad.load()
        assert "\n" not in str(caught.value)
    with pytest.raises(CaseError, match="holds 2 channels .* not the 4"):
        open_dataset(msd_4d(tmp_path / "msd", n_channels=2)).cases[0].load()
    loaded = case_of(image, None).load(labels_optional=True)
    assert not loaded.labelled
    assert loaded.labels.shape == SHAPE
    assert not loaded.labels.any()


BAD_NPZ = {
    "no array 'imgs'": {"imgs": None},
    "no array 'spacing'": {"spacing": None},
    "different grids \\(5x6x4 voxels against 5x6x3\\)": {"gts": label_array()[:3]},
    "direction 9, not 3, 3 and 4": {"direction": np.eye(2)},
    "origin must have 3 numbers": {"spacing": np.ones(2)},
    "is damaged \\(Object arrays": {"imgs": np.array([{}], dtype=object)},
    "has 4 dimensions": {"imgs": np.zeros((*SHAPE, 3), np.uint8)},
    "has 2 dimensions": {"imgs": np.zeros(SHAPE[:2], np.uint8)},
    "is constant": {"imgs": np.zeros(SHAPE, np.uint8)},
    "zero spacing": {"spacing": np.zeros(3)},
    "holds fractions": {"gts": np.full(SHAPE, 0.5)},
}


@pytest.mark.parametrize("message", BAD_NPZ)
def test_bad_npz(tmp_path: Path, message: str) -> None:
    path = npz(tmp_path / "a.npz", **BAD_NPZ[message])
    with pytest.raises(CaseError, match=message) as caught:
        case_of(path, path).load()
    assert str(path) in str(caught.value)
