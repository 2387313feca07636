"""What is to be evaluated, as small values that can be sent to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..datasets import CaseFiles, LoadedCase


class LoadableCase(Protocol):
    """Where a case comes from; ``CaseFiles`` is one."""

    name: str
    patient: str

    def load(self, channel: int = 0) -> LoadedCase:
        """Read it."""
        ...


@dataclass(frozen=True)
class CaseTask:
    """A case and the objects that are wanted of it.

    Attributes:
        dataset: its name.
        source: where the voxels come from.
        objects: (name, label values that it is made of); no values mean every label but 0.
        channel: which image of a case with several.
        shareable: its slices may be shown to anybody: nobody's scan.
    """

    dataset: str
    source: LoadableCase
    objects: tuple[tuple[str, tuple[int, ...]], ...]
    channel: int = 0
    shareable: bool = False

    @property
    def case(self) -> str:
        """The case's name."""
        return self.source.name

    def load(self) -> LoadedCase:
        """Read the case.

        Raises:
            UserError: if it cannot be used.
        """
        return self.source.load(channel=self.channel)

    def fingerprint(self) -> list[object]:
        """What tells that the data have changed: sizes and times of files."""
        source = self.source
        if not isinstance(source, CaseFiles):
            return [repr(source), self.channel]
        paths = [*source.images, *([source.labels] if source.labels else [])]
        return [self.channel, *(_state(path) for path in paths)]


def mask_of(labels: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Where the labels are one of the values; any but 0 if there are none."""
    if not values:
        return labels != 0
    if len(values) == 1:
        return labels == values[0]
    return np.isin(labels, values)


def _state(path: Path) -> list[object]:
    """Name, size and time of a file, or of the files in a folder."""
    if path.is_dir():
        return [_state(child) for child in sorted(path.iterdir()) if child.is_file()]
    try:
        found = path.stat()
    except OSError:
        return [str(path), None]
    return [path.name, found.st_size, found.st_mtime_ns]
