"""First-use installation: what is missing, one question, and nothing half done unsaid."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from application_stubs import stub_translation
from SAM2Medical3DLib.errors import UserError

MODULE = Path(__file__).resolve().parents[1] / "SAM2Medical3D"
REQUIREMENTS = MODULE / "Resources" / "requirements.txt"

# As Slicer 5.12 is before the first use, but for what requirements.txt names.
FRESH = {"setuptools": "82.0.1", "wheel": "0.47.0", "numpy": "2.4.6"}


class FakeInstaller:
    """Puts versions into ``have`` instead of installing, and writes down what it was asked."""

    def __init__(self, have: dict[str, str], agrees: bool = True, extension: bool = True) -> None:
        self.have, self.agrees, self.extension = have, agrees, extension
        self.manager, self.fails = True, ""
        self.asked: list[str] = []
        self.done: list[object] = []

    def confirm(self, text: str, details: str = "") -> bool:
        self.asked.append(text)
        return self.agrees

    def has_pytorch_extension(self) -> bool:
        return self.extension

    def can_install_extensions(self) -> bool:
        return self.manager

    def install_pytorch_extension(self) -> None:
        self._do("extension")

    def restart(self) -> None:
        self.done.append("restart")

    def install_torch(self, specifier: str) -> None:
        self._do(("torch", specifier))
        self.have["torch"] = "2.13.0+cpu"

    def ensure(self, requirements: Sequence[str]) -> None:
        self._do(("ensure", list(requirements)))
        self.have.update(
            {"setuptools" if "setuptools" in line else line.partition(">")[0]: "99"
             for line in requirements}
        )  # fmt: skip

    def pip_install(self, arguments: Sequence[str]) -> None:
        self._do(("pip", list(arguments), os.environ.get("SAM2_BUILD_CUDA")))
        self.have["sam2"] = "1.1.0"

    def _do(self, what: object) -> None:
        if self.fails and self.fails in str(what):
            raise RuntimeError("no network")
        self.done.append(what)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    stub_translation(monkeypatch)
    return import_module("SAM2Medical3DLib.application.packages")


@pytest.fixture
def no_torch_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "sam2"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_nothing_is_missing_where_the_tests_run(packages: ModuleType) -> None:
    assert packages.missing_packages(REQUIREMENTS) == []
    installer = FakeInstaller({})
    assert packages.install_missing(REQUIREMENTS, installer) == []
    assert installer.asked == []


def test_what_is_missing_is_found_by_real_metadata(packages: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text(
        "# a comment\n-r other.txt\n\nnumpy>=1.26  # shipped\nnumpy>=1000\n"
        "sam2medical3d-no-such-package>=2\nno-such-thing; python_version < '3'\n"
    )
    assert packages.missing_packages(path) == [
        "numpy>=1000",
        "sam2medical3d-no-such-package>=2",
    ]
    assert "instead of" in packages.consent_text(["numpy>=1000"])


def test_a_fresh_slicer_lacks_all_in_the_order_to_install(packages: ModuleType) -> None:
    missing = packages.missing_packages(REQUIREMENTS, FRESH.get)
    assert missing[0] == "torch>=2.5"
    assert missing[-1] == "sam2==1.1.0"
    assert {line.partition(">")[0] for line in missing[1:-1]} == {
        "safetensors", "pooch", "hydra-core", "iopath", "tqdm",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("have", "missing"),
    [
        ({"torch": "2.1.2+cu118"}, ["torch>=2.5"]),
        ({"torch": "2.5.0"}, []),
        ({"torch": "2.14.0.dev20261101+cpu"}, []),
        ({"torch": "unknown"}, ["torch>=2.5"]),
        ({"sam2": "1.0"}, ["sam2==1.1.0"]),
        ({"sam2": None, "setuptools": "65.0", "wheel": "0.40"}, ["sam2==1.1.0"]),
        ({"sam2": None, "setuptools": "82.0.1", "wheel": None}, ["sam2==1.1.0"]),
        ({"sam2": None, "setuptools": "65.0", "wheel": None},
         ["setuptools>=70.1", "sam2==1.1.0"]),
        ({"sam2": None, "setuptools": None, "wheel": None},
         ["setuptools>=70.1", "sam2==1.1.0"]),
        ({"setuptools": None, "wheel": None}, []),
    ],
)  # fmt: skip
def test_versions_count(packages: ModuleType, have: dict, missing: list[str]) -> None:
    def installed(name: str) -> str | None:
        return have[name] if name in have else packages.installed_version(name)

    assert packages.missing_packages(REQUIREMENTS, installed) == missing
    text = packages.consent_text(missing, installed)
    for name, version in have.items():
        named = any(line.startswith(name) for line in missing)
        assert (f"instead of {version}" in text) == (named and version is not None)


@pytest.mark.parametrize("before", [None, "1"])
def test_one_question_then_everything(
    packages: ModuleType,
    no_torch_in_use: None,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
) -> None:
    monkeypatch.delenv("SAM2_BUILD_CUDA", raising=False)
    if before:
        monkeypatch.setenv("SAM2_BUILD_CUDA", before)
    have = dict(FRESH)
    installer = FakeInstaller(have)
    done = packages.install_missing(REQUIREMENTS, installer, have.get)
    (question,) = installer.asked
    assert all(line.partition(">")[0].partition("=")[0] in question for line in done)
    assert "No GPU is needed" in question
    torch, (_, rest), sam2 = installer.done
    assert torch == ("torch", ">=2.5")
    assert set(rest) == set(done[1:-1])
    assert sam2 == ("pip", ["--no-build-isolation", "--no-deps", "sam2==1.1.0"], "0")
    assert os.environ.get("SAM2_BUILD_CUDA") == before
    assert packages.install_missing(REQUIREMENTS, installer, have.get) == []
    assert len(installer.asked) == 1


def test_declining_installs_nothing(packages: ModuleType, no_torch_in_use: None) -> None:
    installer = FakeInstaller(dict(FRESH), agrees=False)
    with pytest.raises(UserError, match="Nothing was installed.*torch, safetensors.*sam2"):
        packages.install_missing(REQUIREMENTS, installer, installer.have.get)
    assert installer.done == []


@pytest.mark.parametrize(("fails", "named"), [("torch", "torch"), ("pooch", "pooch"),
                                              ("sam2", "sam2")])  # fmt: skip
def test_a_failure_is_a_sentence_and_the_next_call_goes_on(
    packages: ModuleType, no_torch_in_use: None, fails: str, named: str
) -> None:
    installer = FakeInstaller(dict(FRESH))
    installer.fails = fails
    with pytest.raises(UserError, match=f"Installing .*{named}.* failed"):
        packages.install_missing(REQUIREMENTS, installer, installer.have.get)
    assert "SAM2_BUILD_CUDA" not in os.environ
    before, installer.fails, installer.done = list(installer.done), "", []
    packages.install_missing(REQUIREMENTS, installer, installer.have.get)
    assert not [step for step in installer.done if step in before]
    assert packages.missing_packages(REQUIREMENTS, installer.have.get) == []


def test_an_installation_that_left_nothing_is_noticed(
    packages: ModuleType, no_torch_in_use: None
) -> None:
    with pytest.raises(UserError, match="torch.*cannot be found after the installation"):
        packages.install_missing(REQUIREMENTS, FakeInstaller({}), FRESH.get)


def test_a_package_in_use_is_not_replaced(
    packages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    installer = FakeInstaller({**FRESH, "torch": "2.1.2"})
    with pytest.raises(UserError, match=r"torch 2\.1\.2 is in use.*torch>=2\.5 is needed; restart"):
        packages.install_missing(REQUIREMENTS, installer, installer.have.get)
    assert installer.asked == []


def test_without_the_pytorch_extension_it_is_offered(
    packages: ModuleType, no_torch_in_use: None
) -> None:
    def attempt(**changes: object) -> FakeInstaller:
        installer = FakeInstaller(dict(FRESH), extension=False)
        vars(installer).update(changes)
        with pytest.raises(UserError, match=changes.get("says", "estart Slicer")):
            packages.install_missing(REQUIREMENTS, installer, installer.have.get)
        return installer

    assert attempt(manager=False, says="Install the PyTorch extension in the").asked == []
    declined = attempt(agrees=False, says="Install the PyTorch extension in the")
    assert (len(declined.asked), declined.done) == (1, [])
    assert attempt(fails="extension", says="Installing the PyTorch extension failed").done == []
    assert attempt(says="Restart Slicer, so that").done == ["extension", "restart"]
