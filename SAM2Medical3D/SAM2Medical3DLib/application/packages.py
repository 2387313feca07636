"""The Python packages that Slicer does not bring: what is missing, and installing it on consent.

What is decided here is carried out by an :class:`Installer`: in Slicer that of ``installer.py``.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from slicer.i18n import tr as _

from ..errors import UserError
from .requirements import SAM2, TORCH, Installed, installed_version, missing_packages, parsed


class Installer(Protocol):
    """What installing takes; every method but ``confirm`` raises some exception when it fails."""

    def confirm(self, text: str, details: str = "") -> bool:
        """Ask the user."""
        ...

    def has_pytorch_extension(self) -> bool:
        """Whether ``install_torch`` can be called."""
        ...

    def can_install_extensions(self) -> bool:
        """Whether ``install_pytorch_extension`` can be called."""
        ...

    def install_pytorch_extension(self) -> None:
        """Get the PyTorch extension, which is there after a restart."""
        ...

    def restart(self) -> None:
        """Restart the application."""
        ...

    def install_torch(self, specifier: str) -> None:
        """Install torch in a version such as ``>=2.5``."""
        ...

    def ensure(self, requirements: Sequence[str]) -> None:
        """Install packages and what they need."""
        ...

    def pip_install(self, arguments: Sequence[str]) -> None:
        """Run pip install."""
        ...


def consent_text(missing: Sequence[str], installed: Installed = installed_version) -> str:
    """What is asked before anything is installed."""
    question = _(
        "SAM2Medical3D needs Python packages that are not here yet:\n\n"
        "{packages}\n\n"
        "They will be downloaded from the Python Package Index into this Slicer, which takes "
        "minutes. Nothing is sent but the request for them."
    ).format(packages="\n".join(_described(line, installed) for line in missing))
    if TORCH in missing:
        question += "\n\n" + _(
            "PyTorch (torch) is installed by the PyTorch extension in the variant that suits this "
            "computer: 0.1 GB to 3 GB. No GPU is needed: without one, use the bundled model."
        )
    return question + "\n\n" + _("Install them now?")


def install_missing(
    requirements: Path,
    installer: Installer | None = None,
    installed: Installed = installed_version,
) -> list[str]:
    """Install what is missing after asking once; does nothing where nothing is missing.

    Must run in the main thread. What was installed before a failure stays, and the next call
    installs the rest.

    Args:
        requirements: the requirements file.
        installer: Slicer's own if None.
        installed: gives the version of a package, or None.

    Returns:
        The requirements that were installed.

    Raises:
        UserError: the user declined, something failed, or Slicer has to be restarted first.
    """
    missing = missing_packages(requirements, installed)
    if not missing:
        return []
    if installer is None:
        from .installer import SlicerInstaller

        installer = SlicerInstaller()
    _refuse_what_is_in_use(missing, installed)
    if TORCH in missing and not installer.has_pytorch_extension():
        _get_pytorch_extension(installer)
    if not installer.confirm(consent_text(missing, installed)):
        raise UserError(
            _("Nothing was installed. Try again and agree to install {packages}.").format(
                packages=", ".join(_name(line) for line in missing)
            )
        )
    _install(missing, installer)
    importlib.invalidate_caches()
    still = missing_packages(requirements, installed)
    if still:
        raise UserError(
            _("{packages} cannot be found after the installation; restart Slicer.").format(
                packages=", ".join(_name(line) for line in still)
            )
        )
    return missing


def _install(missing: Sequence[str], installer: Installer) -> None:
    if TORCH in missing:
        with _failures_as_sentences("torch"):
            installer.install_torch(TORCH.removeprefix("torch"))
    others = [line for line in missing if line not in (TORCH, SAM2)]
    if others:
        with _failures_as_sentences(", ".join(_name(line) for line in others)):
            installer.ensure(others)
    if SAM2 in missing:
        # Its build would otherwise bring a second torch and compile CUDA code that is not used;
        # as a dependency it names torchvision, which nothing here imports.
        with _failures_as_sentences("sam2"), _environment("SAM2_BUILD_CUDA", "0"):
            installer.pip_install(["--no-build-isolation", "--no-deps", SAM2])


def _get_pytorch_extension(installer: Installer) -> None:
    """Offer the extension that installs torch; ends in a UserError in any case."""
    advice = _(
        "Install the PyTorch extension in the Extensions Manager (View menu), restart Slicer and "
        "try again."
    )
    if not installer.can_install_extensions() or not installer.confirm(
        _(
            "PyTorch (torch) is not here, nor is the PyTorch extension, which installs the variant "
            "that suits this computer.\n\nInstall this extension now? Slicer has to be restarted "
            "afterwards. The packages themselves are asked for then."
        )
    ):
        raise UserError(advice)
    with _failures_as_sentences(_("the PyTorch extension")):
        installer.install_pytorch_extension()
    if installer.confirm(
        _("The PyTorch extension is installed. Restart Slicer now? What is not saved is lost.")
    ):
        installer.restart()
    raise UserError(_("Restart Slicer, so that the PyTorch extension is loaded, and try again."))


def _refuse_what_is_in_use(missing: Sequence[str], installed: Installed) -> None:
    """A loaded package cannot be replaced, on Windows not even on the disk."""
    for line in (TORCH, SAM2):
        name = _name(line)
        version = installed(name)
        if line in missing and version is not None and name in sys.modules:
            raise UserError(
                _(
                    "{name} {version} is in use by another module, and {requirement} is needed; "
                    "restart Slicer and start here, so that it can be replaced."
                ).format(name=name, version=version, requirement=line)
            )


@contextmanager
def _failures_as_sentences(what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        logging.exception("Installing %s failed", what)
        raise UserError(
            _(
                "Installing {what} failed; check the Internet connection, see the Python console "
                "for details, and try again."
            ).format(what=what)
        ) from error


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def _name(line: str) -> str:
    return parsed(line).name


def _described(line: str, installed: Installed) -> str:
    requirement = parsed(line)
    version = installed(requirement.name)
    text = f"\u2022 {requirement.name} {requirement.specifier}".rstrip()
    if version is None:
        return text
    return _("{package} (instead of {version}, which is installed)").format(
        package=text, version=version
    )
