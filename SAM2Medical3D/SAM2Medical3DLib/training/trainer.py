"""The training loop: resumable at any step, the same result interrupted or not.

One loop for all methods; Accelerate runs it on one device, several, or several machines.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, default_collate

from ..errors import UserError
from ..models.architecture import build
from ..models.checkpoint import save_weights
from .clips import ClipSampler, ClipStream
from .initial import initialise
from .losses import prediction_losses
from .methods import METHODS
from .prediction import Plan
from .recipe import Recipe, Stage
from .run_settings import check_division, check_unchanged, settings_of
from .sources import Sources, SyntheticSources
from .validation import validation_dice

LOG_EVERY = 50  # steps
Precision = Literal["bf16", "fp16", "no"]
_VALIDATION_SEED = 104_729
_VALIDATION_STREAMS = 4


class Trainer:
    """Trains one recipe in one folder.

    The folder holds ``last.pt`` (everything needed to go on), ``log.jsonl``, ``tensorboard/`` and
    the averaged weights as safetensors. Clips and random prompts depend on the step alone, so a
    resumed run sees what an uninterrupted one would have seen.

    Args:
        recipe: what to do.
        folder: where to keep it.
        device: ``cpu``, or None for what Accelerate finds.
        sources, validation_sources: volumes to cut clips from; synthetic ones by default.
        workers: processes that make clips, for each training process.
        precision: of the network's arithmetic; the weights are float32.
        accumulate: parts that a step's batch is split into, to save memory.
        streams: volumes in use at a time; clips of a step come from different ones.
        clips_per_volume: clips cut from a volume before another takes its place.
        checkpoint_seconds: time between checkpoints.

    Raises:
        UserError: for a batch that cannot be divided, a folder that cannot be used, or one that
            holds a run begun with other settings.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device | None = None,
        *,
        sources: Sources | None = None,
        validation_sources: Sources | None = None,
        workers: int = 1,
        precision: Precision = "bf16",
        accumulate: int = 1,
        streams: int = 16,
        clips_per_volume: int = 160,
        checkpoint_seconds: float = 120,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        self.recipe, self.folder = recipe, Path(folder)
        self.method = METHODS[recipe.method]
        # Without clips there is no memory to train: not every parameter is used at every step.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(
            cpu=device is not None and device.type == "cpu",
            mixed_precision=precision,
            kwargs_handlers=[unused],
        )
        self.device = self.accelerator.device
        check_division(recipe, accumulate, self.accelerator.num_processes)
        self.sources = sources or SyntheticSources.of(recipe.atlas)
        self.validation_sources = validation_sources or self.sources
        self.workers, self.accumulate = workers, accumulate
        self.streams, self.clips_per_volume = streams, clips_per_volume
        self.checkpoint_seconds = checkpoint_seconds
        self._settings = settings_of(recipe, accumulate, bool(self.sources.names))
        self.interrupted = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder '{folder}' cannot be made: {error.strerror}.") from error
        torch.manual_seed(recipe.seed)
        self.network = build(recipe.architecture)
        initialise(self.network, recipe)
        self.network.to(self.device)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.optimiser.ema_decay)
        )
        module = self.method.make_pass(self.network, recipe).to(self.device)
        # What only training needs: no part of the averaged and exported network.
        self.extra = {n: m for n, m in module.named_children() if n != "network"}
        self.module, self.optimiser = self.accelerator.prepare(module, self._optimiser(module))
        self.averaged = self.method.make_pass(self.average.module, recipe).to(self.device)
        self.step = 0
        self.seconds = 0.0
        self.best_dice, self.best_step = -1.0, 0
        self._resume()
        self._board = self._open_board()

    @property
    def stopped_early(self) -> bool:
        """Whether the validation Dice has not risen for as long as the recipe waits."""
        v = self.recipe.validation
        return self._keeps_best and (
            self.step - self.best_step >= v.every * v.patience and self.best_dice >= 0
        )

    def run(self, until: int | None = None) -> None:
        """Train to the end of the recipe, or to step ``until``."""
        end = self.recipe.steps if until is None else min(until, self.recipe.steps)
        while self.step < end and not self.stopped_early and not self.interrupted:
            stage, within = self.recipe.stage_at(self.step)
            if not within:
                # A stage has validation clips of its own: their Dice compares with no other's.
                self.best_dice, self.best_step = -1.0, self.step
            self._run_stage(stage, within, end)
        self._checkpoint()
        if self._keeps_best and self.step == self.recipe.steps and self.best_dice < 0:
            # Too short for a validation: there are no better weights than the last.
            self.export(self._weights)

    def interrupt(self) -> None:
        """End the run after the step that is under way, with a checkpoint; may be called from a
        signal handler."""
        self.interrupted = True

    @property
    def _keeps_best(self) -> bool:
        v = self.recipe.validation
        return bool(v.every and v.patience)

    @property
    def _weights(self) -> Path:
        return self.folder / f"{self.recipe.output}.safetensors"

    def _run_stage(self, stage: Stage, within: int, end: int) -> None:
        for network in (self.network, self.average.module):
            resize(network, stage.image_size)
        clips = self._clips(stage, within)
        last = min(end, self.step + stage.steps - within)
        begun = saved = time.monotonic()
        before = self.seconds
        recent: dict[str, float] = {}
        every = self.recipe.validation.every
        while self.step < last and not self.stopped_early and not self.interrupted:
            for name, value in self._one_step(stage, clips).items():
                recent[name] = recent.get(name, value) * 0.98 + 0.02 * value
            now = time.monotonic()
            self.seconds = before + now - begun
            if self.step % LOG_EVERY == 0:
                self._log(stage.name, recent)
            if every and self.step % every == 0:
                self._validate(stage)
            if now - saved > self.checkpoint_seconds:
                self._checkpoint()
                saved = now
        self._checkpoint()

    def _one_step(self, stage: Stage, clips: Iterator[dict]) -> dict[str, float]:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        # The plan is every process's, the clicks are each one's own.
        seed = self.recipe.seed * 1_000_003 + self.step
        plan = draw_plan(stage, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed + 7919 * (rank + 1))
        torch.manual_seed(seed)  # dropout
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        share = stage.batch // (processes * self.accumulate)
        sums: dict[str, float] = {}
        # On a CPU the fused attention's backward pass is slower than plain products.
        kernels = sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext()
        with kernels:
            for part in range(self.accumulate):
                batch = default_collate([next(clips) for _ in range(share)])
                frames = batch["frames"].to(self.device, torch.float32)
                masks = batch["masks"].to(self.device, torch.float32)
                last = part == self.accumulate - 1
                spacing = batch["spacing"].to(self.device)
                with nullcontext() if last else self.accelerator.no_sync(self.module):
                    predictions, extra = self.module(frames, masks, plan, generator, spacing)
                    losses = prediction_losses(predictions, self.recipe.losses)
                    losses |= extra
                    losses["total"] = losses["total"] + sum(extra.values())
                    self.accelerator.backward(losses["total"] / self.accumulate)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / self.accumulate
        norm = self.accelerator.clip_grad_norm_(self.network.parameters(), 1.0)
        # Apart, so that a head's large errors do not slow the network down.
        for part in self.extra.values():
            torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        # fp16 has its own way with infinite gradients: the scaler skips them and adapts.
        if torch.isfinite(torch.as_tensor(norm)) or self.accelerator.scaler is not None:
            self.optimiser.step()
            self.average.update_parameters(self.network)
        self.step += 1
        if "dice" in sums:
            sums[f"dice {plan.first}"] = 1 - sums["dice"]
        return sums

    def _validate(self, stage: Stage) -> None:
        from accelerate.utils import broadcast_object_list

        v = self.recipe.validation
        seed = self.recipe.seed + _VALIDATION_SEED
        # So that every case has its turn, whatever their number.
        cases = max(1, len(self.validation_sources.names))
        per_volume = max(1, v.clips // cases)
        sampler = ClipSampler(
            seed, stage.length, stage.image_size, sources=self.validation_sources,
            streams=_VALIDATION_STREAMS, clips_per_volume=per_volume,
        )  # fmt: skip
        self.average.module.eval()
        found = validation_dice(self.averaged, sampler, stage.prompts, v.clips, self.device)
        # The first process's figure for all, so that all stop at the same step.
        mean = broadcast_object_list([sum(found.values()) / len(found)])[0]
        row = {f"validation dice {kind}": value for kind, value in found.items()}
        if mean > self.best_dice:
            self.best_dice, self.best_step = mean, self.step
            if v.patience:
                self.export(self._weights)
        self._log(stage.name, row | {"validation dice": mean})

    def _learning_rate(self) -> float:
        o = self.recipe.optimiser
        warm = min(1.0, (self.step + 1) / max(1, o.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.recipe.steps))
        return o.learning_rate * warm * (0.02 + 0.98 * cosine)

    def _optimiser(self, module: torch.nn.Module) -> torch.optim.Optimizer:
        o = self.recipe.optimiser
        groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
        for parameter in module.parameters():
            if parameter.requires_grad:
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
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        sampler = ClipSampler(
            self.recipe.seed + 7919 * self.recipe.stages.index(stage),
            stage.length,
            stage.image_size,
            sources=self.sources,
            streams=self.streams,
            clips_per_volume=self.clips_per_volume,
        )
        stream = ClipStream(sampler, within * stage.batch + rank, every=processes)
        loader = DataLoader(
            stream, batch_size=None, num_workers=self.workers, worker_init_fn=_leave_interrupts
        )
        return iter(loader)

    def _open_board(self):  # noqa: ANN202 - the class belongs to an optional package
        if not self.accelerator.is_main_process:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step or None)

    def _log(self, stage: str, values: dict[str, float]) -> None:
        if self._board is None:
            return
        for name, value in values.items():
            self._board.add_scalar(name.replace(" ", "/", 1), value, self.step)
        self._board.flush()
        row = {"step": self.step, "stage": stage, "seconds": round(self.seconds, 1)}
        row |= {k: round(v, 4) for k, v in sorted(values.items())}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def _checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "extra": {n: m.state_dict() for n, m in self.extra.items()},
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "step": self.step,
            "seconds": self.seconds,
            "best": (self.best_dice, self.best_step),
            "settings": json.dumps(self._settings),
        }
        partial = self.folder / "last.partial"
        torch.save(state, partial)
        partial.replace(self.folder / "last.pt")
        if not self._keeps_best:
            self.export(self._weights)

    def export(self, path: Path) -> None:
        """Write the averaged weights with their architecture as safetensors in half precision."""
        if not self.accelerator.is_main_process:
            return
        metadata = {
            "architecture": self.recipe.architecture.to_json(),
            "method": self.recipe.method,
            "training_step": str(self.step),
            "training_seed": str(self.recipe.seed),
            "licence": "Apache-2.0",
        }
        save_weights(self.average.module, path, metadata)

    def _resume(self) -> None:
        path = self.folder / "last.pt"
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            begun = json.loads(state["settings"])
        except Exception as error:  # torch names no common class for what a damaged file raises
            raise UserError(
                f"The checkpoint '{path}' is damaged, or of another version or program; give "
                "another folder with --out."
            ) from error
        check_unchanged(begun, self._settings, self.folder)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for name, part in self.extra.items():
            part.load_state_dict(state["extra"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best_dice, self.best_step = state["best"]


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C is the training process's: it ends the workers once its step is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def draw_plan(stage: Stage, generator: torch.Generator) -> Plan:
    """The first prompt and the corrective clicks of a step."""
    kinds = list(stage.prompts)
    odds = torch.tensor([stage.prompts[k] for k in kinds])
    first = kinds[int(torch.multinomial(odds, 1, generator=generator))]
    corrections = 0
    if torch.rand(1, generator=generator).item() < stage.corrections:
        corrections = int(torch.randint(1, stage.rounds + 1, (1,), generator=generator))
    return Plan(first, corrections)


def resize(network: torch.nn.Module, size: int) -> None:
    """Let a network take squares of this side; no weight depends on it."""
    network.image_size = size
    network.sam_image_embedding_size = side = size // network.backbone_stride
    encoder = network.sam_prompt_encoder
    encoder.input_image_size = (size, size)
    encoder.image_embedding_size = (side, side)
    encoder.mask_input_size = (4 * side, 4 * side)
