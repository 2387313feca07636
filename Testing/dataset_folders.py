"""Small datasets on disk, in the layouts that public datasets come in, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from grids import make_grid
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.geometry import Grid

SHAPE = (4, 6, 5)
GRID = make_grid(SHAPE)


def image_array(number: int = 0) -> np.ndarray:
    """(K, J, I) int16 voxels, different for each number."""
    return np.random.default_rng(number).integers(-1000, 1000, SHAPE).astype(np.int16)


def label_array(values: tuple[int, ...] = (1,), number: int = 0) -> np.ndarray:
    """(K, J, I) uint8 labels that hold each of the values; no two axes look alike."""
    labels = np.random.default_rng(number).choice([0, *values], SHAPE).astype(np.uint8)
    labels[0, 0, : len(values)] = values
    return labels


def write(path: Path, array: np.ndarray, grid: Grid = GRID) -> Path:
    """Write an image; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_on(array, grid), str(path), useCompression=True)
    return path


def write_4d(path: Path, arrays: list[np.ndarray]) -> Path:
    """Write several channels into one file, in its last dimension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.JoinSeries([image_on(array, GRID) for array in arrays])
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def describe(folder: Path, values: Mapping) -> Path:
    """Write ``dataset.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "dataset.json"
    path.write_text(json.dumps(values))
    return path


def edit(folder: Path, **changes: object) -> None:
    """Change entries of ``dataset.json``; None takes one out."""
    path = folder / "dataset.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))


def msd(folder: Path, numbers: tuple[int, ...] = (2, 10, 3)) -> Path:
    """Task09_Spleen with a few cases, and the hidden files that macOS left in the archive."""
    entries = []
    for number in numbers:
        name = f"spleen_{number}.nii.gz"
        write(folder / "imagesTr" / name, image_array(number))
        write(folder / "labelsTr" / name, label_array(number=number))
        (folder / "imagesTr" / f"._{name}").write_bytes(b"\0\5\x16\7")
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    describe(
        folder,
        {
            "name": "Spleen",
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "spleen"},
            "numTraining": len(numbers),
            "training": entries,
            "test": ["./imagesTs/spleen_1.nii.gz"],
        },
    )
    return folder


def msd_4d(folder: Path, n_channels: int = 4) -> Path:
    """Task01_BrainTumour: all modalities of a case in one file."""
    channels = [image_array(n) for n in range(n_channels)]
    write_4d(folder / "imagesTr" / "BRATS_001.nii.gz", channels)
    write(folder / "labelsTr" / "BRATS_001.nii.gz", label_array((1, 2, 3)))
    describe(
        folder,
        {
            "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
            "labels": {"0": "background", "1": "edema", "2": "non-enhancing", "3": "enhancing"},
            "numTraining": 1,
            "training": [
                {
                    "image": "./imagesTr/BRATS_001.nii.gz",
                    "label": "./labelsTr/BRATS_001.nii.gz",
                }
            ],
        },
    )
    return folder


def nnunet(folder: Path, names: tuple[str, ...] = ("la_004", "la_003"), ending: str = ".nii.gz"):
    """nnU-Net 2's raw data with two channels."""
    for number, name in enumerate(names):
        for channel in range(2):
            path = folder / "imagesTr" / f"{name}_{channel:04d}{ending}"
            write(path, image_array(10 * number + channel))
        write(folder / "labelsTr" / f"{name}{ending}", label_array((1, 2), number))
    describe(
        folder,
        {
            "channel_names": {"0": "T2", "1": "ADC"},
            "labels": {"background": 0, "PZ": 1, "TZ": 2},
            "numTraining": len(names),
            "file_ending": ending,
        },
    )
    return folder


_AMOS_LABELS = (
    "background", "spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver",
    "stomach", "arota", "postcava", "pancreas", "right adrenal gland", "left adrenal gland",
    "duodenum", "bladder", "prostate/uterus",
)  # fmt: skip


def amos(folder: Path) -> Path:
    """AMOS22: CT and MR, and a validation part with labels."""
    lists: dict[str, list] = {"training": [], "validation": [], "test": []}
    for key, part, number in (
        ("training", "Tr", 1), ("training", "Tr", 507), ("validation", "Va", 8),
    ):  # fmt: skip
        name = f"amos_{number:04d}.nii.gz"
        write(folder / f"images{part}" / name, image_array(number))
        write(folder / f"labels{part}" / name, label_array((1, 6, 8, 15), number))
        lists[key].append({"image": f"./images{part}/{name}", "label": f"./labels{part}/{name}"})
    lists["test"].append({"image": "./imagesTs/amos_0002.nii.gz"})
    labels = {str(value): name for value, name in enumerate(_AMOS_LABELS)}
    describe(folder, {"name": "AMOS", "modality": {"0": "CT"}, "labels": labels, **lists})
    return folder


def brats(folder: Path, numbers: tuple[int, ...] = (1, 355), suffix: str = ".nii") -> Path:
    """BraTS 2020, with the odd name of case 355's segmentation."""
    for number in numbers:
        name = f"BraTS20_Training_{number:03d}"
        for order, channel in enumerate(("t1", "t1ce", "t2", "flair")):
            write(folder / name / f"{name}_{channel}{suffix}", image_array(number + order))
        seg = "W39_1998.09.19_Segm.nii" if number == 355 else f"{name}_seg{suffix}"
        write(folder / name / seg, label_array((1, 2, 4), number))
    (folder / "survival_info.csv").write_text("ID,Age\n")
    return folder


def npz(path: Path, **changes: np.ndarray | None) -> Path:
    """A case as the CVPR challenge ships it; None takes an array out."""
    arrays = {
        "imgs": (image_array() % 256).astype(np.uint8),
        "gts": label_array((1, 2)),
        "spacing": np.array((0.8, 0.9, 3.0)),
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path
