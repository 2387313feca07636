"""What a run was begun with: its folder resumes to the same end only with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..errors import UserError
from .recipe import Recipe


def check_division(recipe: Recipe, accumulate: int, processes: int) -> None:
    """Resumed and uninterrupted runs see the same clips only where every step takes whole parts."""
    if accumulate < 1:
        raise UserError(f"A batch cannot be split into {accumulate} parts; give 1 or more.")
    for stage in recipe.stages:
        if stage.batch % (accumulate * processes):
            raise UserError(
                f"Stage '{stage.name}': a batch of {stage.batch} cannot be divided among "
                f"{processes} processes in {accumulate} parts each; choose another batch in the "
                "recipe or another --accumulate."
            )


def settings_of(recipe: Recipe, accumulate: int, labelled: bool) -> dict[str, object]:
    """Everything that decides a run's result, flat and as JSON gives it back."""
    return _flat({"recipe": asdict(recipe), "accumulate": accumulate, "labelled cases": labelled})


def check_unchanged(begun: Mapping[str, object], now: Mapping[str, object], folder: Path) -> None:
    """Compare the settings that a run was begun with to those that it is to go on with.

    Raises:
        UserError: if they differ; names each.
    """
    changed = [
        f"{name} was {begun.get(name)!r} and is now {now.get(name)!r}"
        for name in sorted(begun.keys() | now.keys())
        if begun.get(name) != now.get(name)
    ]
    if changed:
        raise UserError(
            f"The run in '{folder}' was begun with other settings: {'; '.join(changed)}. Give the "
            "same ones to go on, or another folder with --out."
        )


def _flat(values: Mapping, prefix: str = "") -> dict[str, object]:
    """Nested settings as dotted names with values that JSON gives back unchanged."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, tuple | list) and value and isinstance(value[0], Mapping):
            found |= _flat({str(n): v for n, v in enumerate(value, start=1)}, f"{prefix}{name}.")
        else:
            found[prefix + name] = list(value) if isinstance(value, tuple) else value
    return found
