"""What a training run does, read from a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UserError
from ..models.architecture import Architecture, check_image_size
from .heads import Heads
from .losses import TERMS
from .methods import METHODS
from .tables import require, table


@dataclass(frozen=True)
class Stage:
    """A part of the schedule.

    Attributes:
        steps: optimiser steps.
        image_size: side of the clips in pixels.
        length: slices a clip.
        batch: clips a step, over all processes.
        prompts: probability of each kind of first prompt.
        corrections: probability that a step adds corrective clicks on the prompted slice.
        rounds: largest number of corrective clicks then.
    """

    name: str
    steps: int
    image_size: int
    length: int
    batch: int
    prompts: Mapping[str, float]
    corrections: float = 0.0
    rounds: int = 1

    def __post_init__(self) -> None:
        check_image_size(self.image_size)
        if not self.prompts:
            raise UserError(f"Stage '{self.name}' has no prompts; name at least one.")
        odds = self.prompts.values()
        require(
            f"Stage '{self.name}'",
            {
                "steps must be at least 1": self.steps >= 1,
                "length must be at least 1": self.length >= 1,
                "batch must be at least 1": self.batch >= 1,
                "rounds must be at least 1": self.rounds >= 1,
                "corrections must be from 0 to 1": 0 <= self.corrections <= 1,
                "the probabilities of prompts must be 0 or more and sum to 1": min(odds) >= 0
                and math.isclose(sum(odds), 1, abs_tol=1e-6),
            },
        )
        if self.length == 1 and "mask" in self.prompts:
            raise UserError(f"Stage '{self.name}': a mask on a single slice teaches nothing.")


@dataclass(frozen=True)
class Optimiser:
    """AdamW with linear warm-up and one cosine decay over all stages; weights are averaged."""

    learning_rate: float = 5e-4
    weight_decay: float = 0.03
    warmup_steps: int = 200
    ema_decay: float = 0.998

    def __post_init__(self) -> None:
        require(
            "[optimiser]",
            {
                "learning_rate must be 0 or more": self.learning_rate >= 0,
                "weight_decay must be 0 or more": self.weight_decay >= 0,
                "warmup_steps must be 0 or more": self.warmup_steps >= 0,
                "ema_decay must be from 0 to below 1": 0 <= self.ema_decay < 1,
            },
        )


@dataclass(frozen=True)
class Initial:
    """Where the weights start.

    Attributes:
        model: a registered model's name or a checkpoint's path; empty for random weights.
        parts: prefixes of the tensors to take; all where empty. The others start at random.
        frozen: prefixes of the tensors that are not trained.
    """

    model: str = ""
    parts: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Validation:
    """Dice on clips that are never trained on.

    Attributes:
        every: steps between validations; 0 for none.
        clips: how many, for each kind of prompt.
        patience: training ends after so many validations without a better Dice; 0 for never. With
            patience the best weights are kept, without it the last.
    """

    every: int = 0
    clips: int = 48
    patience: int = 0

    def __post_init__(self) -> None:
        require(
            "[validation]",
            {
                "every must be 0 or more": self.every >= 0,
                "clips must be at least 1": self.clips >= 1,
                "patience must be 0 or more": self.patience >= 0,
            },
        )


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        atlas: share of the synthetic volumes that are painted from the abdominal atlas
            (``synthesis/atlas.py``), which is downloaded once.
    """

    seed: int
    output: str
    architecture: Architecture = Architecture()
    optimiser: Optimiser = Optimiser()
    stages: tuple[Stage, ...] = ()
    method: str = "sam2"
    initial: Initial = Initial()
    validation: Validation = Validation()
    losses: Mapping[str, float] = field(default_factory=dict)
    heads: Heads | None = None
    atlas: float = 0.0

    def __post_init__(self) -> None:
        require(
            "The recipe",
            {
                "atlas must be from 0 to 1": 0 <= self.atlas <= 1,
                "seed must be 0 or more": self.seed >= 0,
                "output must be a file's name without folder and ending": bool(self.output)
                and Path(self.output).name == self.output,
                "losses must be 0 or more": min(self.losses.values(), default=0) >= 0,
            },
        )
        if self.method not in METHODS:
            raise UserError(f"Unknown method '{self.method}'; use one of {', '.join(METHODS)}.")
        method = METHODS[self.method]
        if not self.stages:
            raise UserError("The recipe has no stages; add at least one.")
        for stage in self.stages:
            unknown = sorted(set(stage.prompts) - set(method.prompts))
            if unknown:
                raise UserError(
                    f"Stage '{stage.name}': unknown prompts {unknown} for {self.method}; "
                    f"use {', '.join(method.prompts)}."
                )
        unknown = sorted(set(self.losses) - set(TERMS))
        if unknown:
            raise UserError(f"Unknown losses {unknown}; use {', '.join(TERMS)}.")
        object.__setattr__(self, "losses", dict(self.losses or method.losses))
        architecture = replace(self.architecture, memory=method.memory)
        object.__setattr__(self, "architecture", architecture)
        if method.heads:
            object.__setattr__(self, "heads", self.heads or Heads())
        self._check_heads()

    def _check_heads(self) -> None:
        heads = self.heads
        if heads is None:
            return
        if not METHODS[self.method].heads:
            raise UserError(f"The method {self.method} has no heads; leave [heads] out.")
        if heads.bd and not self.architecture.boundary_dim:
            raise UserError(
                "Boundary detection needs its branch; give boundary_dim in [architecture], or "
                "bd = 0 in [heads]."
            )
        single = [stage.name for stage in self.stages if stage.length < 2]
        if heads.srpp and single:
            raise UserError(
                f"Stage '{single[0]}' has single slices, which have no relative position; give "
                "it a length of 2 or more, or srpp = 0 in [heads]."
            )

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step and the step's number within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise IndexError("the run is over")

    def without_noisy_masks(self) -> Recipe:
        """The same with points and boxes only (the ablation of RadSAM's claim)."""
        stages = []
        for stage in self.stages:
            prompts = {k: v for k, v in stage.prompts.items() if k != "noisy-mask"}
            whole = sum(prompts.values())
            stages.append(replace(stage, prompts={k: v / whole for k, v in prompts.items()}))
        return replace(self, stages=tuple(stages))

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """From a TOML file.

        Raises:
            UserError: if it cannot be read, misses something, or holds what means nothing.
        """
        try:
            return table(cls, tomllib.loads(Path(path).read_text("utf-8")), "the recipe")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, UserError) as error:
            said = getattr(error, "strerror", None) or str(error).rstrip(".")
            raise UserError(f"The recipe '{path}' cannot be used: {said}.") from error
