"""Fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grids import make_grid
from SAM2Medical3DLib.volume import Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real volumes, where there is one."""
    if not DATA.is_dir():
        pytest.skip(f"no real volumes at {DATA}")
    return DATA


@pytest.fixture(scope="session")
def tiny_labels() -> np.ndarray:
    """(14, 30, 36) labels: an ellipsoid (1) and a smaller ball (2) beside it."""
    k, j, i = np.mgrid[:14, :30, :36]
    labels = np.zeros(k.shape, np.uint8)
    labels[((k - 6) / 5) ** 2 + ((j - 14) / 9) ** 2 + ((i - 12) / 8) ** 2 < 1] = 1
    labels[((k - 7) / 3) ** 2 + ((j - 16) / 5) ** 2 + ((i - 28) / 5) ** 2 < 1] = 2
    return labels


@pytest.fixture(scope="session")
def tiny_volume(tiny_labels: np.ndarray) -> Volume:
    """A small CT-like phantom on an LPS grid with thick slices."""
    noise = np.random.default_rng(0).normal(0, 8, tiny_labels.shape)
    values = np.select([tiny_labels == 1, tiny_labels == 2], [110, 200], -20) + noise
    values[:, :2] = -1000
    return Volume(values.astype(np.int16), make_grid(tiny_labels.shape), "tiny")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a very small network with random weights: quick, and no good."""
    import torch

    from SAM2Medical3DLib.models.architecture import Architecture, build
    from SAM2Medical3DLib.models.checkpoint import save_weights

    architecture = Architecture(
        image_size=64, embed_dim=8, stages=(1, 1, 2, 1), global_blocks=(3,), model_dim=32,
        memory_dim=16, memory_layers=1, feedforward_dim=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(architecture)
    # Random weights would say that there is no object anywhere.
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4.0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_weights(network, path, {"architecture": architecture.to_json()})
    return path
