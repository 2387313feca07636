"""The training loop: resumable at any step, the same result interrupted or not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from ..models.architecture import build
from ..models.checkpoint import save_weights
from .clip_forward import ClipForward
from .clips import ClipSampler, ClipStream
from .losses import clip_losses
from .recipe import Recipe, Stage

LOG_EVERY = 50  # steps


class Trainer:
    """Trains one recipe in one folder.

    The folder holds ``last.pt`` (everything needed to go on), ``log.jsonl`` and the averaged
    weights as safetensors. Clips and random prompts depend on the step alone, so a resumed run sees
    what an uninterrupted one would have seen.

    Args:
        recipe: what to do.
        folder: where to keep it.
        device: where to run.
        workers: processes that synthesise clips.
        bfloat16: autocast the network to bfloat16.
        checkpoint_seconds: time between checkpoints.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        workers: int = 1,
        bfloat16: bool = True,
        checkpoint_seconds: float = 120,
    ) -> None:
        self.recipe, self.folder, self.device = recipe, Path(folder), device
        self.workers, self.bfloat16 = workers, bfloat16
        self.checkpoint_seconds = checkpoint_seconds
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        self.network = build(recipe.architecture).to(device)
        # Objects are there until learned otherwise: a slice scored as empty gets no mask gradient.
        head = self.network.sam_mask_decoder.pred_obj_score_head
        torch.nn.init.constant_(head.layers[-1].bias, 3)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.optimiser.ema_decay)
        )
        self.optimiser = self._optimiser()
        self.step = 0
        self.seconds = 0.0
        self._resume()

    def run(self, until: int | None = None) -> None:
        """Train to the end of the recipe, or to step ``until``."""
        end = min(self.recipe.steps, until or self.recipe.steps)
        while self.step < end:
            stage, within = self.recipe.stage_at(self.step)
            self._run_stage(stage, within, end)
        self._checkpoint()

    def _run_stage(self, stage: Stage, within: int, end: int) -> None:
        self._resize(stage.image_size)
        clips = self._clips(stage, within)
        forward = ClipForward(
            self.network, self.recipe.architecture.with_image_size(stage.image_size)
        )
        last = min(end, self.step + stage.steps - within)
        begun = saved = time.monotonic()
        before = self.seconds
        recent: dict[str, float] = {}
        while self.step < last:
            losses = self._one_step(forward, stage, next(clips))
            for name, value in losses.items():
                recent[name] = recent.get(name, value) * 0.98 + 0.02 * value
            now = time.monotonic()
            self.seconds = before + now - begun
            if self.step % LOG_EVERY == 0:
                self._log(stage, recent)
            if now - saved > self.checkpoint_seconds:
                self._checkpoint()
                saved = now
        self._checkpoint()

    def _one_step(
        self, forward: ClipForward, stage: Stage, clips: dict[str, torch.Tensor]
    ) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)  # dropout
        frames = clips["frames"].to(self.device, torch.float32)
        masks = clips["masks"].to(self.device, torch.float32)
        kinds = list(stage.prompts)
        odds = torch.tensor([stage.prompts[k] for k in kinds])
        first = kinds[int(torch.multinomial(odds, 1, generator=generator))]
        corrections = int(torch.rand(1, generator=generator).item() < stage.corrections)
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        # On a CPU the fused attention's backward pass is slower than plain products.
        kernels = sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext()
        with kernels:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                predictions = forward(frames, masks, first, corrections, generator)
            losses = clip_losses(predictions, masks)
            self.optimiser.zero_grad(set_to_none=True)
            losses["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.update_parameters(self.network)
        self.step += 1
        found = {k: float(v.detach()) for k, v in losses.items()}
        last = max(p.t for p in predictions)
        found[f"dice {first} t{last}"] = 1 - float(
            clip_losses([p for p in predictions if p.t == last][-1:], masks)["dice"].detach()
        )
        return found

    def _learning_rate(self) -> float:
        o = self.recipe.optimiser
        warm = min(1.0, (self.step + 1) / o.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return o.learning_rate * warm * (0.02 + 0.98 * cosine)

    def _optimiser(self) -> torch.optim.Optimizer:
        o = self.recipe.optimiser
        groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
        for parameter in self.network.parameters():
            groups[parameter.ndim > 1].append(parameter)
        return torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": o.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            lr=o.learning_rate,
            betas=(0.9, 0.98),
        )

    def _clips(self, stage: Stage, within: int) -> Iterator[dict[str, torch.Tensor]]:
        sampler = ClipSampler(
            self.recipe.seed + 7919 * self.recipe.stages.index(stage),
            stage.length,
            stage.image_size,
            clips_per_volume=160,
        )
        stream = ClipStream(sampler, first_index=within * stage.batch)
        return iter(DataLoader(stream, batch_size=stage.batch, num_workers=self.workers))

    def _resize(self, size: int) -> None:
        """Let the network take squares of this side; no weight depends on it."""
        net = self.network
        net.image_size = size
        net.sam_image_embedding_size = side = size // net.backbone_stride
        encoder = net.sam_prompt_encoder
        encoder.input_image_size = (size, size)
        encoder.image_embedding_size = (side, side)
        encoder.mask_input_size = (4 * side, 4 * side)

    def _log(self, stage: Stage, recent: dict[str, float]) -> None:
        row = {"step": self.step, "stage": stage.name, "seconds": round(self.seconds, 1)}
        row |= {k: round(v, 4) for k, v in sorted(recent.items())}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def _checkpoint(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.folder / "last.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "last.pt")
        self.export(self.folder / f"{self.recipe.output}.safetensors")

    def export(self, path: Path) -> None:
        """Write the averaged weights with their architecture as safetensors in half precision."""
        metadata = {
            "architecture": self.recipe.architecture.to_json(),
            "training_step": str(self.step),
            "training_seed": str(self.recipe.seed),
            "licence": "Apache-2.0",
        }
        save_weights(self.average.module, path, metadata)

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
