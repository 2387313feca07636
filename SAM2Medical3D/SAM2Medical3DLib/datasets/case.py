"""A case of a dataset: first its files, then its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..volume import Volume
from .reading import check_headers, read_case, values_in


class CaseError(UserError):
    """A case that cannot be used; the sentence names the case and the path."""


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory.

    Attributes:
        name, patient: as in :class:`CaseFiles`.
        volume: the image.
        labels: (K, J, I) unsigned integers on the volume's own grid, 0 to 65535; 0 is background.
        labelled: False where there was no label file, and ``labels`` is 0 everywhere.
    """

    name: str
    patient: str
    volume: Volume
    labels: np.ndarray
    labelled: bool = True


@dataclass(frozen=True)
class CaseFiles:
    """A case on disk; nothing is read before :meth:`load`.

    Attributes:
        name: unique within the dataset.
        patient: splits never separate cases of one patient.
        images: one path for each channel. A folder is a DICOM series; a path that is there several
            times is one 4D file with the channels in its last dimension; ``.npz`` holds all.
        labels: the label file; the same as the image for ``.npz``; None if unlabelled.
        values: label values that the dataset's description names; None allows any.
        modality: of all channels, "CT" or "MR", where the layout tells; else empty.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path | None
    values: frozenset[int] | None = None
    modality: str = ""

    def load(self, channel: int = 0, labels_optional: bool = False) -> LoadedCase:
        """Read one channel and the labels.

        Labels stored in another axis order or direction are put on the image's grid exactly.

        Args:
            channel: index into ``images``.
            labels_optional: accept a case without a label file.

        Raises:
            CaseError: no such channel, unlabelled, a file that is missing, unreadable or damaged,
                image and labels on different grids, voxels that are no labels (fractions, negative,
                over 65535), values that the dataset's description does not name, or no label at
                all.
        """
        if not 0 <= channel < len(self.images):
            raise CaseError(
                f"Case {self.name} ({self.images[0]}) has no channel {channel}: it has "
                f"{len(self.images)}, counted from 0."
            )
        if self.labels is None and not labels_optional:
            raise CaseError(
                f"Case {self.name} ({self.images[0]}) is unlabelled; add its labels or take it out."
            )
        try:
            volume, labels = read_case(self.images, channel, self.labels)
            if labels is None:
                empty = np.zeros(volume.array.shape, np.uint8)
                return LoadedCase(self.name, self.patient, volume, empty, labelled=False)
            self._check_values(labels)
        except (UserError, OSError) as error:
            raise self._named(error, channel) from error
        return LoadedCase(self.name, self.patient, volume, labels)

    def check(self, channel: int = 0) -> None:
        """What the headers tell, in milliseconds: whether image and labels share a grid.

        Raises:
            CaseError: if they do not.
        """
        try:
            check_headers(self.images, channel, self.labels)
        except (UserError, OSError) as error:
            raise self._named(error, channel) from error

    def _named(self, error: Exception, channel: int) -> CaseError:
        path = self.images[channel]
        named = any(str(known) in str(error) for known in (path, self.labels))
        place = "" if named else f" ({path})"
        return CaseError(f"Case {self.name}{place}: {error}")

    def _check_values(self, labels: np.ndarray) -> None:
        values = values_in(labels)
        if not values:
            raise UserError(f"{self.labels} holds no label at all, only background.")
        if self.values is not None and (unnamed := sorted(values - self.values)):
            raise UserError(
                f"{self.labels} holds the label {unnamed[0]}, which the dataset's description "
                "does not name; add it there or repair the labels."
            )
