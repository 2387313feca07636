"""A folder of small labelled cases, and evaluations of it, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.evaluation.results import Row, read_csv

SPACING = (0.8, 0.9, 3.0)


def write_case(folder: Path, name: str, image: np.ndarray, labels: np.ndarray | None) -> None:
    """A case in a folder of image and label pairs."""
    for part, array in (("images", image), ("labels", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if array is not None:
            picture = sitk.GetImageFromArray(array)
            picture.SetSpacing(SPACING)
            sitk.WriteImage(picture, str(folder / part / f"{name}.nii.gz"))


def small_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(12, 30, 36) image and labels: an ellipsoid (1) and a ball (2); the seed moves them."""
    rng = np.random.default_rng(seed)
    k, j, i = np.mgrid[:12, :30, :36]
    move = rng.integers(-1, 2, 3)
    labels = np.zeros(k.shape, np.uint8)
    ellipsoid = ((k - 6) / 4) ** 2 + ((j - 14 - move[0]) / 9) ** 2 + ((i - 12) / 8) ** 2
    labels[ellipsoid < 1] = 1
    ball = ((k - 6) / 3) ** 2 + ((j - 16) / 5) ** 2 + ((i - 28 - move[1]) / 5) ** 2
    labels[ball < 1] = 2
    image = np.select([labels == 1, labels == 2], [110, 200], -20) + rng.normal(0, 8, k.shape)
    return image.astype(np.int16), labels


def write_cases(folder: Path, count: int = 2) -> Path:
    """A folder of ``count`` small cases."""
    for seed in range(count):
        write_case(folder, f"case_{seed}", *small_case(seed))
    return folder


def run(*words: object) -> int:
    """``evaluate`` with these words; its exit status."""
    return main(["evaluate", *map(str, words)])


def table(out: Path) -> list[Row]:
    """The rows of a report without seconds, which differ from run to run."""
    from dataclasses import replace

    return [replace(row, seconds=None) for row in read_csv(out / "results.csv")]
