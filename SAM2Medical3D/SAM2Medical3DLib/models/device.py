"""Where a model runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """The device to run on.

    Args:
        name: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UserError: for an unknown name or a device this machine or this torch does not have.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"Unknown device '{name}'; use auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError("No CUDA GPU is available to torch here; use --device cpu or auto.")
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(f"There is no '{name}': {torch.cuda.device_count()} GPU(s) are here.")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("No Apple GPU (MPS) is available here; use --device cpu or auto.")
    elif device.type != "cpu":
        raise UserError(f"Device '{name}' is not supported; use auto, cpu, cuda, cuda:N or mps.")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bfloat16 autocast on CUDA, as SAM 2's authors run it; full precision elsewhere."""
    import torch

    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
