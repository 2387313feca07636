"""The models as the panel lists them: what each method can use, what is here, what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from ..errors import UserError
from ..models.download import cache_folder
from ..models.registry import ModelInfo, described_architecture, list_models
from ..propagation.registry import find_method, models_for


@dataclass(frozen=True)
class ModelRow:
    """One model in the panel's list.

    Attributes:
        name: what ``load_model``, ``download_model`` and ``remove_model`` take.
        title: of the model alone.
        label: title and state, to be shown.
        state: ``bundled``, ``installed``, ``not downloaded`` or ``own`` (a file of the user's).
        path: where the file is, or will be.
        size_bytes: on the disk; 0 where it is not there.
        download_bytes: what choosing it would download; 0 where it is there.
    """

    name: str
    title: str
    label: str
    state: str
    path: Path
    size_bytes: int
    download_bytes: int

    @property
    def is_removable(self) -> bool:
        """Whether ``remove_model`` would delete its file."""
        return self.state == "installed"


def model_rows(method: str) -> list[ModelRow]:
    """The models that a propagation method can use, its own first.

    Needs no package that Slicer does not bring.

    Args:
        method: a name in ``propagation.registry.METHODS``.

    Raises:
        UserError: for an unknown method.
    """
    return [_row(info) for info in models_for(method)]


def own_model_row(path: Path, method: str) -> ModelRow:
    """The row of a checkpoint of the user's own.

    Raises:
        UserError: no such file, damaged, not a checkpoint, or of no use for the method.
    """
    path = Path(path)
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        raise UserError(_("Choose a checkpoint file: .pt, .pth or .safetensors."))
    architecture = described_architecture(path)
    if architecture is not None and not find_method(method).suits(architecture):
        if architecture.memory:
            sentence = _("{name} has no boundary branch, which {method} needs; choose SAM 2.")
        else:
            sentence = _("{name} has no memory of other slices; choose RadSAM to use it.")
        raise UserError(sentence.format(name=path.name, method=find_method(method).title))
    size = path.stat().st_size
    label = _("{title} (own file, {size})").format(title=path.name, size=megabytes(size))
    return ModelRow(str(path), path.name, label, "own", path, size, 0)


def needs_configuration(path: Path) -> bool:
    """Whether a checkpoint does not say what network it is for, so that the user has to.

    Raises:
        UserError: no such file, or damaged.
    """
    return described_architecture(path) is None


def configurations() -> list[tuple[str, str]]:
    """What to offer where :func:`needs_configuration`: (value for ``load_model``, title)."""
    return [(info.config, info.title) for info in list_models() if info.config]


def suggested_configuration(path: Path) -> tuple[str, int]:
    """A guess by the file's name: (configuration, image size in pixels)."""
    name = Path(path).name.lower()
    if "medsam2" in name:
        return "sam2.1_hiera_t", 512
    official = [info for info in list_models() if info.config]
    for info in official:
        size = info.file.removesuffix(".pt").partition("hiera_")[2]  # such as "base_plus"
        if size in name or info.config in name:
            return info.config, info.image_size
    return official[0].config, official[0].image_size


def weights_folder() -> Path:
    """Where downloaded weights are kept."""
    return cache_folder()


def kept_rows() -> list[ModelRow]:
    """The downloaded models on this computer."""
    return [row for row in map(_row, list_models()) if row.is_removable]


def downloaded_bytes() -> int:
    """What the downloaded models take on the disk."""
    return sum(row.size_bytes for row in kept_rows())


def megabytes(count: int) -> str:
    """A number of bytes to be shown."""
    return _("{count} MB").format(count=f"{count / 1e6:.0f}")


def _row(info: ModelInfo) -> ModelRow:
    path, state = info.path, info.state
    size = path.stat().st_size if path.is_file() else 0
    download = info.size_bytes if state == "not downloaded" else 0
    label = "{title}"  # which says that it is bundled
    if state == "installed":
        label = _("{title} (installed, {size})")
    elif download:
        label = _("{title} (download {size})")
    label = label.format(title=info.title, size=megabytes(size or download))
    return ModelRow(info.name, info.title, label, state, path, size, download)
