"""The panel's models: what suits which method, what is here, downloads that can be stopped."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from application_stubs import stub_translation
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models import download, registry
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.checkpoint import save_weights
from SAM2Medical3DLib.models.registry import LoadedModel, load_model
from SAM2Medical3DLib.propagation.registry import METHODS, create_propagator, models_for

OFFICIAL = ["sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv(download.CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, cache: Path) -> SimpleNamespace:
    stub_translation(monkeypatch)
    names = ("weights", "downloading", "device")
    modules = {name: import_module(f"SAM2Medical3DLib.application.{name}") for name in names}
    return SimpleNamespace(**modules)


@pytest.fixture(scope="module")
def tiny_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small networks with random weights: with memory, without, with a boundary branch."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    kinds = {"memory": {}, "2d": {"memory": False}, "boundaries": {"boundary_dim": 8}}
    for name, options in kinds.items():
        architecture = Architecture(
            image_size=64, embed_dim=8, stages=(1, 1, 2, 1), global_blocks=(3,), model_dim=32,
            memory_dim=16, memory_layers=1, feedforward_dim=32, **options,
        )  # fmt: skip
        paths[name] = folder / f"{name}.safetensors"
        save_weights(build(architecture), paths[name], {"architecture": architecture.to_json()})
    return paths


def test_rows_are_what_a_method_can_use(application: SimpleNamespace) -> None:
    rows = {method: application.weights.model_rows(method) for method in METHODS}
    assert [row.name for row in rows["sam2"]] == ["bundled", "bundled-3dmed", *OFFICIAL]
    small = ["bundled-radsam", "bundled", "bundled-3dmed"]
    assert [row.name for row in rows["radsam"]] == [*small, *OFFICIAL]
    assert [row.name for row in rows["sam2-3dmed"]] == ["bundled-3dmed"]
    with pytest.raises(UserError, match="Unknown method"):
        application.weights.model_rows("magic")


def test_rows_say_what_is_here(application: SimpleNamespace, cache: Path) -> None:
    bundled, _, tiny, *_ = application.weights.model_rows("sam2")
    assert (bundled.state, bundled.is_removable, bundled.download_bytes) == ("bundled", False, 0)
    assert bundled.label == "SAM2Medical3D small (bundled)"
    assert bundled.size_bytes == bundled.path.stat().st_size
    assert tiny.label == "SAM 2.1 tiny (download 156 MB)"
    assert (tiny.size_bytes, tiny.download_bytes) == (0, 156_008_466)
    assert tiny.path == application.weights.weights_folder() / "sam2.1_hiera_tiny.pt"
    assert application.weights.downloaded_bytes() == 0
    tiny.path.write_bytes(bytes(2_000_000))
    _, _, tiny, *_ = application.weights.model_rows("sam2")
    assert tiny.label == "SAM 2.1 tiny (installed, 2 MB)"
    assert (tiny.state, tiny.is_removable, tiny.download_bytes) == ("installed", True, 0)
    assert application.weights.downloaded_bytes() == 2_000_000
    registry.remove_model(tiny.name)
    assert application.weights.downloaded_bytes() == 0


def test_a_missing_bundled_file_leaves_the_others(
    application: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "bundled_file", lambda name: tmp_path / name)
    assert [info.name for info in models_for("radsam")] == OFFICIAL


def test_rows_need_nothing_that_slicer_lacks() -> None:
    """As when the panel opens for the first time: no torch, and none of the other packages."""
    script = """
import sys
from types import ModuleType
missing = {"torch", "sam2", "safetensors", "pooch", "platformdirs", "hydra", "omegaconf",
           "iopath", "tqdm"}
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
import slicer
sys.modules["slicer.i18n"] = ModuleType("slicer.i18n")
sys.modules["slicer.i18n"].tr = lambda text: text
from SAM2Medical3DLib.application import device, downloading, notice, packages, weights
rows = [row.name for row in weights.model_rows("radsam")]
assert rows[:4] == ["bundled-radsam", "bundled", "bundled-3dmed", "sam2.1-tiny"], rows
assert weights.weights_folder().name
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["memory", "2d", "boundaries"])
@pytest.mark.parametrize("method", list(METHODS))
def test_own_files_are_offered_for_what_they_can_do(
    application: SimpleNamespace, tiny_checkpoints: dict[str, Path], method: str, kind: str
) -> None:
    path = tiny_checkpoints[kind]
    wanted = {"sam2": "memory of other slices", "sam2-3dmed": "boundary|memory"}
    suits = {"sam2": kind != "2d", "radsam": True, "sam2-3dmed": kind == "boundaries"}[method]
    if not suits:
        with pytest.raises(UserError, match=wanted[method]):
            application.weights.own_model_row(path, method)
        return
    row = application.weights.own_model_row(path, method)
    assert (row.state, row.is_removable, row.path) == ("own", False, path)
    assert row.label.startswith(f"{kind}.safetensors (own file, ")
    assert not application.weights.needs_configuration(path)
    create_propagator(method, load_model(row.name, device="cpu"))


@pytest.mark.parametrize("method", ["sam2", "sam2-3dmed"])
def test_what_is_not_offered_indeed_cannot_run(
    tiny_checkpoints: dict[str, Path], method: str
) -> None:
    model: LoadedModel = load_model(str(tiny_checkpoints["2d"]), device="cpu")
    with pytest.raises(UserError, match="no memory"):
        create_propagator(method, model)


def test_a_file_that_is_silent_needs_a_configuration(
    application: SimpleNamespace, tmp_path: Path
) -> None:
    weights = application.weights
    path = tmp_path / "MedSAM2_latest.pt"
    torch.save({}, path)
    assert weights.own_model_row(path, "sam2").state == "own"
    assert weights.needs_configuration(path)
    assert [config for config, _ in weights.configurations()] == [
        "sam2.1_hiera_t", "sam2.1_hiera_s", "sam2.1_hiera_b+", "sam2.1_hiera_l",
    ]  # fmt: skip
    for name, guess in {
        "MedSAM2_latest.pt": ("sam2.1_hiera_t", 512),
        "sam2.1_hiera_base_plus.pt": ("sam2.1_hiera_b+", 1024),
        "sam2.1_hiera_b+_tuned.pt": ("sam2.1_hiera_b+", 1024),
        "my_large.pt": ("sam2.1_hiera_l", 1024),
        "what.pt": ("sam2.1_hiera_t", 1024),
    }.items():
        assert weights.suggested_configuration(Path(name)) == guess
    with pytest.raises(UserError, match="Choose a checkpoint file"):
        weights.own_model_row(tmp_path / "notes.txt", "sam2")
    with pytest.raises(UserError, match="no checkpoint"):
        weights.own_model_row(tmp_path / "nowhere.pt", "sam2")


def test_a_download_runs_beside_and_is_cancelled(application: SimpleNamespace) -> None:
    answered = threading.Event()

    def endless(name: str, progress: object) -> Path:
        for done in range(10_000):
            if progress(done, 10_000) is False:
                raise download.DownloadCancelled
            answered.set()
            time.sleep(0.002)
        raise AssertionError("not cancelled")

    running = application.downloading.Download("sam2.1-tiny", endless)
    assert answered.wait(5)
    assert not running.is_finished
    assert running.progress[1] == 10_000
    running.cancel()
    assert running.wait(5)
    with pytest.raises(download.DownloadCancelled, match="nothing of it was kept"):
        running.result()


def test_a_download_gives_its_file_or_its_sentence(application: SimpleNamespace) -> None:
    def failing(name: str, progress: object) -> Path:
        raise UserError("no connection")

    start = application.downloading.Download
    assert start("x", lambda name, progress: Path(name)).result() == Path("x")
    with pytest.raises(UserError, match="no connection"):
        start("x", failing).result()
    assert start("bundled").result().is_file()


def test_the_device_is_named(
    application: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict
) -> None:
    device = application.device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    report = device.device_report()
    assert (report.name, report.has_gpu) == ("cpu", False)
    assert "no GPU was found" in report.text
    assert device.model_advice(report, "radsam", "bundled-radsam") == ""
    assert device.model_advice(report, "sam2", str(tiny_checkpoints["memory"])) == ""
    assert "SAM2Medical3D RadSAM (bundled)" in device.model_advice(report, "radsam", "sam2.1-tiny")
    assert "SAM2-3dMed (bundled)" in device.model_advice(report, "sam2-3dmed", "sam2.1-tiny")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    report = device.device_report()
    assert (report.name, report.text, report.has_gpu) == ("cuda", "NVIDIA H100", True)
    assert device.model_advice(report, "sam2", "sam2.1-large") == ""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    assert device.device_report().name == ""
