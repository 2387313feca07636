"""SAM2-3dMed: SRPP, boundary detection, what their training reaches, and the weights it leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.boundary_network import BoundaryNetwork, boundary_of
from SAM2Medical3DLib.models.registry import load_model
from SAM2Medical3DLib.training import trainer as trainer_module
from SAM2Medical3DLib.training.boundary_loss import boundary_loss
from SAM2Medical3DLib.training.clip_forward import ClipForward
from SAM2Medical3DLib.training.clips import ClipSampler
from SAM2Medical3DLib.training.heads import Heads
from SAM2Medical3DLib.training.losses import prediction_losses
from SAM2Medical3DLib.training.prediction import Plan
from SAM2Medical3DLib.training.recipe import Initial, Optimiser, Recipe, Stage
from SAM2Medical3DLib.training.sources import SyntheticSources
from SAM2Medical3DLib.training.srpp import (
    RelativePositionHead,
    relative_position_loss,
    slice_offsets,
)
from SAM2Medical3DLib.training.three_d_med_forward import ThreeDMedForward
from SAM2Medical3DLib.training.trainer import Trainer

TINY = Architecture(
    image_size=64, embed_dim=8, stages=(1, 1, 2, 1), global_blocks=(3,), model_dim=32,
    memory_dim=16, memory_layers=1, feedforward_dim=32, boundary_dim=8,
)  # fmt: skip
RECIPE = Recipe(
    seed=5,
    output="tiny",
    architecture=TINY,
    optimiser=Optimiser(learning_rate=2e-3, warmup_steps=2, ema_decay=0.5),
    stages=(Stage("clips", 4, 64, 3, 2, {"mask": 0.5, "click": 0.5}, 0.5),),
    method="sam2-3dmed",
)
SMALL = SyntheticSources((40, 64, 64))


# --- slice relative position prediction


def test_the_offsets_and_their_loss_by_hand() -> None:
    expected = torch.tensor([[[0.0, 1, 2], [-1, 0, 1], [-2, -1, 0]]])
    assert torch.equal(slice_offsets(3), expected)
    # Six ordered pairs: four of distance 1, two of distance 2.
    assert relative_position_loss(torch.zeros(2, 3, 3), expected) == pytest.approx(12 / 6)
    diagonal = 100 * torch.eye(3)  # a slice's offset from itself is not asked for
    assert relative_position_loss(expected + 0.5 + diagonal, expected) == pytest.approx(0.25)
    one_wrong = expected.clone()
    one_wrong[0, 2, 0] = 1  # it is -2
    assert relative_position_loss(one_wrong, expected) == pytest.approx(9 / 6)


def test_offsets_in_millimetres() -> None:
    offsets = slice_offsets(3, torch.tensor([6.0, 1.5]), reference_mm=3.0)
    assert torch.equal(offsets[0], 2 * slice_offsets(3)[0])
    assert torch.equal(offsets[1], 0.5 * slice_offsets(3)[0])


def test_the_head_is_not_told_the_order_of_the_slices() -> None:
    torch.manual_seed(0)
    head = RelativePositionHead(8).eval()
    features = torch.randn(2, 5, 8, 4, 4)
    order = torch.tensor([0, 3, 1, 4, 2])
    found, shuffled = head(features), head(features[:, order])
    assert torch.allclose(shuffled, found[:, order][:, :, order], atol=1e-5)
    # But it knows which one is prompted.
    turned = head(features.flip(1)).flip(1, 2)
    assert not torch.allclose(turned, found, atol=1e-2)


def test_the_head_learns_offsets_in_both_directions_of_anatomy() -> None:
    torch.manual_seed(0)
    head = RelativePositionHead(6, width=16, layers=1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    target = slice_offsets(4)
    history = []
    for _ in range(120):
        place = torch.rand(16, 1, generator=generator) * 4 - 2
        way = (torch.rand(16, 1, generator=generator) < 0.5) * 2.0 - 1
        place = place + 0.5 * way * torch.arange(4.0)
        anatomy = torch.stack([f(n * place) for n in (0.5, 1, 2) for f in (torch.sin, torch.cos)])
        features = anatomy.permute(1, 2, 0)[..., None, None].expand(-1, -1, -1, 2, 2)
        loss = relative_position_loss(head(features), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    # Without knowing the direction nothing would be better than zero everywhere.
    constant = float(relative_position_loss(torch.zeros(1, 4, 4), target))
    assert np.mean(history[-10:]) < 0.25 * constant


# --- boundary detection


@pytest.mark.parametrize("shape", ["disc", "ring", "cut off", "empty", "full"])
def test_the_boundary_is_the_morphological_gradient(shape: str) -> None:
    y, x = np.mgrid[:64, :64]
    radius = np.hypot(y - 30, x - 33)
    mask = {
        "disc": radius < 17,
        "ring": (radius < 20) & (radius > 9),
        "cut off": np.hypot(y, x - 40) < 25,
        "empty": np.zeros((64, 64), bool),
        "full": np.ones((64, 64), bool),
    }[shape]
    padded = np.pad(mask, 1, mode="edge")  # the edge of the image is no boundary
    gradient = ndimage.morphological_gradient(padded.astype(int), size=(3, 3))[1:-1, 1:-1]
    expected = gradient.reshape(16, 4, 16, 4).max((1, 3))
    found = boundary_of(torch.from_numpy(mask)[None, None].float())[0, 0]
    assert found.shape == (16, 16)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert bool(found.any()) == (shape not in ("empty", "full"))


def test_class_weights_by_hand() -> None:
    boundary = torch.zeros(1, 1, 2, 2)
    boundary[..., 0, 0] = 1
    # N = 4, one of it boundary: it weighs 3/4, each of the others 1/4.
    found = boundary_loss(torch.zeros(1, 1, 2, 2), boundary)
    assert found == pytest.approx(math.log(2) * (3 / 4 + 3 * 1 / 4) / 4)
    logits = torch.tensor([[[[2.0, -1.0], [0.5, 3.0]]]])
    by_hand = (
        3 / 4 * math.log(1 + math.exp(-2))
        + 1 / 4 * sum(math.log(1 + math.exp(v)) for v in (-1.0, 0.5, 3.0))
    ) / 4
    assert boundary_loss(logits, boundary) == pytest.approx(by_hand, rel=1e-5)
    # Slice by slice: one without boundary adds nothing but its place in the mean.
    both = boundary_loss(logits.repeat(2, 1, 1, 1), torch.cat([boundary, 0 * boundary]))
    assert both == pytest.approx(by_hand / 2, rel=1e-5)


def test_an_untrained_branch_changes_no_mask() -> None:
    torch.manual_seed(1)
    plain, network = build(replace(TINY, boundary_dim=0)), build(TINY)
    assert isinstance(network, BoundaryNetwork)
    left = network.load_state_dict(plain.state_dict(), strict=False)
    assert {name.split(".")[0] for name in left.missing_keys} == {"boundary"}
    expected, _ = _heads_of(plain)
    found, boundary = _heads_of(network)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)
    assert boundary.shape == (2, 1, 16, 16)


def test_a_trained_branch_refines_masks_unless_switched_off() -> None:
    torch.manual_seed(1)
    network = _with_effect(build(TINY))
    refined, boundary = _heads_of(network)
    network.refines = False
    coarse, same = _heads_of(network)
    assert not torch.allclose(refined[3], coarse[3])
    assert torch.equal(boundary, same)
    size = (64, 64)
    assert torch.equal(refined[4], F.interpolate(refined[3], size, mode="bilinear"))
    network.refines = True
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, -9)
    absent, _ = _heads_of(network)
    assert (absent[3] == -1024).all()  # nothing is refined where there is no object


def test_a_drawn_mask_stays_and_shows_its_own_boundary() -> None:
    network = _with_effect(build(TINY))
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:44, 12:40] = 1
    heads, boundary = _heads_of(network, mask=mask)
    assert torch.equal(heads[4] > 0, mask > 0)
    assert torch.equal(boundary > 0, boundary_of(mask) > 0)


def test_large_architectures_have_the_branch_too_and_old_files_are_read() -> None:
    network = build(Architecture(config="sam2.1_hiera_t", image_size=128, boundary_dim=16))
    assert isinstance(network, BoundaryNetwork)
    with torch.inference_mode():
        _, boundary = _heads_of(network, size=128)
    assert boundary.shape == (2, 1, 32, 32)
    old = asdict(Architecture())
    del old["boundary_dim"]
    assert Architecture.from_json(json.dumps(old)).boundary_dim == 0
    with pytest.raises(UserError, match="needs|network with memory"):
        build(replace(TINY, memory=False))


# --- training


def test_gradients_reach_what_must_learn_and_nothing_frozen() -> None:
    torch.manual_seed(0)
    frames, masks = _discs()
    module = ThreeDMedForward(_with_effect(build(TINY).train()), TINY, Heads())
    network = module.network
    network.image_encoder.requires_grad_(False)
    _objects_are_there(network)
    assert not module._encode(frames)[-1].requires_grad  # no graph is kept for what is frozen
    _backward(module, frames, masks, lambda losses: losses["total"])
    learns = ("memory_attention", "memory_encoder", "sam_mask_decoder", "boundary")
    for part in [*(getattr(network, name) for name in learns), module.srpp]:
        assert _moves(part)
    assert all(p.grad is None for p in network.image_encoder.parameters())


def test_srpp_can_change_masks_only_through_a_trained_encoder() -> None:
    torch.manual_seed(0)
    frames, masks = _discs()
    for trained, reaches in (((), False), (("neck",), True)):
        module = ThreeDMedForward(build(TINY).train(), TINY, Heads())
        encoder = module.network.image_encoder.requires_grad_(False)
        for name in trained:
            getattr(encoder, name).requires_grad_(True)
        _backward(module, frames, masks, lambda losses: losses["srpp"])
        assert _moves(module.srpp)
        assert _moves(encoder.neck) == reaches
        assert not _moves(encoder.trunk)
        others = [m for n, m in module.network.named_children() if n != "image_encoder"]
        assert not any(_moves(part) for part in others)


def test_all_three_losses_fall() -> None:
    torch.manual_seed(0)
    frames, masks = _discs()
    module = ThreeDMedForward(build(TINY).train(), TINY, Heads())
    _objects_are_there(module.network)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    history = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        predictions, extra = module(frames, masks, Plan("mask"), generator)
        losses = prediction_losses(predictions, {"bce": 1.0}) | extra
        optimiser.zero_grad()
        (losses["total"] + sum(extra.values())).backward()
        optimiser.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    first, last = (
        {k: np.mean([h[k] for h in part]) for k in ("bce", "srpp", "bd")}
        for part in (history[:5], history[-5:])
    )
    assert all(last[name] < 0.6 * first[name] for name in first), (first, last)
    detected = predictions[-1].boundary.sigmoid()[boundary_of(predictions[-1].target) > 0.5].mean()
    assert detected > 2 * predictions[-1].boundary.sigmoid().mean()


def test_the_published_weights_and_the_options() -> None:
    assert (RECIPE.losses, RECIPE.heads) == ({"bce": 1.0}, Heads(0.01, 0.1, "slices"))
    torch.manual_seed(0)
    frames, masks = _discs()
    found = []
    for heads in (Heads(), Heads(srpp=0.02, bd=0.3), Heads(unit="mm", reference_mm=3.0)):
        torch.manual_seed(3)
        module = ThreeDMedForward(build(TINY).train(), TINY, heads)
        torch.manual_seed(4)
        spacing = torch.full((len(frames),), 6.0)
        generator = torch.Generator().manual_seed(0)
        losses = module(frames, masks, Plan("mask"), generator, spacing)[1]
        found.append({name: float(value.detach()) for name, value in losses.items()})
    published, doubled, millimetres = found
    assert doubled["srpp"] == pytest.approx(2 * published["srpp"], rel=1e-4)
    assert doubled["bd"] == pytest.approx(3 * published["bd"], rel=1e-4)
    # Twice the reference: offsets twice as large, and an untrained head that says about zero.
    assert millimetres["srpp"] > 2 * published["srpp"]


def test_a_clip_knows_the_distance_of_its_slices() -> None:
    sampler = ClipSampler(3, 2, 64, sources=SMALL, streams=2)
    for clip in (sampler(n) for n in range(6)):
        assert clip.spacing == pytest.approx(1.5 * clip.step)


def test_mistakes_in_a_recipe_are_named(tmp_path: Path) -> None:
    plain = replace(TINY, boundary_dim=0)
    with pytest.raises(UserError, match="boundary_dim"):
        replace(RECIPE, architecture=plain)
    assert replace(RECIPE, architecture=plain, heads=Heads(bd=0)).architecture.boundary_dim == 0
    single = (replace(RECIPE.stages[0], length=1, prompts={"click": 1.0}),)
    with pytest.raises(UserError, match="relative position"):
        replace(RECIPE, stages=single)
    with pytest.raises(UserError, match="sam2 has no heads"):
        replace(RECIPE, method="sam2", heads=Heads())
    for wrong in ({"unit": "cm"}, {"srpp": -1.0}, {"reference_mm": 0.0}):
        with pytest.raises(UserError):
            Heads(**wrong)
    for name in ("sam2-3dmed", "sam2-3dmed-ablation"):
        packaged = Path(trainer_module.__file__).with_name("recipes") / f"{name}.toml"
        recipe = Recipe.read(packaged)
        weights = sum(v.numel() for v in build(recipe.architecture).state_dict().values())
        assert 2 * weights < 11.9e6  # half precision, 12 MB with names and metadata
    text = packaged.read_text().replace("srpp = 0.01", "srrp = 0.01")
    (tmp_path / "typo.toml").write_text(text)
    with pytest.raises(UserError, match="srrp"):
        Recipe.read(tmp_path / "typo.toml")


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole")
    for until in (2, 3, None):
        parts = _train(tmp_path / "parts", until=until)
    for a, b in ((whole.average.module, parts.average.module), (whole.extra, parts.extra)):
        a, b = (torch.nn.ModuleDict(m) if isinstance(m, dict) else m for m in (a, b))
        assert _equal(a, b)
    assert set(whole.extra) == {"srpp"}


def test_the_weights_that_are_left_have_no_srpp_and_give_the_same_masks(tmp_path: Path) -> None:
    trainer = _train(tmp_path)
    loaded = load_model(str(tmp_path / "tiny.safetensors"), device="cpu")
    assert loaded.metadata["method"] == "sam2-3dmed"
    assert not [name for name in loaded.network.state_dict() if "srpp" in name]
    # As the file has it, in half precision, but with the head beside it.
    module = ThreeDMedForward(trainer.average.module, TINY, Heads())
    assert any(name.startswith("srpp.") for name in module.state_dict())
    with torch.no_grad():
        for parameter in module.network.state_dict().values():
            parameter.copy_(parameter.half().float())
    expected, boundary = _heads_of(module.network.eval())
    found, again = _heads_of(loaded.network)
    for a, b in zip((*expected, boundary), (*found, again), strict=True):
        assert torch.equal(a, b)


def test_with_a_frozen_encoder_srpp_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    start = str(tmp_path / "start" / "tiny.safetensors")
    _train(tmp_path / "start", replace(RECIPE, architecture=replace(TINY, boundary_dim=0),
                                       heads=Heads(bd=0)), until=1)  # fmt: skip
    ends = {}
    for frozen in ("image_encoder.", "image_encoder.trunk."):
        for srpp in (0.0, 0.01):
            recipe = replace(RECIPE, initial=Initial(start, (), (frozen,)), heads=Heads(srpp=srpp))
            trainer = _train(tmp_path / f"{frozen}{srpp}", recipe)
            ends[frozen, srpp] = trainer.network
    assert _equal(ends["image_encoder.", 0.0], ends["image_encoder.", 0.01])
    neck = [ends["image_encoder.trunk.", srpp].image_encoder.neck for srpp in (0.0, 0.01)]
    assert not _equal(*neck)
    given = load_model(start, device="cpu").network.image_encoder
    assert _equal(given, ends["image_encoder.", 0.01].image_encoder)


def test_a_network_with_the_branch_trains_as_sam2_too() -> None:
    frames, masks = _discs()
    predictions, extra = ClipForward(build(TINY), TINY)(
        frames, masks, Plan("box", 1), torch.Generator().manual_seed(0)
    )
    assert not extra
    assert all(p.boundary.shape == p.logits.shape for p in predictions)


def _train(folder: Path, recipe: Recipe = RECIPE, until: int | None = None) -> Trainer:
    trainer = Trainer(
        recipe, folder, torch.device("cpu"), sources=SMALL, workers=0, precision="no", streams=2
    )
    trainer.run(until)
    return trainer


def _heads_of(
    network: torch.nn.Module, size: int = 64, mask: torch.Tensor | None = None
) -> tuple[tuple, torch.Tensor | None]:
    """What a network makes of two images, or of one with a drawn mask; and its boundary."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2 if mask is None else 1, 3, size, size, generator=generator)
    points = None
    if mask is None:
        points = {
            "point_coords": torch.tensor([[[20.0, 30.0]], [[5.0, 6.0]]]),
            "point_labels": torch.ones(2, 1, dtype=torch.int32),
        }
    with torch.inference_mode():
        features = network._prepare_backbone_features(network.forward_image(images))[1:]
        current, heads, _, _ = network._track_step(
            0, True, *features, points, mask, {}, 1, False, None
        )
    return heads, current.get("boundary")


def _with_effect(network: BoundaryNetwork) -> BoundaryNetwork:
    """A branch as after some training: it changes masks; objects are seen everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        torch.nn.init.normal_(network.boundary.change[-1].weight, std=0.2)
    _objects_are_there(network)
    return network


def _objects_are_there(network: torch.nn.Module) -> None:
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 4)


def _backward(
    module: ThreeDMedForward,
    frames: torch.Tensor,
    masks: torch.Tensor,
    choose: Callable[[dict], torch.Tensor],
) -> None:
    predictions, extra = module(frames, masks, Plan("mask"), torch.Generator().manual_seed(1))
    losses = prediction_losses(predictions, {"bce": 1.0}) | extra
    losses["total"] = losses["total"] + sum(extra.values())
    choose(losses).backward()


def _moves(part: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())


def _equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def _discs() -> tuple[torch.Tensor, torch.Tensor]:
    """(4, 3, 64, 64) frames and masks of discs that move and shrink."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    masks = torch.stack(
        [
            torch.stack(
                [(torch.hypot(y - 30 - 2 * t, x - 24 - 4 * n) < 16 - 2 * t).float()
                 for t in range(3)]
            )
            for n in range(4)
        ]
    )  # fmt: skip
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(1))
    return 0.3 + 0.4 * masks + 0.1 * noise, masks
