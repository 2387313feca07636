"""What is said of datasets that lie, and how a run goes on or stops."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_folders import (
    GRID,
    SHAPE,
    amos,
    brats,
    edit,
    image_array,
    label_array,
    msd,
    nnunet,
    npz,
    write,
)
from grids import make_grid
from SAM2Medical3DLib.datasets import (
    CaseError,
    Dataset,
    load_cases,
    open_dataset,
    settle_problems,
)
from SAM2Medical3DLib.errors import UserError


def test_a_description_that_names_missing_files(tmp_path: Path) -> None:
    msd(tmp_path)
    (tmp_path / "imagesTr" / "spleen_2.nii.gz").unlink()
    (tmp_path / "labelsTr" / "spleen_10.nii.gz").unlink()
    entries = json.loads((tmp_path / "dataset.json").read_text())["training"]
    image = {"image": "./imagesTr/spleen_3.nii.gz"}
    edit(tmp_path, training=[*entries, entries[2], image, {"label": "x"}, "spleen"])
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["spleen_3"]
    expected = (
        r"Case spleen_2: \S+dataset.json names the image \S+/spleen_2.nii.gz, which is not",
        r"Case spleen_10: \S+ names the label \S+/labelsTr/spleen_10.nii.gz, which is not there",
        r"Case spleen_3 \(\S+spleen_3.nii.gz\) is unlabelled: \S+ names no label",
        r"\S+dataset.json: entry 5 of its cases names no image",
        r"\S+dataset.json: entry 6 of its cases names no image",
        r"Case spleen_3 \(\S+\) is left out: \S+ has the same name",
    )
    assert len(dataset.problems) == len(expected)
    for pattern in expected:
        assert any(re.match(pattern, problem) for problem in dataset.problems), pattern
    assert "announces 3 training cases and lists 7" in dataset.notes[0]


def test_images_that_no_description_lists_are_told(tmp_path: Path) -> None:
    msd(tmp_path)
    entries = json.loads((tmp_path / "dataset.json").read_text())["training"]
    edit(tmp_path, training=entries[:2], numTraining=2)
    assert re.match(r"1 image\(s\) in .* spleen_3.nii.gz for one", open_dataset(tmp_path).notes[0])


def test_nnunet_cases_with_missing_files(tmp_path: Path) -> None:
    nnunet(tmp_path, ("a", "b", "c", "d"))
    (tmp_path / "imagesTr" / "a_0001.nii.gz").unlink()
    (tmp_path / "labelsTr" / "b.nii.gz").unlink()
    for channel in range(2):
        (tmp_path / "imagesTr" / f"c_{channel:04d}.nii.gz").unlink()
    edit(tmp_path, numTraining=5)
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["d"]
    a, b, c, total = dataset.problems
    assert re.match(r"Case a: \S+/imagesTr/a_0001.nii.gz \(ADC\) is not there", a)
    assert re.match(r"Case b \(\S+/imagesTr/b_0000.nii.gz\) is unlabelled", b)
    assert re.match(r"Case c: \S+/imagesTr/c_0000.nii.gz \(T2\) is not there", c)
    assert re.match(r"\S+dataset.json announces 5 training cases, but \S+ holds 4;", total)


def test_brats_cases_with_missing_files(tmp_path: Path) -> None:
    brats(tmp_path, (1, 2, 3))
    (tmp_path / "BraTS20_Training_001" / "BraTS20_Training_001_t2.nii").unlink()
    (tmp_path / "BraTS20_Training_002" / "BraTS20_Training_002_seg.nii").unlink()
    dataset = open_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["BraTS20_Training_003"]
    assert re.match(r"Case BraTS20_Training_001: \S+ has no \S+_t2.nii", dataset.problems[0])
    assert re.match(r"Case \S+_002 \(\S+_t1.nii\) is unlabelled", dataset.problems[1])


def test_pairs_and_folders_with_missing_files(tmp_path: Path) -> None:
    write(tmp_path / "pairs" / "a.nrrd", image_array())
    write(tmp_path / "pairs" / "a_seg.nrrd", label_array())
    alone = write(tmp_path / "pairs" / "b.nrrd", image_array())
    lost = write(tmp_path / "pairs" / "c_seg.nrrd", label_array())
    problems = open_dataset(tmp_path / "pairs").problems
    assert problems[0].startswith(f"Case b ({alone}) is unlabelled")
    assert problems[1].startswith(f"The labels {lost} have no image")
    folders = tmp_path / "folders"
    for name, files in (
        ("a", ("ct", "labels")), ("b", ("ct",)), ("c", ("labels",)), ("d", ("x", "y", "labels")),
        ("e", ("ct", "labels", "seg")),
    ):  # fmt: skip
        for file in files:
            write(folders / name / f"{file}.nrrd", label_array())
    npz(folders / "f" / "unlabelled.npz", gts=None)
    (folders / "f" / "broken.npz").write_bytes(b"no archive")
    dataset = open_dataset(folders)
    assert [case.name for case in dataset.cases] == ["a"]
    found = "\n".join(dataset.problems)
    for expected in (
        rf"Case b \({folders}/b/ct.nrrd\) is unlabelled",
        rf"Case c: {folders}/c holds labels but no image and no DICOM series",
        rf"Case d: {folders}/d holds several images, x.nrrd and y.nrrd",
        rf"Case e: {folders}/e holds several label files, labels.nrrd and seg.nrrd",
        rf"Case unlabelled \({folders}/f/unlabelled.npz\) is unlabelled",
        rf"Case broken: {folders}/f/broken.npz cannot be read",
    ):
        assert re.search(f"^{expected}", found, re.MULTILINE), expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "has no 'labels'"),
        ({"labels": {"0": "background"}}, "no label besides the background"),
        ({"labels": {"1": "a", "2": "a"}}, "names the label 'a' .* twice"),
        ({"labels": {"a": "one"}}, "'a' has the value 'one', no whole number"),
        ({"labels": {"a": -1}}, "'a' has the value -1"),
        ({"modality": None}, "must name the images of a case"),
        ({"modality": {"1": "CT"}}, "counted from 0"),
        ({"modality": {}}, "names no image"),
        ({"training": {}}, "'training' must be a list"),
        ({"training": []}, "holds no labelled case: there is none"),
        ({"training": None}, "neither 'training' .* nor 'channel_names'"),
        ({"training": [{"image": "imagesTr/x.nii.gz", "label": "y"}]}, "no labelled case: Case x:"),
        ({"channel_names": {"0": "CT"}}, "file ending None; volumes end with"),
        ({"channel_names": {"0": "CT"}, "file_ending": ".png"}, "file ending '.png'"),
    ],
)
def test_descriptions_that_cannot_be_used(tmp_path: Path, changes: dict, message: str) -> None:
    edit(msd(tmp_path), **changes)
    with pytest.raises(UserError, match=message) as caught:
        open_dataset(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no dataset folder"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no dataset of a known layout"):
        open_dataset(tmp_path)
    with pytest.raises(UserError, match=r"dataset.json cannot be read"):
        open_dataset(tmp_path, "msd")
    with pytest.raises(UserError, match=r"named as BraTS20_Training_001"):
        open_dataset(tmp_path, "brats2020")
    with pytest.raises(UserError, match="Unknown layout 'dicom'; use auto or one of msd"):
        open_dataset(tmp_path, "dicom")
    for layout in ("pairs", "folders", "npz"):
        with pytest.raises(UserError, match="holds no labelled case"):
            open_dataset(tmp_path, layout)
    for text in ("{", "[]"):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(UserError, match=r"dataset.json (cannot be read|describes no dataset)"):
            open_dataset(tmp_path)
    nnunet(tmp_path / "nn")
    (tmp_path / "nn" / "labelsTr").rename(tmp_path / "nn" / "labels")
    with pytest.raises(UserError, match="has no folder 'labelsTr'"):
        open_dataset(tmp_path / "nn")
    with pytest.raises(UserError, match="names its classes itself"):
        open_dataset(msd(tmp_path / "msd"), classes={"a": 1})
    write(tmp_path / "empty" / "a.nrrd", image_array())
    write(tmp_path / "empty" / "a_seg.nrrd", np.zeros(SHAPE, np.uint8))
    with pytest.raises(UserError, match="No label file of .* holds a label"):
        open_dataset(tmp_path / "empty")


def test_classes_are_selected_by_name_or_value(tmp_path: Path) -> None:
    dataset = open_dataset(amos(tmp_path))
    assert dict(dataset.select(["Liver", "1"]).classes) == {"spleen": 1, "liver": 6}
    assert dataset.select(None) == dataset
    for labels, message in (
        (["livre"], r"no label 'livre'; it has spleen \(1\), right kidney \(2\)"), ([], "No label"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            dataset.select(labels)


@pytest.fixture
def mixed(tmp_path: Path) -> Dataset:
    """Four cases of two classes: good, on another grid, without the second class, unlabelled."""
    for name, labels, grid in (
        ("a", label_array((1, 2)), GRID),
        ("b", label_array((1, 2)), make_grid(SHAPE, origin=(0, 0, 0))),
        ("c", label_array((1,)), GRID),
    ):
        write(tmp_path / f"{name}.nrrd", image_array())
        write(tmp_path / f"{name}_seg.nrrd", labels, grid)
    write(tmp_path / "d.nrrd", image_array())
    return open_dataset(tmp_path)


def test_bad_cases_are_skipped_and_told(mixed: Dataset) -> None:
    told: list[str] = []
    kept = load_cases(mixed, on_bad="skip", report=told.append)
    assert [case.name for case in kept] == ["a", "c"]
    assert len(told) == 2
    assert re.match(r"Case d \(.*\) is unlabelled", told[0])
    assert re.match(r"Case b: .* different grids", told[1])
    told.clear()
    settled = settle_problems(mixed, "skip", told.append)
    second = settled.select(["label 2"])
    assert [case.name for case in load_cases(second, on_bad="skip", report=told.append)] == ["a"]
    assert len(told) == 3
    assert re.match(r"Case c \(.*c_seg.nrrd\) holds none of the labels label 2 \(2\)", told[2])


def test_bad_cases_stop(mixed: Dataset) -> None:
    with pytest.raises(CaseError, match=r"Case d .* is unlabelled"):
        list(load_cases(mixed))
    with pytest.raises(CaseError, match=r"first \(and 1 more such cases\)\.$"):
        settle_problems(replace(mixed, problems=("first.", "second.")), "stop", print)
    cases = load_cases(replace(mixed, problems=()))
    assert next(cases).name == "a"
    with pytest.raises(CaseError, match="Case b: .* different grids"):
        next(cases)
    some = load_cases(replace(mixed, problems=()), mixed.cases[1:2], on_bad="skip")
    with pytest.raises(UserError, match="None of the 1 cases of .* can be used"):
        list(some)
    with pytest.raises(UserError, match="'stop' or 'skip', not 'go on'"):
        list(load_cases(mixed, on_bad="go on"))
