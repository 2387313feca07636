"""Registry, downloads and checkpoints: nothing but the published bytes is ever used."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from platformdirs.unix import Unix

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models import download
from SAM2Medical3DLib.models.architecture import Architecture, build, build_from_config
from SAM2Medical3DLib.models.checkpoint import read_metadata, read_weights, save_weights
from SAM2Medical3DLib.models.device import choose_device
from SAM2Medical3DLib.models.registry import (
    MODELS,
    described_architecture,
    list_models,
    load_model,
    model_info,
    remove_model,
)

TINY = Architecture(
    image_size=64, embed_dim=16, model_dim=32, memory_dim=16, memory_layers=1, feedforward_dim=32
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(build(TINY), path, {"architecture": TINY.to_json()})
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()
    httpd.server_close()


def test_the_registry_names_the_official_models_and_the_bundled_ones(cache: Path) -> None:
    names = [info.name for info in list_models()]
    assert names == [
        "bundled", "bundled-radsam", "bundled-3dmed",
        "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large",
    ]  # fmt: skip
    for info in MODELS[3:]:
        assert info.state == "not downloaded"
        assert len(info.sha256) == 64
        assert info.url.startswith("https://dl.fbaipublicfiles.com/segment_anything_2/092824/")
        assert info.licence == "Apache-2.0"
    for name in ("bundled", "bundled-radsam", "bundled-3dmed"):
        assert model_info(name).state == "bundled"
        assert model_info(name).path.stat().st_size <= 12e6


def test_the_bundled_model_is_small_enough_and_loads_offline(cache: Path) -> None:
    info = model_info("bundled")
    assert info.path.stat().st_size <= 12_000_000
    model = load_model("bundled", device="cpu")
    assert model.network.image_size == model_info("bundled").image_size
    assert model.dense_prompts
    assert model.carry_mask
    assert not any(p.requires_grad and p.grad is not None for p in model.network.parameters())


@pytest.mark.parametrize("config", ["sam2.1_hiera_t", "sam2.1_hiera_b+"])
def test_official_configurations_build_at_any_size(config: str) -> None:
    network = build_from_config(config, 128)
    assert network.image_size == 128
    assert network.binarize_mask_from_pts_for_mem_enc
    with torch.inference_mode():
        maps = network.forward_image(torch.zeros(1, 3, 128, 128))["backbone_fpn"]
    assert [m.shape[-1] for m in maps] == [32, 16, 8]


def test_a_download_is_verified_and_reported(cache: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    content = bytes(range(256)) * 4096
    (folder / "w.pt").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    seen: list[tuple[int, int]] = []
    path = download.fetch(
        f"{url}/w.pt", "w.pt", digest, len(content), lambda done, total: seen.append((done, total))
    )
    assert path == cache / "w.pt"
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    # Once here, the network is not asked again.
    (folder / "w.pt").unlink()
    assert download.fetch(f"{url}/w.pt", "w.pt", digest, len(content)) == path


def test_a_download_with_other_bytes_is_refused_and_leaves_nothing(
    cache: Path, server: tuple[str, Path]
) -> None:
    url, folder = server
    (folder / "w.pt").write_bytes(b"tampered")
    with pytest.raises(UserError, match="not the published file"):
        download.fetch(f"{url}/w.pt", "w.pt", "0" * 64, 8)
    assert list(cache.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(
    cache: Path, server: tuple[str, Path]
) -> None:
    url, folder = server
    (folder / "w.pt").write_bytes(b"whole")
    cache.mkdir()
    (cache / "w.pt").write_bytes(b"who")
    digest = hashlib.sha256(b"whole").hexdigest()
    assert download.fetch(f"{url}/w.pt", "w.pt", digest, 5).read_bytes() == b"whole"


@pytest.mark.parametrize("answer", ["no", "raise", "value error"])
def test_a_download_can_be_cancelled_in_the_middle(
    cache: Path, server: tuple[str, Path], answer: str
) -> None:
    url, folder = server
    content = bytes(2_000_000)
    (folder / "w.pt").write_bytes(content)
    seen: list[int] = []

    def progress(done: int, total: int) -> bool:
        seen.append(done)
        if done < total / 2:
            return True
        if answer == "no":
            return False
        raise KeyError("closed") if answer == "raise" else ValueError("closed")

    expected = {"no": download.DownloadCancelled, "raise": KeyError, "value error": ValueError}
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(expected[answer]) as caught:
        download.fetch(f"{url}/w.pt", "w.pt", digest, len(content), progress)
    assert "published" not in str(caught.value)
    assert seen[-1] < len(content)
    assert list(cache.iterdir()) == []
    assert download.fetch(f"{url}/w.pt", "w.pt", digest, len(content)).stat().st_size == 2_000_000
    assert [path.name for path in cache.iterdir()] == ["w.pt"]


def test_what_a_killed_program_left_is_discarded(cache: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    (folder / "w.pt").write_bytes(b"whole")
    partial = cache / "partial"
    partial.mkdir(parents=True)
    old, running = partial / "tmp_old", partial / "tmp_running"
    for path in (old, running):
        path.write_bytes(b"who")
    os.utime(old, (0, 0))
    download.fetch(f"{url}/w.pt", "w.pt", hashlib.sha256(b"whole").hexdigest(), 5)
    assert list(partial.iterdir()) == [running]


def test_only_downloaded_models_are_removed(cache: Path, tmp_path: Path) -> None:
    assert remove_model("sam2.1-tiny") == 0
    cache.mkdir()
    (cache / "sam2.1_hiera_tiny.pt").write_bytes(bytes(1234))
    (cache / "mine.txt").write_text("not ours")
    assert model_info("sam2.1-tiny").state == "installed"
    assert remove_model("sam2.1-tiny") == 1234
    assert model_info("sam2.1-tiny").state == "not downloaded"
    assert [path.name for path in cache.iterdir()] == ["mine.txt"]
    for name in ("bundled", "bundled-radsam", "bundled-3dmed"):
        with pytest.raises(UserError, match="stays"):
            remove_model(name)
        assert model_info(name).path.is_file()
    with pytest.raises(UserError, match="Unknown model"):
        remove_model(str(cache / "mine.txt"))
    with pytest.raises(ValueError, match="not the name"):
        download.remove("../mine.txt")
    # Where the user has linked a file of their own, the file stays.
    (tmp_path / "weights.pt").write_bytes(bytes(10))
    (cache / "sam2.1_hiera_tiny.pt").symlink_to(tmp_path / "weights.pt")
    remove_model("sam2.1-tiny")
    assert (tmp_path / "weights.pt").is_file()


def test_the_cache_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(download.CACHE_VARIABLE, raising=False)
    for home in ("", "/tmp/caches"):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert download.cache_folder() == Path(Unix("sam2medical3d").user_cache_dir)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert download.cache_folder() == Path.home() / "Library/Caches/sam2medical3d"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert download.cache_folder() == Path("/local/sam2medical3d/Cache")


def test_no_connection_is_one_sentence(cache: Path) -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        download.fetch("http://127.0.0.1:9/w.pt", "w.pt", "0" * 64, 8)


def test_no_space_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="are free"):
        download.fetch("http://127.0.0.1:9/w.pt", "w.pt", "0" * 64, 10_000_000)


def test_a_cache_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="cannot be written"):
        download.fetch("http://127.0.0.1:9/w.pt", "w.pt", "0" * 64, 8)


def test_a_model_that_was_not_downloaded_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(UserError, match="sam2medical3d download sam2.1-tiny"):
        load_model("sam2.1-tiny")


def test_a_tampered_official_file_is_refused(cache: Path) -> None:
    cache.mkdir()
    (cache / "sam2.1_hiera_tiny.pt").write_bytes(b"tampered")
    with pytest.raises(UserError, match="SHA-256 differs"):
        load_model("sam2.1-tiny")


def test_a_custom_checkpoint_describes_itself(tiny: Path) -> None:
    assert load_model(str(tiny), device="cpu").network.image_size == 64
    assert load_model(str(tiny), image_size=128, device="cpu").network.image_size == 128


def test_a_checkpoint_says_what_it_is_without_being_loaded(tiny: Path, tmp_path: Path) -> None:
    assert described_architecture(tiny) == TINY
    assert read_metadata(tiny) == read_weights(tiny)[1]
    for info in MODELS[:3]:
        assert read_metadata(info.path) == read_weights(info.path)[1]
    assert model_info("bundled").architecture.memory
    assert model_info("bundled-3dmed").architecture.boundary_dim > 0
    assert not model_info("bundled-radsam").architecture.memory
    assert model_info("sam2.1-tiny").architecture.memory
    pt = tmp_path / "weights.pt"
    torch.save({}, pt)
    assert described_architecture(pt) is None
    damaged = tmp_path / "damaged.safetensors"
    for content in (b"", b"abc", b"\xff" * 100, (5).to_bytes(8, "little") + b"[1, 2"):
        damaged.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            described_architecture(damaged)
    with pytest.raises(UserError, match="no checkpoint"):
        described_architecture(tmp_path / "nowhere.pt")


def test_a_pt_checkpoint_needs_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "tuned.pt"
    torch.save({"model": build_from_config("sam2.1_hiera_t", 64).state_dict()}, path)
    with pytest.raises(UserError, match="--config"):
        load_model(str(path), device="cpu")
    model = load_model(str(path), config="sam2.1_hiera_t", image_size=128, device="cpu")
    assert model.network.image_size == 128
    with pytest.raises(UserError, match="another architecture"):
        load_model(str(path), config="sam2.1_hiera_s", image_size=128, device="cpu")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_truncated_checkpoints_are_refused(tmp_path: Path, tiny: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pt":
        torch.save({"model": build(TINY).state_dict()}, path)
    else:
        shutil.copy(tiny, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged"):
        read_weights(path)


class _Hostile:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("hostile-was-here"),))


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(UserError, match="more than weights"):
        read_weights(tmp_path / "hostile.pt")
    assert not (tmp_path / "hostile-was-here").exists()


def test_a_configuration_may_only_name_sam2s_classes(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("model:\n  _target_: os.system\n  command: 'true'\n")
    with pytest.raises(UserError, match="not sam2's"):
        build_from_config(path)


@pytest.mark.parametrize("size", [50, 100, 4096])
def test_an_impossible_image_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match="multiple of 32"):
        build_from_config("sam2.1_hiera_t", size)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    for name in ("cuda", "mps", "xla", "nonsense"):
        with pytest.raises(UserError):
            choose_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0").index == 0
    with pytest.raises(UserError, match="1 GPU"):
        choose_device("cuda:1")
