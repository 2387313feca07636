"""DICOM folders: order, scale, window, several series, and what is refused or warned of."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from dicom_series import ORIGIN, SPACING, write_series
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import ImageWarning, read_volume

ARRAY = np.random.default_rng(0).integers(0, 2000, (6, 5, 4)).astype(np.int16)


@pytest.fixture(autouse=True)
def warnings_are_errors() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImageWarning)
        yield


def test_slices_are_sorted_by_position(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "ct", ARRAY))
    assert (volume.array == ARRAY).all()
    assert volume.name == "ct"
    assert volume.window is None
    expected = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    expected[:3, 3] = ORIGIN * (-1, -1, 1)
    np.testing.assert_allclose(volume.grid.ijk_to_ras, expected, atol=1e-6)


def test_slices_acquired_downwards(tmp_path: Path) -> None:
    steps = [(0, 0, -3.0 * n) for n in range(6)]
    volume = read_volume(write_series(tmp_path, ARRAY, steps=steps))
    first = volume.grid.ijk_from_ras(ORIGIN * (-1, -1, 1)).round(6)
    assert (first == (0, 0, 5)).all()
    assert (volume.array == ARRAY[::-1]).all()


@pytest.mark.parametrize("axes", [(0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_sagittal_and_oblique_series(tmp_path: Path, axes: tuple[float, ...]) -> None:
    volume = read_volume(write_series(tmp_path, ARRAY, axes=axes))
    places = volume.grid.ras_from_ijk([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    steps = (places[1:] - places[0]) * (-1, -1, 1)
    expected = np.array([axes[:3], axes[3:], np.cross(axes[:3], axes[3:])]).T * SPACING
    np.testing.assert_allclose(steps.T, expected, atol=1e-6)


def test_rescale_and_window(tmp_path: Path) -> None:
    path = write_series(
        tmp_path, ARRAY, RescaleIntercept=-1024, RescaleSlope=1,
        WindowCenter=[40, 300], WindowWidth=[400, 1500],
    )  # fmt: skip
    volume = read_volume(path)
    assert (volume.array == ARRAY.astype(int) - 1024).all()
    assert volume.window == (-160, 240)


def test_fractional_slope(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path, ARRAY, RescaleIntercept=-10, RescaleSlope=0.5))
    np.testing.assert_allclose(volume.array, ARRAY * 0.5 - 10)


def test_several_series_are_listed_and_chosen(tmp_path: Path) -> None:
    write_series(tmp_path, ARRAY, "1.2.3")
    write_series(tmp_path, ARRAY[:4], "1.2.9")
    with pytest.raises(UserError, match=r"1\.2\.3 \(6 slices\), 1\.2\.9 \(4 slices\)"):
        read_volume(tmp_path)
    assert (read_volume(f"{tmp_path}#1.2.9").array == ARRAY[:4]).all()
    with pytest.raises(UserError, match=r"no series 1\.2\.8"):
        read_volume(f"{tmp_path}#1.2.8")


def test_missing_slice_is_warned_of(tmp_path: Path) -> None:
    steps = [(0, 0, 3.0 * (n + (n > 2))) for n in range(6)]
    with pytest.warns(ImageWarning, match="unevenly spaced"):
        read_volume(write_series(tmp_path, ARRAY, steps=steps))


def test_tilted_series_keeps_its_places(tmp_path: Path) -> None:
    steps = [(0, 0.5 * n, 3.0 * n) for n in range(6)]
    with pytest.warns(ImageWarning, match="tilt"):
        volume = read_volume(write_series(tmp_path, ARRAY, steps=steps))
    last = (ORIGIN + steps[5]) * (-1, -1, 1)
    np.testing.assert_allclose(volume.grid.ras_from_ijk((0, 0, 5)), last, atol=1e-6)


def test_truncated_slice_is_warned_of(tmp_path: Path) -> None:
    write_series(tmp_path, ARRAY)
    damaged = min(tmp_path.iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-20])
    (tmp_path / "notes.txt").write_text("no DICOM, no warning")
    with pytest.warns(ImageWarning, match="1 DICOM file.*left out"):
        assert len(read_volume(tmp_path).array) == 5


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (ARRAY[:1], {}, "single DICOM slice"),
        (np.stack([ARRAY % 255] * 3, -1).astype(np.uint8), {}, "colour"),
        (ARRAY, {"steps": [(0, 0, 3.0 * (n // 2)) for n in range(6)]}, "same position"),
    ],
)
def test_refused(tmp_path: Path, array: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_volume(write_series(tmp_path, array, **options))


def test_slices_of_different_size_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, ARRAY)
    for path in write_series(tmp_path / "other", ARRAY[..., :3]).iterdir():
        path.rename(tmp_path / f"{path.name}-other")
    with pytest.raises(UserError, match="differ in size"):
        read_volume(tmp_path)


def test_one_file_of_a_series_is_refused(tmp_path: Path) -> None:
    path = min(write_series(tmp_path, ARRAY).iterdir())
    with pytest.raises(UserError, match="give the folder"):
        read_volume(path)
