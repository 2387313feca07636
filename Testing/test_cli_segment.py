"""``segment`` on a tiny network: prompts, orientation, overlaps, outputs, interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from grids import restored
from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.cli.segment import run_segment
from SAM2Medical3DLib.cli.settings import SegmentSettings
from SAM2Medical3DLib.files import read_labelmap, read_segments, read_volume, write_segmentation
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.geometry import Plane, StackGeometry
from SAM2Medical3DLib.prompts import Prompts
from SAM2Medical3DLib.propagation import ObjectResult, SliceResult, Span
from SAM2Medical3DLib.volume import SliceStack, Volume


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, tiny_volume: Volume, tiny_labels: np.ndarray
) -> Path:
    """A folder with ``volume.nrrd`` and ``prompt.seg.nrrd``, one drawn slice of two objects."""
    folder = tmp_path_factory.mktemp("cli")
    sitk.WriteImage(image_on(tiny_volume.array, tiny_volume.grid), str(folder / "volume.nrrd"))
    drawn = np.zeros_like(tiny_labels)
    drawn[7] = tiny_labels[7]
    write_segmentation(
        folder / "prompt.seg.nrrd", drawn, tiny_volume.grid,
        {1: "Big one", 2: "Small one"}, {1: (0.5, 0.25, 0.0), 2: (0.0, 0.0, 1.0)},
    )  # fmt: skip
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_mask_prompt_end_to_end(
    folder: Path, tmp_path: Path, tiny_model: Path, tiny_labels: np.ndarray, tiny_volume: Volume,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    out, report, preview = (tmp_path / n for n in ("o.seg.nrrd", "r.json", "p.png"))
    status = run(
        "segment", folder / "volume.nrrd", "--mask", folder / "prompt.seg.nrrd", "--out", out,
        "--report", report, "--preview", preview, "--model", tiny_model, "--slices", "3:11",
    )  # fmt: skip
    shown = capsys.readouterr()
    assert status == 0, shown.err
    assert "segmented 9 of 9 slices" in shown.err
    assert f"wrote {out}" in shown.out
    labels = read_labelmap(out, tiny_volume.grid)
    assert (labels[7] == tiny_labels[7]).all()
    assert not labels[:3].any()
    assert not labels[12:].any()
    segments = read_segments(out)
    assert segments[1].name == "Big one"
    assert segments[2].colour == (0, 0, 1)
    said = json.loads(report.read_text())
    assert said["model"]["sha256"]
    assert said["model"]["image_size"] == 64
    assert said["timings"]["slices"] == 9
    assert said["timings"]["seconds_per_slice"] > 0
    for found in said["objects"]:
        count = int((labels == found["label"]).sum())
        assert found["voxels"] == count
        assert found["volume_ml"] == pytest.approx(count * 0.8 * 0.9 * 3 / 1000)
        assert [record["slice"] for record in found["slices"]] == list(range(3, 12))
        assert [record["prompted"] for record in found["slices"]].count(True) == 1
    assert Image.open(preview).size[0] >= 640


def test_report_repeats_the_run(folder: Path, tmp_path: Path, tiny_model: Path) -> None:
    settings = SegmentSettings(
        folder / "volume.nrrd", tmp_path / "a.nrrd", points=((12, 14, 7),), model=str(tiny_model)
    )
    calls: list[tuple[int, int]] = []
    outcome = run_segment(settings, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (14, 14)
    assert len(outcome.report["objects"][0]["slices"]) == 14
    again = run_segment(replace(settings, out=tmp_path / "b.nii.gz"))
    assert (outcome.labels == again.labels).all()
    assert outcome.labels.any()
    assert outcome.names == {1: "a"}
    assert again.names == {1: "b"}


@pytest.mark.parametrize("plane", list(Plane))
def test_storage_order_does_not_change_the_result(
    tmp_path: Path, tiny_volume: Volume, tiny_model: Path, plane: Plane
) -> None:
    results = []
    for name, order, signs in (("a", (0, 1, 2), (1, 1, 1)), ("b", (2, 0, 1), (-1, 1, -1))):
        array, grid = restored(tiny_volume.array, tiny_volume.grid, order, signs)
        sitk.WriteImage(image_on(array, grid), str(tmp_path / f"{name}.nrrd"))
        place = tiny_volume.grid.ras_from_ijk((12, 14, 7))
        outcome = run_segment(
            SegmentSettings(
                tmp_path / f"{name}.nrrd",
                tmp_path / f"{name}.seg.nrrd",
                points=(tuple(place),),
                ras=True,
                plane=plane,
                model=str(tiny_model),
            )
        )
        results.append(read_labelmap(tmp_path / f"{name}.seg.nrrd", tiny_volume.grid))
        assert (outcome.stack.geometry.to_stack(outcome.labels) != 0).any()
    assert (results[0] == results[1]).all()


def test_coordinates_on_the_command_line(
    folder: Path, tmp_path: Path, tiny_model: Path, tiny_volume: Volume
) -> None:
    negative_ras = tiny_volume.grid.ras_from_ijk((30, 14, 7))
    assert negative_ras[0] < 0
    typed = ",".join(f"{value:.6f}" for value in negative_ras)
    common = ("segment", folder / "volume.nrrd", "--model", tiny_model, "--out")
    report = tmp_path / "r.json"
    assert run(*common, tmp_path / "a.nrrd", "--point", typed, "--ras", "--report", report) == 0
    (prompt,) = json.loads(report.read_text())["prompts"]
    assert prompt["slice"] == 7
    (point,) = prompt["points"]
    assert (point["row"], point["col"]) == pytest.approx((14, 30), abs=1e-4)

    # A box over several slices lies on the middle one; prompts on one slice stand together.
    assert run(
        *common, tmp_path / "b.nrrd", "--box", "20,8,5,4,22,9", "--negative", "2,2,7",
        "--point", "12,14,3", "--point", "13,15,3", "--report", report,
    ) == 0  # fmt: skip
    first, second = json.loads(report.read_text())["prompts"]
    assert first["slice"] == 3
    assert len(first["points"]) == 2
    assert first["box"] is None
    assert second["slice"] == 7
    assert second["points"] == [{"row": 2, "col": 2, "positive": False}]
    assert second["box"] == {"row0": 8, "col0": 4, "row1": 22, "col1": 20}


def test_mask_on_another_axis_is_warned_of(
    folder: Path, tmp_path: Path, tiny_model: Path, tiny_labels: np.ndarray, tiny_volume: Volume,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    drawn = np.zeros_like(tiny_labels)
    drawn[:, :, 12] = tiny_labels[:, :, 12]
    mask = write_segmentation(
        tmp_path / "m.nrrd", drawn, tiny_volume.grid, {1: "a"}, {1: (1, 0, 0)}
    )
    common = ("segment", folder / "volume.nrrd", "--mask", mask, "--model", tiny_model, "--out")
    assert run(*common, tmp_path / "a.nrrd") == 0
    assert "warning: " in (err := capsys.readouterr().err)
    assert "--axis sagittal" in err
    assert run(*common, tmp_path / "b.nrrd", "--axis", "sagittal") == 0
    assert "warning" not in capsys.readouterr().err
    labels = read_labelmap(tmp_path / "b.nrrd", tiny_volume.grid)
    assert (labels[:, :, 12] == drawn[:, :, 12]).all()


class Overlapping:
    """Says that every object fills every slice, and that it was stopped if asked to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.closed = stop_after, False

    def propagate(
        self, stack: SliceStack, prompts: Prompts, span: Span, *, with_logits: bool = False
    ) -> Iterator[SliceResult]:
        try:
            for index in range(len(stack)):
                if index == self.stop_after:
                    raise KeyboardInterrupt
                found = {}
                for label, slices in prompts.by_object.items():
                    given = slices.get(index)
                    mask = np.ones(stack.shape[1:], bool) if given is None else given.mask
                    found[label] = ObjectResult(mask, 0.9, 1.0, given is not None)
                yield SliceResult(index, found)
        finally:
            self.closed = True


def use(monkeypatch: pytest.MonkeyPatch, propagator: Overlapping) -> None:
    from SAM2Medical3DLib.propagation.registry import METHODS, Method

    method = Method("fake", "Fake", "this test", lambda model, **options: propagator)
    monkeypatch.setitem(METHODS, "fake", method)


def test_drawn_masks_win_over_predictions_and_later_labels_over_earlier(
    tmp_path: Path, folder: Path, tiny_model: Path, tiny_volume: Volume, tiny_labels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    use(monkeypatch, Overlapping())
    drawn = np.zeros_like(tiny_labels)
    drawn[5], drawn[9] = tiny_labels[5] == 1, 2 * (tiny_labels[9] == 2)
    write_segmentation(tmp_path / "m.nrrd", drawn, tiny_volume.grid, {1: "a"}, {1: (1, 0, 0)})
    outcome = run_segment(
        SegmentSettings(
            folder / "volume.nrrd",
            tmp_path / "o.nrrd",
            mask=tmp_path / "m.nrrd",
            method="fake",
            model=str(tiny_model),
        )
    )
    labels = outcome.labels
    assert (labels[5] == np.where(drawn[5] == 1, 1, 2)).all()
    assert (labels[9] == np.where(drawn[9] == 2, 2, 1)).all()
    others = np.delete(labels, (5, 9), axis=0)
    assert (others == 2).all()


def test_interrupt_leaves_what_was_there(
    tmp_path: Path, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    propagator = Overlapping(stop_after=4)
    use(monkeypatch, propagator)
    out = tmp_path / "o.nrrd"
    out.write_bytes(b"old")
    status = run(
        "segment", folder / "volume.nrrd", "--mask", folder / "prompt.seg.nrrd", "--out", out,
        "--method", "fake", "--model", tiny_model, "--report", tmp_path / "r.json",
    )  # fmt: skip
    assert status == 130
    assert propagator.closed
    assert capsys.readouterr().err.endswith("nothing was written\n")
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_module_runs_as_a_program(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "SAM2Medical3DLib", "segment", str(folder / "volume.nrrd"),
         "--out", str(tmp_path / "o.nrrd")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "sam2medical3d: error: There is no prompt; give --mask, --point or --box.\n"
    )


@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize(
    ("case", "label"),
    [("ct-abdomen-3mm/ct.nii.gz", 5), ("ct-abdomen-dicom/series", 5),
     ("ct-spine-3mm/ct.nii.gz", 29), ("mr-brain-tumor/mr.nrrd", 1)],
)  # fmt: skip
def test_real_volumes(
    data: Path, tmp_path: Path, tiny_model: Path, case: str, label: int, plane: Plane
) -> None:
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    volume = read_volume(data / case)
    truth = read_labelmap(next((data / case).parent.glob("labels*")), volume.grid) == label
    geometry = StackGeometry(volume.grid, plane)
    used = np.flatnonzero(geometry.to_stack(truth).any(axis=(1, 2)))
    central = int(used[len(used) // 2])
    drawn = np.zeros(truth.shape, np.uint8)
    geometry.to_stack(drawn)[central] = geometry.to_stack(truth)[central]
    mask = write_segmentation(tmp_path / "m.nii.gz", drawn, volume.grid, {1: "a"}, {1: (1, 0, 0)})
    ends = [max(central - 2, 0), min(central + 2, geometry.shape[0] - 1)]
    indices = sorted(int(geometry.ijk_from_stack((s, 0, 0))[geometry.axis]) for s in ends)
    out = tmp_path / "o.seg.nrrd"
    run_segment(
        SegmentSettings(
            data / case,
            out,
            mask=mask,
            plane=plane,
            first=indices[0],
            last=indices[1],
            model=str(tiny_model),
        )
    )
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene = slicer.vtkMRMLScene()
    scene.AddNode(storage)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage.SetFileName(str(out))
    assert storage.ReadData(node)
    image = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(truth.shape)
    matrix = vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    found = [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)]
    np.testing.assert_allclose(found, volume.grid.ijk_to_ras, atol=1e-6)
    assert (geometry.to_stack(voxels)[central] == geometry.to_stack(drawn)[central]).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "sam2-3dmed"),
        (["--model", "some.pt"], "sam2"),
        (["--model", "some.pt", "--method", "radsam"], "radsam"),
    ],
)
def test_the_default_method_suits_the_model(options: list[str], expected: str) -> None:
    import argparse

    from SAM2Medical3DLib.cli.segment_command import add_command, settings_from

    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    words = ["segment", "ct.nii.gz", "--out", "a.seg.nrrd", "--point", "1,2,3", *options]
    arguments = parser.parse_args([*words, "--appearance", "0.25"])
    settings = settings_from(arguments, Path("a.seg.nrrd"))
    assert (settings.method, settings.appearance) == (expected, 0.25)
