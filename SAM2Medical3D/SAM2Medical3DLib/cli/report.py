"""The report of a run as JSON: confidence per slice, volumes, timings, and how to repeat it."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..files import replacing
from ..prompts import Prompts, SlicePrompt
from ..volume import SliceStack
from .settings import SegmentSettings

if TYPE_CHECKING:
    from ..models.registry import LoadedModel

_PACKAGES = ("sam2", "torch", "numpy", "scipy", "SimpleITK")


@dataclass(frozen=True)
class SliceRecord:
    """What is known of one object on one slice.

    Attributes:
        slice: stack coordinate.
        voxel_index: index along the volume's slicing axis (I, J or K).
        pixels: pixels of the object's mask.
        confidence, predicted_iou, object_score: see ``ObjectResult``.
        prompted: the user gave a prompt here.
    """

    slice: int
    voxel_index: int
    pixels: int
    confidence: float
    predicted_iou: float
    object_score: float
    prompted: bool


@dataclass(frozen=True)
class Timings:
    """Seconds spent, and slices segmented."""

    read_s: float
    model_load_s: float
    propagation_s: float
    write_s: float
    slices: int

    @property
    def seconds_per_slice(self) -> float:
        """Propagation alone."""
        return self.propagation_s / max(self.slices, 1)

    @property
    def total_s(self) -> float:
        """Everything together."""
        return self.read_s + self.model_load_s + self.propagation_s + self.write_s


@dataclass(frozen=True)
class ObjectRecord:
    """One object of the result.

    Attributes:
        label: voxel value.
        voxels, volume_ml: its size in the written segmentation.
        slices: by ascending slice.
    """

    label: int
    name: str
    voxels: int
    volume_ml: float
    slices: tuple[SliceRecord, ...]

    @property
    def mean_confidence(self) -> float:
        """Over the slices that hold the object; NaN if none does."""
        found = [record.confidence for record in self.slices if record.pixels]
        return sum(found) / len(found) if found else math.nan


def make_report(
    settings: SegmentSettings,
    stack: SliceStack,
    prompts: Prompts,
    objects: Iterable[ObjectRecord],
    timings: Timings,
    model: LoadedModel,
) -> dict[str, Any]:
    """Everything about a run as plain JSON values."""
    volume = stack.volume
    packages = {name: _version(name) for name in _PACKAGES}
    report = {
        "program": "sam2medical3d",
        "versions": {"sam2medical3d": __version__, "python": platform.python_version(), **packages},
        "platform": platform.platform(),
        "settings": asdict(settings),
        "volume": {
            "name": volume.name,
            "size_ijk": volume.grid.size,
            "spacing_mm": volume.grid.spacing,
            "ijk_to_ras": volume.grid.ijk_to_ras,
            "voxel_type": str(volume.array.dtype),
        },
        "slicing": {
            "plane": stack.plane,
            "axis": "IJK"[stack.geometry.axis],
            "slices": len(stack),
            "intensity": asdict(stack.mapping),
        },
        "model": {
            "name": model.info.name,
            "title": model.info.title,
            "licence": model.info.licence,
            "file": model.info.file,
            "sha256": model.sha256,
            "image_size": model.network.image_size,
            "metadata": model.metadata,
        },
        "device": str(model.device),
        "prompts": [
            {"object": object_id, "slice": index, **_describe(prompt)}
            for object_id, slices in prompts.by_object.items()
            for index, prompt in sorted(slices.items())
        ],
        "objects": [{**asdict(o), "mean_confidence": o.mean_confidence} for o in objects],
        "timings": {
            **asdict(timings),
            "seconds_per_slice": timings.seconds_per_slice,
            "total_s": timings.total_s,
        },
    }
    return _plain(report)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report; the file appears whole.

    Raises:
        UserError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", "utf-8")


def _describe(prompt: SlicePrompt) -> dict[str, Any]:
    """A prompt in stack coordinates; of a mask only its size."""
    return {
        "points": [asdict(point) for point in prompt.points],
        "box": None if prompt.box is None else asdict(prompt.box),
        "mask_pixels": None if prompt.mask is None else int(np.count_nonzero(prompt.mask)),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    """Paths, enums, arrays and infinities as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
