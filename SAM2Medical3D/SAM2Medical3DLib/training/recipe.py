"""What a training run does, read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..errors import UserError
from ..models.architecture import Architecture, check_image_size
from .clip_forward import FirstPrompt


@dataclass(frozen=True)
class Stage:
    """A part of the schedule.

    Attributes:
        steps: optimiser steps.
        image_size: side of the clips in pixels.
        length: slices a clip.
        batch: clips a step.
        prompts: probability of each kind of first prompt.
        corrections: probability that a step adds a corrective click on the prompted slice.
    """

    name: str
    steps: int
    image_size: int
    length: int
    batch: int
    prompts: Mapping[str, float]
    corrections: float = 0.0

    def __post_init__(self) -> None:
        check_image_size(self.image_size)
        unknown = set(self.prompts) - set(get_args(FirstPrompt))
        if unknown or not self.prompts:
            raise UserError(
                f"Stage '{self.name}': unknown prompts {sorted(unknown)}; "
                f"use {', '.join(get_args(FirstPrompt))}."
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


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    seed: int
    output: str
    architecture: Architecture
    optimiser: Optimiser
    stages: tuple[Stage, ...]

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

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """From a TOML file.

        Raises:
            UserError: if it cannot be read or misses something.
        """
        try:
            values = tomllib.loads(Path(path).read_text())
            return cls(
                seed=int(values["seed"]),
                output=str(values["output"]),
                architecture=Architecture(**values.get("architecture", {})),
                optimiser=Optimiser(**values.get("optimiser", {})),
                stages=tuple(Stage(**stage) for stage in values["stages"]),
            )
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise UserError(f"The recipe '{path}' cannot be used: {error}.") from error
