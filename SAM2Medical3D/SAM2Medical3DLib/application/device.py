"""What the panel says of the device that models run on."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from ..models.device import choose_device
from ..models.registry import described_architecture, list_models, model_info
from ..propagation.registry import find_method


@dataclass(frozen=True)
class DeviceReport:
    """Where models run.

    Attributes:
        name: what ``load_model`` takes as ``device``; empty while torch is not installed.
        text: to be shown.
        has_gpu: whether large models are worth choosing.
    """

    name: str
    text: str
    has_gpu: bool


def device_report() -> DeviceReport:
    """What there is to run on. Imports torch, if it is installed, which takes a few seconds."""
    if importlib.util.find_spec("torch") is None:
        return DeviceReport("", _("Known once PyTorch is installed"), False)
    import torch

    device = choose_device()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return DeviceReport(str(device), name, True)
    if device.type == "mps":
        return DeviceReport("mps", _("the GPU of the Mac"), True)
    return DeviceReport("cpu", _("the processor; no GPU was found."), False)


def model_advice(report: DeviceReport, method: str, model: str) -> str:
    """A sentence for a choice that will be slow, empty otherwise.

    Args:
        method: a name in ``propagation.registry.METHODS``.
        model: name of the chosen model, or the path of a checkpoint.
    """
    if report.has_gpu or not report.name or not _has_official_size(model):
        return ""
    bundled = model_info(find_method(method).default_model)
    return _(
        "Without a GPU this model may take seconds for every slice; {title} takes a fraction."
    ).format(title=bundled.title)


def _has_official_size(model: str) -> bool:
    """Whether a model is one of SAM 2.1's own networks, all of which are large."""
    info = next((info for info in list_models() if info.name == model), None)
    architecture = info.architecture if info else described_architecture(Path(model))
    return architecture is None or bool(architecture.config)
