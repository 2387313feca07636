"""Training: what clips teach, that it learns, and that an interruption changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.models.architecture import Architecture, build
from SAM2Medical3DLib.models.dense_prompts import render_prompts
from SAM2Medical3DLib.models.registry import load_model
from SAM2Medical3DLib.training import trainer as trainer_module
from SAM2Medical3DLib.training.clip_forward import (
    ClipForward,
    Prediction,
    noisy_mask_logits,
    sample_box,
    sample_clicks,
    sample_correction,
)
from SAM2Medical3DLib.training.clips import ClipSampler
from SAM2Medical3DLib.training.losses import clip_losses
from SAM2Medical3DLib.training.recipe import Optimiser, Recipe, Stage
from SAM2Medical3DLib.training.trainer import Trainer

TINY = Architecture(
    image_size=64, embed_dim=16, model_dim=32, memory_dim=16, memory_layers=1, feedforward_dim=32
)
RECIPE = Recipe(
    seed=5,
    output="tiny",
    architecture=TINY,
    optimiser=Optimiser(learning_rate=2e-3, warmup_steps=2, ema_decay=0.5),
    stages=(
        Stage("slices", 3, 64, 1, 2, {"noisy-mask": 0.5, "box": 0.5}, 0.5),
        Stage("clips", 3, 64, 3, 2, {"mask": 0.5, "click": 0.5}, 0.5),
    ),
)


@pytest.fixture
def small_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = partial(ClipSampler, streams=2, shape=(40, 64, 64))
    monkeypatch.setattr(trainer_module, "ClipSampler", sampler)


def _train(folder: Path, until: int | None = None) -> Trainer:
    trainer = Trainer(RECIPE, folder, torch.device("cpu"), workers=0, bfloat16=False)
    trainer.run(until)
    return trainer


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, small_volumes: None
) -> None:
    whole = _train(tmp_path / "whole")
    for until in (2, 4, None):
        parts = _train(tmp_path / "parts", until)
    assert parts.step == whole.step == RECIPE.steps
    for a, b in zip(
        whole.average.module.parameters(), parts.average.module.parameters(), strict=True
    ):
        assert torch.equal(a, b)
    loaded = load_model(str(tmp_path / "parts" / "tiny.safetensors"), device="cpu")
    assert loaded.network.image_size == 64
    assert loaded.metadata["training_step"] == str(RECIPE.steps)


def test_the_loss_falls_on_a_tiny_set() -> None:
    torch.manual_seed(0)
    frames, masks = _discs()
    forward = ClipForward(build(TINY).train(), TINY)
    head = forward.network.sam_mask_decoder.pred_obj_score_head
    torch.nn.init.constant_(head.layers[-1].bias, 3)
    optimiser = torch.optim.AdamW(forward.parameters(), lr=2e-3)
    history = []
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        losses = clip_losses(forward(frames, masks, "mask", 0, generator), masks)
        optimiser.zero_grad()
        losses["total"].backward()
        optimiser.step()
        history.append({k: float(v.detach()) for k, v in losses.items()})
    for name in ("bce", "dice", "total"):
        assert history[-1][name] < 0.7 * history[0][name]


def test_every_part_of_the_network_learns_from_clips() -> None:
    torch.manual_seed(0)
    frames, masks = _discs()
    network = build(TINY).train()
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3)
    predictions = ClipForward(network, TINY)(
        frames, masks, "box", 1, torch.Generator().manual_seed(1)
    )
    clip_losses(predictions, masks)["total"].backward()
    for part in ("image_encoder", "memory_attention", "memory_encoder", "sam_mask_decoder"):
        gradients = [p.grad for p in getattr(network, part).parameters() if p.grad is not None]
        assert any(g.abs().sum() > 0 for g in gradients), part


def test_a_perfect_and_an_empty_prediction() -> None:
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 16:48, 16:48] = 1
    perfect = F.interpolate(masks, (16, 16)) * 40 - 20
    one = torch.ones(1)
    good = clip_losses([Prediction(0, perfect, one, one * 9)], masks)
    bad = clip_losses([Prediction(0, torch.full_like(perfect, -1024), one * 0, -one * 9)], masks)
    assert good["dice"] < 0.1 < 0.95 < bad["dice"]
    assert good["iou"] < 0.02
    assert bad["iou"] < 1e-6  # it says that its IoU is 0, which is right
    assert torch.isfinite(bad["total"])


def test_simulated_prompts_are_where_they_should_be() -> None:
    _, masks = _discs()
    generator = torch.Generator().manual_seed(0)
    target = masks[:, :1]
    for _ in range(20):
        click = sample_clicks(target > 0.5, generator)
        for n, (x, y) in enumerate(click["point_coords"][:, 0].long().tolist()):
            assert target[n, 0, y, x] == 1
        box = sample_box(target[:, 0] > 0.5, generator)["point_coords"]
        assert (box[:, 1] > box[:, 0]).all()
        empty = torch.full((len(masks), 1, 16, 16), -9.0)
        correction = sample_correction(empty, target, 64, generator)
        assert (correction["point_labels"] == 1).all()
        full = torch.full((len(masks), 1, 16, 16), 9.0)
        correction = sample_correction(full, target, 64, generator)
        assert (correction["point_labels"] == 0).all()
        for n, (x, y) in enumerate(correction["point_coords"][:, 0].long().tolist()):
            assert target[n, 0, y, x] == 0


def test_a_noisy_mask_resembles_its_mask() -> None:
    _, masks = _discs()
    target = masks[:, :1]
    small = F.interpolate(target, (16, 16), mode="area") > 0.5
    dice = []
    for seed in range(30):
        noisy = noisy_mask_logits(target, torch.Generator().manual_seed(seed))
        assert noisy.abs().max() <= 10
        hard = noisy > 0
        dice.append(float(2 * (hard & small).sum() / (hard.sum() + small.sum())))
    assert 0.6 < sum(dice) / len(dice) < 0.97
    assert min(dice) > 0.3


def test_rendered_prompts() -> None:
    coords = torch.tensor([[[16.0, 8.0], [48.0, 40.0], [21.5, 21.5]]])
    labels = torch.tensor([[2, 3, 1]])
    dense = render_prompts(coords, labels, 64)[0, 0]
    assert dense.shape == (16, 16)
    assert dense[5, 5] > 5  # the click, x = y = 21.5
    assert dense[3, 10] == 2  # inside the box
    assert dense[12, 2] == -10  # outside
    prior = torch.full((1, 1, 16, 16), 4.0)
    corrected = render_prompts(coords[:, 2:], torch.tensor([[0]]), 64, prior)[0, 0]
    assert corrected[5, 5] < -3
    assert corrected[15, 15] == pytest.approx(4, abs=1e-3)


def test_recipes_are_read_and_checked(tmp_path: Path) -> None:
    packaged = Path(trainer_module.__file__).with_name("recipes") / "bundled.toml"
    recipe = Recipe.read(packaged)
    assert recipe.architecture == replace(Architecture(), image_size=recipe.stages[-1].image_size)
    assert recipe.stage_at(recipe.steps - 1)[0] is recipe.stages[-1]
    (tmp_path / "bad.toml").write_text("seed = 1")
    with pytest.raises(UserError, match="cannot be used"):
        Recipe.read(tmp_path / "bad.toml")
    with pytest.raises(UserError, match="unknown prompts"):
        Stage("s", 1, 64, 2, 1, {"scribble": 1.0})


def test_the_log_can_be_read(tmp_path: Path, small_volumes: None, monkeypatch) -> None:
    monkeypatch.setattr(trainer_module, "LOG_EVERY", 1)
    _train(tmp_path, 2)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {"total", "bce", "dice", "iou", "score"} <= rows[0].keys()


def _discs() -> tuple[torch.Tensor, torch.Tensor]:
    """(4, 3, 64, 64) frames and masks of discs that move and shrink."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    masks = torch.stack(
        [
            torch.stack(
                [(torch.hypot(y - 30 - 2 * t, x - 24 - 4 * n) < 14 - t).float() for t in range(3)]
            )
            for n in range(4)
        ]
    )
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(1))
    return 0.3 + 0.4 * masks + 0.1 * noise, masks
