"""The models by name, their files, and loading them ready to run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .architecture import OFFICIAL_CONFIGS, Architecture, build, build_from_config
from .checkpoint import load_weights, read_metadata, read_weights
from .device import choose_device
from .download import Progress, cache_folder, fetch, remove

if TYPE_CHECKING:
    import torch
    from sam2.modeling.sam2_base import SAM2Base

_BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
BUNDLED = "bundled"
BUNDLED_RADSAM = "bundled-radsam"
BUNDLED_3DMED = "bundled-3dmed"


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be named.

    Attributes:
        name, title: what to type and what to show.
        file: name of the checkpoint.
        sha256: of the file; empty for a user's own.
        size_bytes: of the file.
        config: sam2's configuration, empty where the file describes itself.
        image_size: default side of the input in pixels.
        url: where to get it; empty for the bundled models.
        licence: of the weights.
    """

    name: str
    title: str
    file: str
    sha256: str = ""
    size_bytes: int = 0
    config: str = ""
    image_size: int = 1024
    url: str = ""
    licence: str = "Apache-2.0"

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with the project."""
        return not self.url

    @property
    def path(self) -> Path:
        """Where the file is, or would be once downloaded."""
        return bundled_file(self.file) if self.is_bundled else cache_folder() / self.file

    @property
    def architecture(self) -> Architecture:
        """The network that the file is for, as far as it is known without torch."""
        own = None if self.config else described_architecture(self.path)
        return own or Architecture(image_size=self.image_size, config=self.config)

    @property
    def state(self) -> str:
        """``bundled``, ``installed`` or ``not downloaded``."""
        if self.is_bundled:
            return "bundled"
        return "installed" if self.path.is_file() else "not downloaded"


def _official(size: str, title: str, config: str, size_bytes: int, sha256: str) -> ModelInfo:
    file = f"sam2.1_hiera_{size}.pt"
    return ModelInfo(
        f"sam2.1-{size.replace('_', '-')}",
        f"SAM 2.1 {title}",
        file,
        sha256,
        size_bytes,
        config,
        1024,
        _BASE_URL + file,
    )


MODELS: tuple[ModelInfo, ...] = (
    ModelInfo(BUNDLED, "SAM2Medical3D small (bundled)", "sam2medical3d-small.safetensors",
              image_size=Architecture().image_size),
    ModelInfo(BUNDLED_RADSAM, "SAM2Medical3D RadSAM (bundled)", "sam2medical3d-radsam.safetensors",
              image_size=Architecture().image_size),
    ModelInfo(BUNDLED_3DMED, "SAM2Medical3D SAM2-3dMed (bundled)",
              "sam2medical3d-3dmed.safetensors", image_size=Architecture().image_size),
    _official("tiny", "tiny", "sam2.1_hiera_t", 156_008_466,
              "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
    _official("small", "small", "sam2.1_hiera_s", 184_416_285,
              "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    _official("base_plus", "base+", "sam2.1_hiera_b+", 323_606_802,
              "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5"),
    _official("large", "large", "sam2.1_hiera_l", 898_083_611,
              "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready to run, and how it wants to be used.

    Attributes:
        info: what was asked for.
        network: in evaluation mode on ``device``.
        sha256: of the file it came from.
        dense_prompts, carry_mask, connected, appearance: see :class:`~.architecture.Architecture`.
        crops: shows the model a crop around the object rather than whole slices.
    """

    info: ModelInfo
    network: SAM2Base
    device: torch.device
    sha256: str
    dense_prompts: bool = False
    carry_mask: bool = False
    connected: bool = False
    appearance: float = 0.0
    crops: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


def described_architecture(path: Path) -> Architecture | None:
    """The network that a checkpoint says it is for; None where it does not say.

    Raises:
        UserError: no such file, damaged, or a description of another version.
    """
    metadata = read_metadata(path)
    return Architecture.from_json(metadata["architecture"]) if "architecture" in metadata else None


def list_models() -> list[ModelInfo]:
    """All models that can be named."""
    return list(MODELS)


def model_info(name: str) -> ModelInfo:
    """A model by name.

    Raises:
        UserError: if there is none.
    """
    for info in MODELS:
        if info.name == name:
            return info
    names = ", ".join(info.name for info in MODELS)
    raise UserError(f"Unknown model '{name}'; use {names}, or the path of a checkpoint.")


def download_model(name: str, progress: Progress | None = None) -> Path:
    """Download and verify a model's file unless it is there.

    Args:
        progress: called with bytes done and bytes in all; False cancels.

    Raises:
        DownloadCancelled: the progress callback gave False.
        UserError: unknown name, no connection, no space, or a file that fails verification.
    """
    info = model_info(name)
    if info.is_bundled:
        return info.path
    return fetch(info.url, info.file, info.sha256, info.size_bytes, progress)


def remove_model(name: str) -> int:
    """Delete a downloaded model's file; gives the bytes that this freed, 0 if it was not there.

    Raises:
        UserError: unknown name, a bundled model, or a file that cannot be deleted.
    """
    info = model_info(name)
    if info.is_bundled:
        raise UserError(f"{info.title} is part of the installation and stays.")
    return remove(info.file)


def load_model(
    name: str,
    *,
    image_size: int | None = None,
    config: str | Path | None = None,
    device: str = "auto",
) -> LoadedModel:
    """Load a model by name, or a checkpoint by path.

    Args:
        name: a registered name, or the path of a ``.pt`` or ``.safetensors`` file.
        image_size: side of the square input in pixels; None keeps the model's own.
        config: configuration of a checkpoint by path (a name in ``OFFICIAL_CONFIGS`` or a YAML
            file); not needed where the file describes itself.
        device: see :func:`~.device.choose_device`.

    Raises:
        UserError: unknown or not downloaded, damaged, tampered, or of another architecture.
    """
    chosen = choose_device(device)
    if any(info.name == name for info in MODELS):
        info = model_info(name)
        if info.state == "not downloaded":
            raise UserError(
                f"{info.title} is not here yet; get it with 'sam2medical3d download {name}' "
                f"({info.size_bytes / 1e6:.0f} MB)."
            )
        config = info.config
    else:
        path = Path(name)
        if not path.is_file():
            model_info(name)
        info = ModelInfo(path.stem, path.name, path.name, size_bytes=path.stat().st_size)
        return _load(info, path, image_size, config, chosen)
    return _load(info, info.path, image_size, config, chosen)


def _load(
    info: ModelInfo,
    path: Path,
    image_size: int | None,
    config: str | Path | None,
    device: torch.device,
) -> LoadedModel:
    if not path.is_file():
        raise UserError(f"The file of {info.title} is missing: '{path}'; install again.")
    digest = file_sha256(path)
    if info.sha256 and digest != info.sha256:
        raise UserError(
            f"'{path}' is not the published {info.title} (its SHA-256 differs); "
            "remove it and download it again."
        )
    weights, metadata = read_weights(path)
    if "architecture" in metadata:
        architecture = Architecture.from_json(metadata["architecture"])
        if image_size:
            architecture = architecture.with_image_size(image_size)
        network = build(architecture)
        habits = {
            "dense_prompts": architecture.dense_prompts,
            "carry_mask": architecture.carry_mask,
            "connected": architecture.connected,
            "appearance": architecture.appearance,
            "crops": True,
        }
    else:
        if not config:
            raise UserError(
                f"'{path}' does not say what network it is for; give --config with one of "
                f"{', '.join(OFFICIAL_CONFIGS)} or a YAML file."
            )
        network = build_from_config(config, image_size)
        habits = {}
    load_weights(network, weights, path)
    return LoadedModel(info, network.to(device), device, digest, metadata=metadata, **habits)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_file(name: str) -> Path:
    """A bundled model's file: beside the package in Slicer, inside it when installed by pip, at the
    top of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    folders = [
        package / "Resources",
        package.parent / "Resources",
        package.parents[1] / "Resources",
    ]
    candidates = [folder / "Models" / name for folder in folders]
    return next((path for path in candidates if path.is_file()), candidates[-1])
