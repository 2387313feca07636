"""The variants of a recipe that an ablation trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import UserError
from .recipe import Recipe

_NO, _YES = "–", "yes"


@dataclass(frozen=True)
class Variant:
    """A recipe with something left out or changed.

    Attributes:
        name: of its folder and its weights.
        recipe: what is trained.
        traits: what tells it from the others, as table columns; the same columns for all.
    """

    name: str
    recipe: Recipe
    traits: Mapping[str, str] = field(default_factory=dict)


def variants_of(recipe: Recipe, seeds: Sequence[int], lengths: Sequence[int]) -> list[Variant]:
    """What the ablation of a recipe's method compares, for each seed.

    ``sam2-3dmed``: without heads, with SRPP, with BD and with both on clips of the recipe's length,
    and with both on clips of the other lengths. ``radsam``: with and without noisy masks.

    Raises:
        UserError: for a method that has no ablation, a recipe that leaves out what is compared.
    """
    if recipe.method == "sam2-3dmed":
        made = _heads(recipe, lengths)
    elif recipe.method == "radsam":
        made = [
            Variant("noisy-masks", recipe, {"noisy masks": _YES}),
            Variant("without", recipe.without_noisy_masks(), {"noisy masks": _NO}),
        ]
    else:
        raise UserError(f"The method {recipe.method} has no ablation; use sam2-3dmed or radsam.")
    return [_seeded(variant, seed) for seed in seeds for variant in made]


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The same schedule in so many steps in all."""
    if steps < len(recipe.stages):
        raise UserError(f"{steps} steps are too few for {len(recipe.stages)} stages.")
    ends, done = [], 0
    for stage in recipe.stages:
        done += stage.steps
        ends.append(round(steps * done / recipe.steps))
    counts = [max(1, b - a) for a, b in zip([0, *ends], ends, strict=False)]
    stages = tuple(replace(s, steps=n) for s, n in zip(recipe.stages, counts, strict=True))
    return replace(recipe, stages=stages)


def with_length(recipe: Recipe, length: int) -> Recipe:
    """The same on clips of ``length`` slices, with about as many slices a step."""
    stages = tuple(
        replace(s, length=length, batch=max(1, round(s.batch * s.length / length)))
        for s in recipe.stages
    )
    return replace(recipe, stages=stages)


def with_heads(recipe: Recipe, srpp: bool, bd: bool) -> Recipe:
    """A recipe of SAM2-3dMed without SRPP, or without BD and its branch."""
    heads = replace(
        recipe.heads, srpp=recipe.heads.srpp if srpp else 0.0, bd=recipe.heads.bd if bd else 0.0
    )
    width = recipe.architecture.boundary_dim if bd else 0
    return replace(
        recipe, heads=heads, architecture=replace(recipe.architecture, boundary_dim=width)
    )


def _heads(recipe: Recipe, lengths: Iterable[int]) -> list[Variant]:
    heads = recipe.heads
    if not (heads.srpp and heads.bd):
        raise UserError("The recipe leaves a head out already; give both weights in [heads].")
    usual = recipe.stages[-1].length

    def variant(length: int, srpp: bool, bd: bool) -> Variant:
        parts = [name for name, on in (("srpp", srpp), ("bd", bd)) if on] or ["none"]
        changed = with_heads(with_length(recipe, length), srpp, bd)
        traits = {"SRPP": _YES if srpp else _NO, "BD": _YES if bd else _NO, "D": str(length)}
        return Variant(f"{'+'.join(parts)}-d{length}", changed, traits)

    made = [variant(usual, *on) for on in ((False, False), (True, False), (False, True))]
    return made + [variant(length, True, True) for length in sorted({usual, *lengths})]


def _seeded(variant: Variant, seed: int) -> Variant:
    name = f"{variant.name}-seed{seed}"
    recipe = replace(variant.recipe, seed=seed, output=name)
    return Variant(name, recipe, variant.traits | {"seed": str(seed)})
