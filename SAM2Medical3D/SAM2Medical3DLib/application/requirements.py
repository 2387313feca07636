"""Which Python packages are missing, by their descriptions alone: nothing is imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TORCH = "torch>=2.5"
SAM2 = "sam2==1.1.0"
# sam2 is built here without build isolation, by what Slicer has.
_BUILDS_ALONE = "setuptools>=70.1"
_BUILDS_WITH_WHEEL = ("setuptools>=61", "wheel")
_IMPORTED_AS_NAMED = {"torch", "sam2"}

Installed = Callable[[str], "str | None"]


def installed_version(name: str) -> str | None:
    """The version of an installed package, None without one; nothing is imported."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    # An installation that broke off may have left the description without the package.
    if name in _IMPORTED_AS_NAMED and importlib.util.find_spec(name) is None:
        return None
    return version


def missing_packages(requirements: Path, installed: Installed = installed_version) -> list[str]:
    """Requirements that are not met, such as ``torch>=2.5``, in the order to install them in.

    Takes milliseconds and imports none of them.

    Args:
        requirements: the requirements file.
        installed: gives the version of a package, or None.
    """
    lines = [TORCH, *_lines(requirements), SAM2]
    missing = [line for line in lines if not _is_met(line, installed)]
    if SAM2 in missing and not (
        _is_met(_BUILDS_ALONE, installed)
        or all(_is_met(line, installed) for line in _BUILDS_WITH_WHEEL)
    ):
        missing.insert(missing.index(SAM2), _BUILDS_ALONE)
    return missing


def parsed(line: str) -> Requirement:
    """A line such as ``torch>=2.5`` by its parts."""
    from packaging.requirements import Requirement

    return Requirement(line)


def _lines(requirements: Path) -> list[str]:
    text = requirements.read_text(encoding="utf-8")
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _is_met(line: str, installed: Installed) -> bool:
    from packaging.version import InvalidVersion

    requirement = parsed(line)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    version = installed(requirement.name)
    try:
        return version is not None and requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
