"""Reading and writing weights. Files are untrusted: only tensors are ever read from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn


_LONGEST_HEADER = 100_000_000  # as safetensors itself has it


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name and the file's text metadata (empty for ``.pt``).

    Reads ``.safetensors``, or a ``.pt``/``.pth`` file with torch's ``weights_only`` loader.

    Raises:
        UserError: no such file, truncated or damaged, or not weights at all.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"The checkpoint '{path}' is damaged or truncated.") from error
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or hostile file
        raise UserError(
            f"The checkpoint '{path}' is damaged, truncated, or holds more than weights."
        ) from error
    weights = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise UserError(f"The checkpoint '{path}' holds no model weights.")
    return weights, {}


def read_metadata(path: Path) -> dict[str, str]:
    """The text metadata of a checkpoint (empty for ``.pt``), from its first bytes alone.

    Needs neither torch nor safetensors, so a file can be judged before they are installed.

    Raises:
        UserError: no such file, or damaged.
    """
    path = _existing(path)
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LONGEST_HEADER:
                raise ValueError(length)
            metadata = json.loads(file.read(length)).get("__metadata__", {})
        return {str(key): str(value) for key, value in metadata.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"The checkpoint '{path}' is damaged or truncated.") from error


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Put weights into a network.

    Raises:
        UserError: if names or shapes differ: the checkpoint is of another architecture.
    """
    expected = network.state_dict()
    missing = expected.keys() - weights.keys()
    unexpected = weights.keys() - expected.keys()
    shapes = [n for n in expected.keys() & weights.keys() if expected[n].shape != weights[n].shape]
    if missing or unexpected or shapes:
        raise UserError(
            f"The checkpoint '{path}' is of another architecture ({len(missing)} tensors missing, "
            f"{len(unexpected)} unexpected, {len(shapes)} of another shape); "
            "give the configuration it was trained with."
        )
    network.load_state_dict({name: value.float() for name, value in weights.items()})


def save_weights(
    network: nn.Module, path: Path, metadata: Mapping[str, str], half: bool = True
) -> None:
    """Write weights as safetensors, atomically, in half precision to halve the file."""
    from safetensors.torch import save_file

    tensors = {
        name: (value.detach().cpu().half() if half else value.detach().cpu()).contiguous()
        for name, value in network.state_dict().items()
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=dict(metadata))
    partial.replace(path)


def _existing(path: Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint '{path}'.")
    return path
