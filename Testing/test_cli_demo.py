"""``demo`` on a small phantom and a tiny network: every file is written, Dice and time are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SAM2Medical3DLib import phantom
from SAM2Medical3DLib.cli import demo
from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.files import read_labelmap, read_segments, read_volume
from SAM2Medical3DLib.volume import Volume


@pytest.fixture(autouse=True)
def small_phantom(
    monkeypatch: pytest.MonkeyPatch, tiny_volume: Volume, tiny_labels: np.ndarray
) -> None:
    small = phantom.Phantom(
        tiny_volume.array, tiny_labels, (0.8, 0.9, 3.0), {1: "liver", 2: "spleen"}
    )
    monkeypatch.setattr(phantom, "abdomen_phantom", lambda: small)
    # The 3D picture has tests of its own.
    monkeypatch.setattr(demo, "_render", lambda outcome, path: None)


def test_phantom(
    tmp_path: Path, tiny_model: Path, tiny_labels: np.ndarray, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "new" / "results"
    command = ["demo", "--object", "liver", "--out", str(out), "--model", str(tiny_model)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    for kind in ("the mask:  0.", "one box:   0.", "one click: 0."):
        assert f"Dice from {kind}" in shown
    volume = read_volume(out / "phantom.nrrd")
    reference = read_labelmap(out / "reference.seg.nrrd", volume.grid)
    assert (reference == tiny_labels).all()
    assert read_segments(out / "reference.seg.nrrd")[2].name == "spleen"
    prompt = read_labelmap(out / "prompt.seg.nrrd", volume.grid)
    central = np.flatnonzero(prompt.any(axis=(1, 2)))
    assert central.tolist() == [6]
    found = read_labelmap(out / "segmentation.seg.nrrd", volume.grid)
    assert (found[6] == (tiny_labels[6] == 1)).all()
    assert read_segments(out / "segmentation.seg.nrrd")[1].name == "liver"
    for name in ("preview.png", "report.json", "from-one-box.seg.nrrd", "from-one-click.png"):
        assert (out / name).stat().st_size > 0


def test_an_unknown_structure_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["demo", "--object", "tail", "--out", str(tmp_path)]) == 2
    assert "has no 'tail'; it has liver, spleen" in capsys.readouterr().err


def test_own_volume(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["demo", "--object", "spleen", "--model", str(tiny_model), "--out"]
    assert main([*common, str(tmp_path / "first")]) == 0
    volume = str(tmp_path / "first" / "phantom.nrrd")
    assert main([*common, str(tmp_path / "second"), "--volume", volume]) == 2
    assert "no prompt" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "second"), "--volume", volume, "--point", "12,14,6"]) == 0
    assert (tmp_path / "second" / "segmentation.seg.nrrd").is_file()
