"""Volumes that are accepted or refused, and their way to 8-bit slices."""

from __future__ import annotations

import numpy as np
import pytest

from grids import make_grid
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Plane
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume


def volume(array: np.ndarray, **options: object) -> Volume:
    return Volume(array, make_grid(array.shape), **options)


def ramp(dtype: type = np.int16, shape: tuple[int, int, int] = (3, 4, 5)) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]
)
def test_every_number_type_gives_the_same_frames(dtype: type) -> None:
    stack = SliceStack(volume(ramp(dtype)), Plane.AXIAL, IntensityMapping(0, 59))
    expected = SliceStack(volume(ramp()), Plane.AXIAL, IntensityMapping(0, 59))
    assert stack.frame(1).dtype == np.uint8
    assert (stack.frame(1) == expected.frame(1)).all()


@pytest.mark.parametrize(
    ("array", "grid_shape", "message"),
    [
        (np.zeros((2, 3, 4, 3)), (2, 3, 4), "4 dimensions"),
        (np.zeros((3, 4)), (2, 3, 4), "2 dimensions"),
        (ramp(), (3, 4, 6), "do not fit"),
        (ramp(complex), (3, 4, 5), "complex128"),
        (ramp(shape=(1, 4, 5)), (1, 4, 5), "single slice"),
        (ramp(shape=(4, 1, 5)), (4, 1, 5), "single slice"),
        (np.full((3, 4, 5), 7), (3, 4, 5), "constant"),
        (np.full((3, 4, 5), np.nan), (3, 4, 5), "no finite voxel"),
        (np.where(ramp(float) > 5, np.inf, 3.0), (3, 4, 5), "constant"),
    ],
)
def test_refused(array: np.ndarray, grid_shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Volume(array, make_grid(grid_shape))


def test_nan_and_infinity_are_left_out_of_the_range() -> None:
    array = ramp(np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    checked = volume(array)
    assert checked.finite_range == (3, 59)
    frame = SliceStack(checked, Plane.AXIAL, IntensityMapping(0, 59))
    first = frame.geometry.from_stack(np.stack([frame.frame(i) for i in range(3)]))[0, 0]
    assert first[0] == 0
    assert first[1] == 255
    assert first[2] == 0


def test_window_clips_and_rounds() -> None:
    mapping = IntensityMapping.from_window(40, 400)
    values = np.array([[-2000, -160, 40, 240, 3000]])
    assert mapping(values).tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("bounds", [(1, 1), (2, 1), (np.nan, 1), (0, np.inf)])
def test_empty_window_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="window"):
        IntensityMapping(*bounds)


def test_per_slice_uses_each_slice_alone() -> None:
    stack = SliceStack(volume(ramp()), Plane.AXIAL)
    per_slice = SliceStack(
        stack.volume, Plane.AXIAL, IntensityMapping.named("per-slice", stack.volume)
    )
    for index in range(3):
        frame = per_slice.frame(index)
        assert frame.min() == 0
        assert frame.max() == 255
    flat = IntensityMapping(0, 1, per_slice=True)
    assert not flat(np.full((3, 3), 5)).any()
    assert not flat(np.full((3, 3), np.nan)).any()


def test_names() -> None:
    checked = volume(ramp(), window=(10.0, 20.0))
    named = IntensityMapping.named
    assert named("display", checked) == IntensityMapping(10, 20)
    assert named("range", checked) == IntensityMapping(0, 59)
    assert named("lung", checked) == IntensityMapping(-1350, 150)
    assert named("40/80", checked) == IntensityMapping(0, 80)
    for wrong in ("spleen", "40/", "a/b", "", "40/-80", "40/0"):
        with pytest.raises(UserError):
            named(wrong, checked)
    with pytest.raises(UserError, match="no display window"):
        named("display", volume(ramp()))


def test_automatic() -> None:
    ct = volume(np.linspace(-1000, 1500, 60).reshape(3, 4, 5).astype(np.int16))
    assert IntensityMapping.automatic(ct) == IntensityMapping(-160, 240)
    assert IntensityMapping.automatic(volume(ramp(np.uint8))) == IntensityMapping(0, 255)
    mr = np.zeros((20, 20, 20), np.int16)
    mr[5:15, 5:15, 5:15] = np.random.default_rng(0).integers(200, 900, (10, 10, 10))
    mr[10, 10, 10] = 30000
    mapping = IntensityMapping.automatic(volume(mr))
    assert 190 < mapping.low < 300
    assert 800 < mapping.high < 910


def test_slices_that_do_not_exist_are_refused() -> None:
    stack = SliceStack(volume(ramp()))
    for index in (-1, len(stack)):
        with pytest.raises(UserError, match="does not exist"):
            stack.frame(index)


def test_default_plane_is_the_thickest() -> None:
    array = ramp()
    stack = SliceStack(Volume(array, make_grid(array.shape, spacing=(1, 4, 1))))
    assert stack.plane is Plane.CORONAL
    assert len(stack) == 4
