"""Slicer's own functions are called as they want to be, with and without ``slicer.packaging``."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest

from application_stubs import stub_module, stub_translation


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A Slicer without window and without testing mode, as far as the installer needs it."""
    import slicer

    stub_translation(monkeypatch)
    app = SimpleNamespace(testingEnabled=lambda: False, processEvents=lambda: None)
    monkeypatch.setattr(slicer, "app", app, raising=False)
    stub_module(monkeypatch, "slicer.util", mainWindow=lambda: None)
    return slicer


@pytest.fixture
def make_installer(slicer: ModuleType) -> Callable[[], object]:
    return import_module("SAM2Medical3DLib.application.installer").SlicerInstaller


def test_slicers_own_functions_are_called(
    slicer: ModuleType, make_installer: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    stub_module(
        monkeypatch,
        "slicer.packaging",
        pip_ensure=lambda *args, **options: calls.append((*args, options)),
        pip_install=lambda *args, **options: calls.append((*args, options)),
    )
    installer = make_installer()
    installer.ensure(("pooch>=1.8",))
    installer.pip_install(("--no-deps", "sam2==1.1.0"))
    assert calls == [
        (["pooch>=1.8"], {"prompt_install": False, "requester": "SAM2Medical3D"}),
        (["--no-deps", "sam2==1.1.0"], {"requester": "SAM2Medical3D"}),
    ]


def test_a_slicer_without_slicer_packaging(
    slicer: ModuleType, make_installer: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    stub_module(
        monkeypatch, "slicer.util", mainWindow=lambda: None, pip_install=lambda a: calls.append(a)
    )
    installer = make_installer()
    installer.ensure(["pooch>=1.8"])
    installer.pip_install(["sam2==1.1.0"])
    assert calls == [["pooch>=1.8"], ["sam2==1.1.0"]]


def test_torch_comes_by_the_pytorch_extension(
    slicer: ModuleType, make_installer: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_PROGRESS_BAR", raising=False)
    calls: list[object] = []
    torch: list[object] = ["torch", None]

    class Logic:
        def installTorch(self, **options: object) -> object:
            calls.append((options, os.environ.get("PIP_PROGRESS_BAR")))
            return torch.pop(0)

    installer = make_installer()
    assert not installer.has_pytorch_extension()
    stub_module(monkeypatch, "PyTorchUtils", PyTorchUtilsLogic=Logic)
    assert installer.has_pytorch_extension()
    installer.install_torch(">=2.5")
    assert calls == [({"torchVersionRequirement": ">=2.5"}, "raw")]
    assert "PIP_PROGRESS_BAR" not in os.environ
    with pytest.raises(RuntimeError):
        installer.install_torch(">=2.5")


def test_the_extensions_manager_asks_no_second_time(
    slicer: ModuleType, make_installer: Callable[[], object]
) -> None:
    calls: list[object] = []
    manager = SimpleNamespace(interactive=True)
    manager.installExtensionFromServer = lambda *a: calls.append((*a, manager.interactive))
    installer = make_installer()
    assert not installer.can_install_extensions()
    slicer.app.extensionsManagerModel = lambda: manager
    assert installer.can_install_extensions()
    with pytest.raises(RuntimeError):
        installer.install_pytorch_extension()
    assert calls == [("PyTorch", False, False)]
    assert manager.interactive


def test_tests_inside_slicer_install_nothing(
    slicer: ModuleType, make_installer: Callable[[], object]
) -> None:
    slicer.app.testingEnabled = lambda: True
    assert not make_installer().confirm("Install?")
