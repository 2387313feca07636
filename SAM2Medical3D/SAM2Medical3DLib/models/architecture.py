"""SAM 2.1 networks of any size, built from the classes and configurations of the sam2 package."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

OFFICIAL_CONFIGS = {
    "sam2.1_hiera_t": "sam2.1/sam2.1_hiera_t.yaml",
    "sam2.1_hiera_s": "sam2.1/sam2.1_hiera_s.yaml",
    "sam2.1_hiera_b+": "sam2.1/sam2.1_hiera_b+.yaml",
    "sam2.1_hiera_l": "sam2.1/sam2.1_hiera_l.yaml",
}

# What build_sam2_video_predictor adds to every official model (its apply_postprocessing), apart
# from hole filling, which needs a compiled CUDA extension and is skipped by sam2 itself without it.
_OFFICIAL_INFERENCE = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


@dataclass(frozen=True)
class Architecture:
    """The widths and depths of a small SAM 2.1 network, and how it wants to be prompted.

    Plain numbers only, so that it can be read from an untrusted file's metadata.

    Attributes:
        image_size: side of the square input in pixels, a multiple of 32.
        config: a name in ``OFFICIAL_CONFIGS``, whose widths and depths are then taken instead of
            those below; empty for a network described here.
        memory: with SAM 2's memory, or a 2D model (:mod:`~.image_network`).
        embed_dim, stages, global_blocks: Hiera trunk (first width, blocks per stage, blocks with
            global attention).
        model_dim: width of neck, memory attention and mask decoder.
        memory_dim: channels of a memory feature.
        memory_layers, feedforward_dim: memory attention.
        dense_prompts: clicks and boxes also enter the decoder as a rendered mask prompt.
        carry_mask: the neighbour slice's logits enter the decoder as mask prompt beside the memory.
        connected: objects are followed only as long as slices connect.
        appearance: weight of what prompted slices say of an object's brightness, 0 for none.
        boundary_dim: width of the branch that detects boundaries and refines masks with them
            (:mod:`~.boundary_network`), 0 for none; needs memory.
    """

    image_size: int = 192
    config: str = ""
    memory: bool = True
    embed_dim: int = 40
    stages: tuple[int, int, int, int] = (1, 2, 5, 1)
    global_blocks: tuple[int, ...] = (4, 5, 6, 7)
    model_dim: int = 128
    memory_dim: int = 64
    memory_layers: int = 2
    feedforward_dim: int = 512
    dense_prompts: bool = True
    carry_mask: bool = True
    connected: bool = True
    appearance: float = 0.6
    boundary_dim: int = 0

    def __post_init__(self) -> None:
        widths = {n: v for n, v in asdict(self).items() if type(v) is int and n != "boundary_dim"}
        for name, value in widths.items():
            if value < 1:
                raise UserError(f"An architecture's {name} must be at least 1, not {value}.")
        if len(self.stages) != 4 or min(self.stages) < 1:
            raise UserError("An architecture's stages are four numbers of blocks of at least 1.")

    def with_image_size(self, image_size: int) -> Architecture:
        """The same network for another input size; the weights fit both."""
        return replace(self, image_size=image_size)

    def to_json(self) -> str:
        """As text for a file's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """From a file's metadata.

        Raises:
            UserError: if it is not what ``to_json`` writes.
        """
        try:
            values = json.loads(text)
            for name in ("stages", "global_blocks"):
                values[name] = tuple(int(v) for v in values[name])
            return cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"The checkpoint's metadata does not describe a network of this version: {error}."
            ) from error


def build(architecture: Architecture) -> SAM2Base:
    """A small network with random weights, in evaluation mode."""
    check_image_size(architecture.image_size)
    a = architecture
    if a.config:
        if a.config not in OFFICIAL_CONFIGS:
            raise UserError(
                f"Unknown configuration '{a.config}'; use one of {', '.join(OFFICIAL_CONFIGS)}."
            )
        return build_from_config(
            a.config, a.image_size, memory=a.memory, boundary_dim=a.boundary_dim
        )
    config = _packaged_config("sam2.1_hiera_t")
    config["image_size"] = a.image_size
    trunk = config["image_encoder"]["trunk"]
    trunk.update(
        embed_dim=a.embed_dim,
        stages=list(a.stages),
        global_att_blocks=list(a.global_blocks),
        window_spec=[8, 4, 8, 8],  # sam2's 14 and 7 pad the small maps of a small input
    )
    neck = config["image_encoder"]["neck"]
    neck["d_model"] = neck["position_encoding"]["num_pos_feats"] = a.model_dim
    neck["backbone_channel_list"] = [a.embed_dim * 2**i for i in (3, 2, 1, 0)]
    attention = config["memory_attention"]
    attention.update(d_model=a.model_dim, num_layers=a.memory_layers)
    layer = attention["layer"]
    layer.update(d_model=a.model_dim, dim_feedforward=a.feedforward_dim)
    for name in ("self_attention", "cross_attention"):
        layer[name]["embedding_dim"] = a.model_dim
    layer["cross_attention"]["kv_in_dim"] = a.memory_dim
    memory = config["memory_encoder"]
    memory.update(out_dim=a.memory_dim, in_dim=a.model_dim)
    memory["position_encoding"]["num_pos_feats"] = a.memory_dim
    memory["mask_downsampler"]["embed_dim"] = a.model_dim
    # 1e-6 as published suits long training of a large network; a small one never leaves it.
    memory["fuser"]["layer"].update(dim=a.model_dim, layer_scale_init_value=0.1)
    # One mask per prompt: a small network has no capacity for three, and on propagated slices the
    # memory leaves no ambiguity to resolve.
    config.update(
        multimask_output_in_sam=False,
        multimask_output_for_tracking=False,
        use_multimask_token_for_obj_ptr=False,
    )
    return _instantiate(config, a.image_size, a.memory, a.boundary_dim)


def build_from_config(
    config: str | Path,
    image_size: int | None = None,
    *,
    memory: bool = True,
    boundary_dim: int = 0,
) -> SAM2Base:
    """A network as an official or a user's configuration file describes it, with random weights.

    Args:
        config: one of ``OFFICIAL_CONFIGS`` or the path of a YAML file of sam2's kind.
        image_size: side of the square input in pixels; None keeps the configuration's (1024).
        memory: with SAM 2's memory, or the 2D model in it.
        boundary_dim: see :class:`Architecture`.

    Raises:
        UserError: unknown name, unreadable file, or a file that names classes outside sam2.
    """
    values = _packaged_config(str(config)) if str(config) in OFFICIAL_CONFIGS else _read(config)
    size = int(image_size or values.get("image_size", 1024))
    check_image_size(size)
    values["image_size"] = size
    values.update(_OFFICIAL_INFERENCE)
    return _instantiate(values, size, memory, boundary_dim)


def check_image_size(size: int) -> None:
    """Raise UserError unless SAM 2 can take a square input of this side."""
    if size < 64 or size > 2048 or size % 32:
        raise UserError(f"The image size {size} must be a multiple of 32 between 64 and 2048.")


def _packaged_config(name: str) -> dict[str, Any]:
    import sam2

    return _read(Path(sam2.__path__[0]) / "configs" / OFFICIAL_CONFIGS[name])


def _read(path: str | Path) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        names = ", ".join(OFFICIAL_CONFIGS)
        raise UserError(
            f"The configuration '{path}' cannot be read; give a sam2 YAML file or one of {names}."
        ) from error
    model = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(model, dict):
        raise UserError(f"The configuration '{path}' has no 'model' section; use a sam2 YAML file.")
    _check_targets(model, path)
    return model


def _check_targets(node: Any, path: str | Path) -> None:
    """Refuse a configuration that would call anything but sam2's own classes."""
    if isinstance(node, dict):
        target = node.get("_target_", "sam2.")
        if not str(target).startswith("sam2."):
            raise UserError(f"The configuration '{path}' names '{target}', which is not sam2's.")
        for value in node.values():
            _check_targets(value, path)
    elif isinstance(node, list):
        for value in node:
            _check_targets(value, path)


def _instantiate(
    config: dict[str, Any], image_size: int, memory: bool, boundary_dim: int
) -> SAM2Base:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    if boundary_dim < 0 or (boundary_dim and not memory):
        raise UserError(
            f"A boundary branch of width {boundary_dim} cannot be built; give a width above 0 and "
            "a network with memory, or no branch (0)."
        )
    layer = config["memory_attention"]["layer"]
    for name in ("self_attention", "cross_attention"):
        layer[name]["feat_sizes"] = [image_size // 16] * 2
    if memory:
        config["_target_"] = "sam2.modeling.sam2_base.SAM2Base"
        if boundary_dim:
            config["_target_"] = f"{__package__}.boundary_network.BoundaryNetwork"
            config["boundary_dim"] = boundary_dim
        return instantiate(OmegaConf.create(config), _recursive_=True).eval()
    from .image_network import ImageNetwork

    encoder = instantiate(OmegaConf.create(config["image_encoder"]), _recursive_=True)
    left_out = ("_target_", "image_encoder", "memory_attention", "memory_encoder")
    options = {name: value for name, value in config.items() if name not in left_out}
    return ImageNetwork(image_encoder=encoder, **options).eval()
