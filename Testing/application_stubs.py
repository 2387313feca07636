"""Stand-ins for what the Slicer application adds to the slicer package."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


def stub_module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> ModuleType:
    """A module of that name that can be imported and found."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        monkeypatch.setattr(sys.modules[parent], child, module, raising=False)
    return module


def stub_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every string is its own translation."""
    import slicer  # noqa: F401

    stub_module(monkeypatch, "slicer.i18n", tr=lambda text: text)
