"""Installing packages with what Slicer and its PyTorch extension offer for it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import slicer
from slicer.i18n import tr as _

_TITLE = "SAM2Medical3D"
_EXTENSION = "PyTorch"


class SlicerInstaller:
    """The :class:`~.packages.Installer` of the Slicer application; for its main thread.

    In testing mode it agrees to nothing, so that tests leave the Python environment alone.
    """

    def confirm(self, text: str, details: str = "") -> bool:
        """Ask the user."""
        if slicer.app.testingEnabled():
            return False
        options = {"detailedText": details} if details else {}
        return slicer.util.confirmOkCancelDisplay(text, _TITLE, **options)

    def has_pytorch_extension(self) -> bool:
        """Whether ``install_torch`` can be called."""
        return importlib.util.find_spec("PyTorchUtils") is not None

    def can_install_extensions(self) -> bool:
        """Whether this Slicer has an extensions manager."""
        return hasattr(slicer.app, "extensionsManagerModel")

    def install_pytorch_extension(self) -> None:
        """Get the PyTorch extension from the server, which is there after a restart."""
        manager = slicer.app.extensionsManagerModel()
        asks = manager.interactive
        manager.interactive = False  # the user has agreed already
        try:
            with _busy(_("Installing the PyTorch extension...")):
                installed = manager.installExtensionFromServer(_EXTENSION, False)
        finally:
            manager.interactive = asks
        if not installed:
            raise RuntimeError("the extensions manager could not install it")

    def restart(self) -> None:
        """Restart Slicer."""
        slicer.util.restart()

    def install_torch(self, specifier: str) -> None:
        """Install torch by the PyTorch extension, in the variant that suits this computer."""
        import PyTorchUtils

        waiting = _(
            "Installing PyTorch, which takes minutes; the Python console shows how far it is..."
        )
        with _busy(waiting), _lively_pip():
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=specifier)
        if torch is None:
            raise RuntimeError("PyTorchUtils gave no torch")

    def ensure(self, requirements: Sequence[str]) -> None:
        """Install packages and what they need."""
        packaging = _slicer_packaging()
        if packaging is None:
            self.pip_install(requirements)
            return
        # The user has agreed already. It recommends a restart where a loaded package was replaced.
        packaging.pip_ensure(list(requirements), prompt_install=False, requester=_TITLE)

    def pip_install(self, arguments: Sequence[str]) -> None:
        """Run pip install, with Slicer's progress dialog where it has one."""
        packaging = _slicer_packaging()
        if packaging is not None:
            packaging.pip_install(list(arguments), requester=_TITLE)
            return
        with _busy(_("Installing Python packages...")), _lively_pip():
            slicer.util.pip_install(list(arguments))


def _slicer_packaging() -> object | None:
    """``slicer.packaging``, which came with Slicer 5.11."""
    if importlib.util.find_spec("slicer.packaging") is None:
        return None
    import slicer.packaging

    return slicer.packaging


@contextmanager
def _busy(text: str) -> Iterator[None]:
    """A modal dialog without buttons, so that nothing else can be done in the meantime."""
    if slicer.util.mainWindow() is None:
        yield
        return
    import qt

    dialog = slicer.util.createProgressDialog(
        maximum=0, labelText=text, windowTitle=_TITLE, windowModality=qt.Qt.ApplicationModal
    )
    dialog.setCancelButton(None)
    dialog.show()
    slicer.app.processEvents()
    try:
        yield
    finally:
        dialog.close()
        dialog.deleteLater()


@contextmanager
def _lively_pip() -> Iterator[None]:
    """pip reports four times a second how far a download is.

    Slicer's window lives on between two lines of a process's output, and by default pip prints
    none while it downloads gigabytes.
    """
    name = "PIP_PROGRESS_BAR"
    if name in os.environ or not _pip_has_raw_progress():
        yield
        return
    os.environ[name] = "raw"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _pip_has_raw_progress() -> bool:
    try:
        major, minor = importlib.metadata.version("pip").split(".")[:2]
        return (int(major), int(minor)) >= (24, 1)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
