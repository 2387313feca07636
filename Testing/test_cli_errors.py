"""Every mistake of a user: exit status 2 and one sentence, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from grids import make_grid
from SAM2Medical3DLib.cli.main import main
from SAM2Medical3DLib.files.images import image_on
from SAM2Medical3DLib.volume import Volume

ARRAY = np.random.default_rng(0).integers(0, 500, (6, 20, 24)).astype(np.int16)
GRID = make_grid(ARRAY.shape)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.nrrd"
    sitk.WriteImage(image_on(ARRAY, GRID), str(path))
    return path


def refusal(capfd: pytest.CaptureFixture, *words: object) -> str:
    """The sentence that a command line is refused with."""
    capfd.readouterr()
    status = main([str(word) for word in words])
    shown = capfd.readouterr()
    assert status == 2, shown.err
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("sam2medical3d: error: ")
    return lines[0]


def segment(capfd: pytest.CaptureFixture, volume: Path, tmp_path: Path, *words: object) -> str:
    said = refusal(capfd, "segment", volume, "--out", tmp_path / "out.nrrd", *words)
    assert not (tmp_path / "out.nrrd").exists()
    return said


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (None, "no file or folder"),
        (sitk.GetImageFromArray(ARRAY[:1]), "single slice"),
        (sitk.GetImageFromArray(ARRAY[0]), "single slice"),
        (sitk.GetImageFromArray(np.zeros((6, 20, 24, 3), np.uint8), isVector=True), "3 values"),
        (sitk.JoinSeries([sitk.GetImageFromArray(ARRAY)] * 2), "4D sequence"),
        (sitk.GetImageFromArray(np.full_like(ARRAY, 7)), "constant"),
        (sitk.GetImageFromArray(np.full(ARRAY.shape, np.nan, np.float32)), "no finite voxel"),
    ],
)
def test_volumes(
    tmp_path: Path, capfd: pytest.CaptureFixture, image: sitk.Image | None, said: str
) -> None:
    path = tmp_path / "bad.nrrd"
    if image is not None:
        sitk.WriteImage(image, str(path))
    assert said in segment(capfd, path, tmp_path, "--point", "5,5,2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no prompt"),
        (["--point", "24,5,2"], "lies outside the volume"),
        (["--point", "-1,5,2"], "add --ras if millimetres were meant"),
        (["--point", "nan,5,2"], "lies outside"),
        (["--point", "500,5,2", "--ras"], "RAS mm"),
        (["--negative", "5,5,2"], "Only negative points"),
        (["--point", "5,5"], "'5,5' is not 3 numbers"),
        (["--point", "a,b,c"], "is not 3 numbers"),
        (["--box", "1,2,3,4"], "is not 6 numbers"),
        (["--box", "5,5,2,5,9,2"], "no area"),
        (["--box", "5,5,2,9,99,2"], "box corner 9,99,2"),
        (["--box", "1,1,2,9,9,2", "--box", "2,2,2,8,8,2"], "Two boxes"),
        (["--mask", "none.nrrd"], "no labelmap file"),
        (["--slices", "2"], "is not first:last"),
        (["--point", "5,5,2", "--slices", "4:2"], "--slices 4:2 is not inside 0:5"),
        (["--point", "5,5,2", "--slices", "0:6"], "is not inside"),
        (["--point", "5,5,2", "--slices", "-2:3"], "is not inside"),
        (["--point", "5,5,2", "--axis", "oblique"], "invalid choice"),
        (["--point", "5,5,2", "--window", "spleen"], "Unknown window"),
        (["--point", "5,5,2", "--window", "display"], "no display window"),
        (["--point", "5,5,2", "--name", "a", "--name", "b"], "2 segment name"),
        (["--point", "5,5,2", "--cache-mb", "0"], "positive whole number"),
        (["--point", "5,5,2", "--model", "sam9"], "Unknown model 'sam9'"),
        (["--point", "5,5,2", "--device", "abacus"], "Unknown device"),
        (["--point", "5,5,2", "--report", "none/r.json"], "no folder none"),
        (["--point", "5,5,2", "--preview", "."], "is a folder"),
        (["--spleen"], "unrecognized arguments: --spleen"),
    ],
)
def test_options(
    good: Path, tmp_path: Path, capfd: pytest.CaptureFixture, words: list[str], said: str
) -> None:
    assert said in segment(capfd, good, tmp_path, *words)


def test_commands(capfd: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert "COMMAND" in refusal(capfd)
    assert "invalid choice: 'sgment'" in refusal(capfd, "sgment")
    assert "--out" in refusal(capfd, "segment", "a.nrrd")
    assert "add --volume" in refusal(capfd, "demo", "--out", tmp_path / "d", "--point", "1,2,3")
    (tmp_path / "file").write_text("")
    assert "cannot be created" in refusal(capfd, "demo", "--out", tmp_path / "file" / "d")


@pytest.mark.parametrize(
    ("name", "said"), [("none/o.nrrd", "no folder"), ("o.png", "suffix"), ("d.nrrd", "folder")]
)
def test_outputs(
    good: Path, tmp_path: Path, capfd: pytest.CaptureFixture, name: str, said: str
) -> None:
    (tmp_path / "d.nrrd").mkdir()
    words = ("segment", good, "--point", "5,5,2", "--out", tmp_path / name)
    assert said in refusal(capfd, *words)


def test_masks(good: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    path = tmp_path / "mask.nrrd"
    labels = np.zeros(ARRAY.shape, np.uint8)
    sitk.WriteImage(image_on(labels, GRID), str(path))
    assert "The mask is empty" in segment(capfd, good, tmp_path, "--mask", path)
    labels[2, 4:8, 4:8] = 1
    labels[2, 4:8, 10:14] = 2
    sitk.WriteImage(image_on(labels, make_grid(ARRAY.shape, spacing=(1, 1, 1))), str(path))
    assert "resample" in segment(capfd, good, tmp_path, "--mask", path)
    sitk.WriteImage(image_on(labels, GRID), str(path))
    said = segment(capfd, good, tmp_path, "--mask", path, "--point", "5,5,3")
    assert "2 labels" in said
    sitk.WriteImage(image_on(np.minimum(labels, 1), GRID), str(path))
    assert "stands alone" in segment(capfd, good, tmp_path, "--mask", path, "--point", "5,5,2")


def test_checkpoints(
    good: Path, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def with_model(*words: object) -> str:
        return segment(capfd, good, tmp_path, "--point", "5,5,2", "--model", *words)

    content = tiny_model.read_bytes()
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(content[: len(content) // 2])
    assert "damaged or truncated" in with_model(bad)
    bad.write_bytes(content[:20])
    assert "damaged or truncated" in with_model(bad)
    bad.write_bytes(b"")
    assert "damaged or truncated" in with_model(bad)
    bad.write_bytes(content.replace(b'\\"embed_dim\\": 8', b'\\"embed_dim\\": 9'))
    assert "another architecture" in with_model(bad)
    assert "multiple of 32" in with_model(tiny_model, "--image-size", "100")
    pickled = tmp_path / "bad.pt"
    pickled.write_bytes(content)
    assert "damaged, truncated" in with_model(pickled)
    monkeypatch.setenv("SAM2MEDICAL3D_CACHE", str(tmp_path / "cache"))
    assert "sam2medical3d download sam2.1-tiny" in with_model("sam2.1-tiny")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "sam2.1_hiera_tiny.pt").write_bytes(content)
    assert "SHA-256 differs" in with_model("sam2.1-tiny")


def test_downloads(
    tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Unknown model 'sam9'" in refusal(capfd, "download", "sam9")
    monkeypatch.setenv("SAM2MEDICAL3D_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000_000))
    assert "10 MB are free" in refusal(capfd, "download", "sam2.1-tiny")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAM2MEDICAL3D_CACHE", str(tmp_path / "file" / "cache"))
    assert "cannot be written" in refusal(capfd, "download", "sam2.1-tiny")


def test_unexpected_errors_are_one_sentence_too(
    good: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> Volume:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("SAM2Medical3DLib.cli.segment.read_volume", broken)
    words = ["segment", str(good), "--out", str(tmp_path / "o.nrrd")]
    assert main(words) == 1
    shown = capfd.readouterr().err
    assert shown.count("\n") == 1
    assert "first line second line" in shown
    assert "--debug" in shown
    assert main([*words, "--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_models_are_listed(capfd: pytest.CaptureFixture) -> None:
    assert main(["models"]) == 0
    shown = capfd.readouterr().out
    assert "bundled" in shown
    assert "sam2.1-large" in shown
    assert "898 MB" in shown


@pytest.mark.parametrize("words", [["--help"], ["segment", "--help"], ["--version"]])
def test_help(words: list[str], capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    assert capfd.readouterr().out
