"""Datasets in every layout, real ones too, as they should be."""

from __future__ import annotations

import pickle
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dataset_folders import (
    GRID,
    SHAPE,
    amos,
    brats,
    describe,
    edit,
    image_array,
    label_array,
    msd,
    msd_4d,
    nnunet,
    npz,
    write,
)
from dicom_series import write_series
from SAM2Medical3DLib.datasets import (
    CaseError,
    Dataset,
    load_cases,
    open_dataset,
    published_split,
    read_npz,
)
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.files import read_volume, write_segmentation
from SAM2Medical3DLib.geometry import Grid


def check_case(dataset: Dataset, name: str, image: np.ndarray, labels: np.ndarray, channel=0):
    """A case loads with these voxels on the grid that it was written with."""
    loaded = next(case for case in dataset.cases if case.name == name).load(channel)
    assert (loaded.volume.array == image).all()
    assert (loaded.labels == labels).all()
    assert loaded.labels.dtype == np.uint8
    assert loaded.volume.grid.matches(GRID, 1e-3)
    assert loaded.labelled


def test_msd(tmp_path: Path) -> None:
    dataset = open_dataset(msd(tmp_path / "Task09_Spleen"))
    assert (dataset.name, dataset.layout) == ("Task09_Spleen", "msd")
    assert dict(dataset.classes) == {"spleen": 1}
    assert dataset.channels == ("CT",)
    assert [case.name for case in dataset.cases] == ["spleen_10", "spleen_2", "spleen_3"]
    assert [case.patient for case in dataset.cases] == ["10", "2", "3"]
    assert {case.modality for case in dataset.cases} == {"CT"}
    assert dataset.problems == dataset.notes == ()
    for number in (2, 3, 10):
        check_case(dataset, f"spleen_{number}", image_array(number), label_array(number=number))


def test_msd_channels_in_one_file(tmp_path: Path) -> None:
    dataset = open_dataset(msd_4d(tmp_path))
    assert dataset.channels == ("FLAIR", "T1w", "t1gd", "T2w")
    assert dataset.cases[0].modality == "MR"
    for channel in range(4):
        check_case(
            dataset, "BRATS_001", image_array(channel), label_array((1, 2, 3)), channel=channel
        )
    with pytest.raises(CaseError, match=r"BRATS_001 .* has no channel 4: it has 4"):
        dataset.cases[0].load(4)


def test_nnunet_1_names_its_images_with_the_channel(tmp_path: Path) -> None:
    msd(tmp_path)
    for path in (tmp_path / "imagesTr").glob("spleen*"):
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    dataset = open_dataset(tmp_path)
    assert dataset.notes == dataset.problems == ()
    check_case(dataset, "spleen_2", image_array(2), label_array(number=2))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_nnunet(tmp_path: Path, ending: str) -> None:
    dataset = open_dataset(nnunet(tmp_path / "Dataset005_Prostate", ending=ending))
    assert (dataset.name, dataset.layout) == ("Dataset005_Prostate", "nnunet")
    assert dict(dataset.classes) == {"PZ": 1, "TZ": 2}
    assert dataset.channels == ("T2", "ADC")
    assert [(case.name, case.patient) for case in dataset.cases] == [
        ("la_003",) * 2,
        ("la_004",) * 2,
    ]
    for number, name in enumerate(("la_004", "la_003")):
        for channel in range(2):
            image = image_array(10 * number + channel)
            check_case(dataset, name, image, label_array((1, 2), number), channel)


def test_nnunet_regions_and_ignored_voxels_are_told(tmp_path: Path) -> None:
    nnunet(tmp_path)
    labels = {"background": 0, "whole prostate": [1, 2, 3], "TZ": 2, "ignore": 4}
    edit(tmp_path, labels=labels, regions_class_order=[1, 2])
    dataset = open_dataset(tmp_path)
    assert dict(dataset.classes) == {"label 1": 1, "TZ": 2, "label 3": 3}
    assert len(dataset.notes) == 2
    assert "'whole prostate' is a region of several labels (1, 2, 3)" in dataset.notes[0]
    assert "'ignore' (4) count as background" in dataset.notes[1]
    assert len(list(load_cases(dataset))) == 2


def test_nnunet_with_a_list_of_files(tmp_path: Path) -> None:
    nnunet(tmp_path / "raw")
    raw = tmp_path / "raw"
    images = [f"imagesTr/la_004_{channel:04d}.nii.gz" for channel in (1, 0)]
    edit(raw, dataset={"a": {"images": images, "label": "labelsTr/la_004.nii.gz"}}, numTraining=1)
    dataset = open_dataset(raw)
    check_case(dataset, "a", image_array(1), label_array((1, 2)))
    edit(raw, dataset={"a": {"images": images[:1], "label": "labelsTr/la_004.nii.gz"}})
    with pytest.raises(UserError, match="gives it 1 image.* each of T2, ADC"):
        open_dataset(raw)
    edit(raw, dataset={"a": images})
    with pytest.raises(UserError, match="the case a under 'dataset' needs 'images' and 'label'"):
        open_dataset(raw)


def test_amos(tmp_path: Path) -> None:
    dataset = open_dataset(amos(tmp_path / "amos22"))
    assert dataset.layout == "amos22"
    assert len(dataset.classes) == 15
    assert dataset.classes["aorta"] == 8
    assert [(case.name, case.modality) for case in dataset.cases] == [
        ("amos_0001", "CT"), ("amos_0008", "CT"), ("amos_0507", "MR"),
    ]  # fmt: skip
    assert dataset.problems == dataset.notes == ()
    check_case(dataset, "amos_0008", image_array(8), label_array((1, 6, 8, 15), 8))
    assert dict(published_split(dataset).parts) == {
        "train": ("amos_0001", "amos_0507"), "validation": ("amos_0008",),
    }  # fmt: skip
    ct = dataset.select(["aorta", "6"], "ct")
    assert dict(ct.classes) == {"liver": 6, "aorta": 8}
    assert published_split(ct)["train"] == ("amos_0001",)
    with pytest.raises(UserError, match="no case in 'validation'"):
        published_split(dataset.select(None, "MR"))
    with pytest.raises(UserError, match="modality 'PET'; there is: CT, MR"):
        dataset.select(None, "PET")


def test_amos_validation_without_labels_is_left_alone(tmp_path: Path) -> None:
    amos(tmp_path)
    edit(tmp_path, validation=[{"image": "./imagesVa/amos_0008.nii.gz"}])
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["amos_0001", "amos_0507"]
    assert dataset.problems == ()
    with pytest.raises(UserError, match="without a published split"):
        published_split(dataset)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("depth", [0, 1])
def test_brats(tmp_path: Path, suffix: str, depth: int) -> None:
    root = brats(tmp_path / "MICCAI_BraTS2020_TrainingData", suffix=suffix)
    dataset = open_dataset(root if depth == 0 else tmp_path)
    assert dataset.layout == "brats2020"
    assert dict(dataset.classes) == {"NCR/NET": 1, "ED": 2, "ET": 4}
    assert dataset.channels == ("t1", "t1ce", "t2", "flair")
    assert [case.patient for case in dataset.cases] == [
        "BraTS20_Training_001", "BraTS20_Training_355",
    ]  # fmt: skip
    for number, channel in product((1, 355), range(4)):
        name = f"BraTS20_Training_{number:03d}"
        labels = label_array((1, 2, 4), number)
        check_case(dataset, name, image_array(number + channel), labels, channel)


PAIRS = {
    "images/a.nii.gz": "labels/a.nii.gz",
    "images/a.mhd": "labels/a_seg.nrrd",
    "imagesTr/a_0000.mha": "labelsTr/a.nii",
    "a.nii.gz": "a_seg.nii.gz",
    "a.mha": "a-label.nrrd",
    "a.nrrd": "a_label.nii",
    "a.nii": "a.seg.nrrd",
}


@pytest.mark.parametrize(("image", "labels"), PAIRS.items())
def test_pairs(tmp_path: Path, image: str, labels: str) -> None:
    write(tmp_path / image, image_array())
    write(tmp_path / labels, label_array((3, 7)))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "pairs"
    assert dict(dataset.classes) == {"label 3": 3, "label 7": 7}
    check_case(dataset, "a", image_array(), label_array((3, 7)))
    assert dict(open_dataset(tmp_path, classes={"liver": 3}).classes) == {"liver": 3}


def test_segments_name_the_classes_where_they_agree(tmp_path: Path) -> None:
    colours = {1: (1, 0, 0), 2: (0, 1, 0)}
    for name in ("a", "b"):
        write(tmp_path / f"{name}.nrrd", image_array())
        write_segmentation(
            tmp_path / f"{name}.seg.nrrd", label_array((1, 2)), GRID, {1: "Liver", 2: "Cyst"},
            colours,
        )  # fmt: skip
    assert dict(open_dataset(tmp_path).classes) == {"Liver": 1, "Cyst": 2}
    write_segmentation(
        tmp_path / "b.seg.nrrd", label_array((1, 2)), GRID, {1: "Cyst", 2: "Liver"}, colours
    )
    assert dict(open_dataset(tmp_path).classes) == {"label 1": 1, "label 2": 2}


def test_folders(tmp_path: Path) -> None:
    write(tmp_path / "p1" / "ct.nii.gz", image_array())
    write(tmp_path / "p1" / "labels.nii.gz", label_array())
    write(tmp_path / "p2" / "scan.mha", image_array(2))
    write(tmp_path / "p2" / "scan_seg.nii.gz", label_array((2,)))
    for name, series in (("p3", "p3/series"), ("p4", "p4")):
        folder = write_series(tmp_path / series, image_array(3))
        write(tmp_path / name / "seg.nrrd", label_array((4,)), read_volume(folder).grid)
    npz(tmp_path / "more" / "CT_Lesion_000015_01_02_081-093.npz")
    write(tmp_path / "p5" / "mr.nrrd", image_array(5))
    write(tmp_path / "p5" / "earlier.nrrd", image_array(6))
    write(tmp_path / "p5" / "label.nrrd", label_array())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no image")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "folders"
    assert dataset.problems == ()
    assert dict(dataset.classes) == {"label 1": 1, "label 2": 2, "label 4": 4}
    assert [(case.name, case.patient) for case in dataset.cases] == [
        ("CT_Lesion_000015_01_02_081-093", "000015"),
        ("p1", "p1"), ("p2", "p2"), ("p3", "p3"), ("p4", "p4"), ("p5", "p5"),
    ]  # fmt: skip
    check_case(dataset, "p1", image_array(), label_array())
    check_case(dataset, "p2", image_array(2), label_array((2,)))
    check_case(dataset, "p5", image_array(5), label_array())
    assert len(list(load_cases(dataset))) == 6
    assert [case.name for case in open_dataset(tmp_path / "p1").cases] == ["p1"]


def test_npz(tmp_path: Path) -> None:
    directions = np.array([0, 1, 0, 1, 0, 0, 0, 0, -1.0])
    npz(tmp_path / "a_01.npz", direction=directions, origin=np.array((1.0, 2, 3)))
    npz(tmp_path / "MR_Lesion_000007_01_01_081-093.npz")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "npz"
    assert dict(dataset.classes) == {"label 1": 1, "label 2": 2}
    assert [case.patient for case in dataset.cases] == ["000007", "a_01"]
    plain, turned = (case.load() for case in dataset.cases)
    assert (plain.labels == label_array((1, 2))).all()
    assert plain.volume.array.shape == SHAPE
    assert plain.volume.grid.matches(Grid(SHAPE[::-1], np.diag((-0.8, -0.9, 3.0, 1))))
    # I runs along LPS y, so towards the posterior; the origin is in LPS.
    assert turned.volume.grid.ras_from_ijk((0, 0, 0)) == pytest.approx((-1, -2, 3))
    assert turned.volume.grid.ras_from_ijk((1, 1, 1)) == pytest.approx((-1.9, -2.8, 0))


def test_patients_of_a_pattern(tmp_path: Path) -> None:
    for name in ("P1_before", "P1_after", "P2_before"):
        write(tmp_path / f"{name}.nrrd", image_array())
        write(tmp_path / f"{name}_seg.nrrd", label_array())
    dataset = open_dataset(tmp_path, patient_pattern=r"^(P\d+)_")
    assert [case.patient for case in dataset.cases] == ["P1", "P1", "P2"]
    for pattern, message in (
        ("^P(", "malformed"), ("^P1", "has no group"), ("(Q)", "no patient in the case name 'P1_a"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            open_dataset(tmp_path, patient_pattern=pattern)


def test_msd_numbers_are_patients_only_in_its_own_names(tmp_path: Path) -> None:
    for name in ("p1_1", "p2_1"):
        write(tmp_path / "imagesTr" / f"{name}.nii.gz", image_array())
        write(tmp_path / "labelsTr" / f"{name}.nii.gz", label_array())
    entries = [{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"}
               for n in ("p1_1", "p2_1")]  # fmt: skip
    describe(tmp_path, {"modality": {"0": "CT"}, "labels": {"1": "a"}, "training": entries})
    assert [case.patient for case in open_dataset(tmp_path).cases] == ["p1_1", "p2_1"]


def test_datasets_go_to_other_processes(tmp_path: Path) -> None:
    dataset = open_dataset(amos(tmp_path))
    assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_real_folders(data: Path) -> None:
    dataset = open_dataset(data)
    assert dataset.layout == "folders"
    assert dataset.problems == ()
    assert {"ct-abdomen-3mm", "ct-abdomen-dicom", "ct-spine-3mm", "mr-brain-tumor"} <= {
        case.name for case in dataset.cases
    }
    assert {"000001", "000002", "000015"} <= {case.patient for case in dataset.cases}
    loaded = {case.name: case for case in load_cases(dataset)}
    assert len(loaded) == len(dataset.cases) == 7
    dicom = loaded["ct-abdomen-dicom"]
    # Its labels run the other way along y: in the right order, the liver is where soft tissue is.
    liver = dicom.volume.array[dicom.labels == 5]
    assert 40 < np.median(liver) < 200
    assert liver.std() < 60
    assert set(np.unique(loaded["mr-brain-tumor"].labels)) == {0, 1}


def test_real_dicom_labels_equal_resampling(data: Path) -> None:
    case = next(c for c in open_dataset(data / "ct-abdomen-dicom").cases)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(case.images[0])))
    image, labels = reader.Execute(), sitk.ReadImage(str(case.labels))
    expected = sitk.Resample(labels, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert (case.load().labels == sitk.GetArrayFromImage(expected)).all()


def test_real_npz(data: Path) -> None:
    dataset = open_dataset(data / "ct-lesions")
    assert dataset.layout == "npz"
    for case in dataset.cases:
        volume, labels = read_npz(case.images[0])
        loaded = case.load()
        assert (loaded.labels == labels).all()
        assert volume.grid.spacing[2] == pytest.approx(5)
        assert loaded.volume.grid.thickest_plane().value == "axial"
