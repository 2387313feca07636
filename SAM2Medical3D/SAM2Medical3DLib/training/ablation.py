"""``python -m SAM2Medical3DLib.training.ablation --method METHOD --out FOLDER``: what each part of
a method is worth.

Trains every variant of a recipe (sam2-3dmed: with and without SRPP and BD, on clips of 3, 6 and 12
slices; radsam: with and without noisy masks), segments held-out volumes from the mask of the
object's middle slice, and writes one table. Interrupt it and give the same command again to go on.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ..errors import UserError, clear_sentence
from .case_options import add_case_options, case_settings, count

if TYPE_CHECKING:
    from ..evaluation.gathering import Cohort
    from ..evaluation.plan import MethodChoice
    from ..evaluation.results import Row
    from .recipe import Recipe
    from .variants import Variant

LENGTHS = (3, 6, 12)
_CACHE_BYTES = 64 << 20
_METRICS = (("Dice", "dice", 3), ("IoU", "iou", 3), ("HD95 (mm)", "hd95_mm", 1), ("NSD", "nsd", 3))


@dataclass(frozen=True)
class Contestant:
    """Something that is measured: the weights of a variant, or of what all started from.

    Attributes:
        traits: table columns.
        choice: the method and its weights.
    """

    traits: dict[str, str]
    choice: MethodChoice


def main(arguments: list[str] | None = None) -> int:
    """Run an ablation; returns the exit status (0 done, 2 an error that the user can put right)."""
    options = _parser().parse_args(arguments)
    import torch

    try:
        if options.threads:
            torch.set_num_threads(options.threads)
        table, problems = run(options)
    except UserError as error:
        print(f"error: {clear_sentence(error)}", file=sys.stderr)
        return 2
    print(table)
    for sentence in problems:
        print(f"not measured: {sentence}", file=sys.stderr)
    return 0


def run(options: argparse.Namespace) -> tuple[str, Sequence[str]]:
    """Train, measure and write the table; returns it, and a sentence for all that failed."""
    from ..evaluation.results import write_csv
    from .variants import variants_of

    recipe = _recipe(options)
    seeds = options.seeds or [recipe.seed]
    variants = variants_of(recipe, seeds, options.lengths)
    if options.only:
        variants = [v for v in variants if any(v.name.startswith(name) for name in options.only)]
        if not variants:
            raise UserError(f"No variant's name begins with {' or '.join(options.only)}.")
    options.seed = seeds[0]  # of the split
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {} if options.data is None else case_settings(options)
    cohort = _cohort(options)
    for variant in variants:
        print(f"variant {variant.name}", flush=True)
        train(variant, options, settings)
    contestants = _contestants(recipe, variants, options.out)
    rows, problems = measure(contestants, cohort, options)
    write_csv(options.out / "ablation.csv", rows)
    text = f"{table(contestants, rows)}\n\n{_notes(recipe, cohort)}\n"
    (options.out / "ablation.md").write_text(text, "utf-8")
    return text, problems


def train(variant: Variant, options: argparse.Namespace, settings: dict) -> None:
    """Train a variant in its own folder, or go on there; nothing is done where it is trained."""
    from ..models.device import choose_device
    from .trainer import Trainer

    device = None if options.device == "auto" else choose_device(options.device)
    trainer = Trainer(
        variant.recipe,
        options.out / variant.name,
        device,
        workers=options.workers,
        precision=options.precision,
        **settings,
    )
    if trainer.step < variant.recipe.steps:
        trainer.run()


def measure(
    contestants: Sequence[Contestant], cohort: Cohort, options: argparse.Namespace
) -> tuple[list[Row], Sequence[str]]:
    """The rows of every contestant on every object, and of the methods that need no learning."""
    from ..evaluation.cohort import WorkerOptions, run_here
    from ..evaluation.evaluate import evaluate
    from ..evaluation.plan import Plan

    plan = Plan(tuple(c.choice for c in contestants), (options.protocol,))
    runner = functools.partial(run_here, options=WorkerOptions(plan, options.device, _CACHE_BYTES))
    evaluation = evaluate(cohort, plan, options.out, runner)
    return evaluation.rows, evaluation.problems


def table(contestants: Sequence[Contestant], rows: Iterable[Row]) -> str:
    """Means over objects as Markdown, one line for each contestant on each dataset.

    Where variants differ by their seed alone, a line with mean and standard deviation over the
    seeds follows.
    """
    from ..evaluation.summary import final_rows

    done = [row for row in final_rows(rows) if row.dice is not None]
    datasets = list(dict.fromkeys(row.dataset for row in done))
    columns = list(contestants[-1].traits)
    header = ["set", *columns, "objects", *(title for title, _, _ in _METRICS)]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]

    def line(dataset: str, traits: dict[str, str], count: int, cells: list[str]) -> None:
        words = [dataset, *(traits.get(c, "") for c in columns), str(count), *cells]
        lines.append("| " + " | ".join(words) + " |")

    for dataset in datasets:
        own = [row for row in done if row.dataset == dataset]
        for reference in dict.fromkeys(row.method for row in own if not row.model):
            found = [row for row in own if row.method == reference and not row.model]
            line(f"{dataset}: {reference}", {}, len(found), _cells([found]))
        groups: dict[tuple, list[list[Row]]] = {}
        for c in contestants:
            found = [row for row in own if row.model == c.choice.model_title]
            if not found:
                continue
            line(dataset, c.traits, len(found), _cells([found]))
            key = tuple((k, v) for k, v in c.traits.items() if k != "seed")
            groups.setdefault(key, []).append(found)
        for key, members in groups.items():
            if len(members) > 1:
                traits = dict(key) | {"seed": f"mean of {len(members)}"}
                line(dataset, traits, len(members[0]), _cells(members))
    return "\n".join(lines)


def _cells(members: list[list[Row]]) -> list[str]:
    """Each metric's mean over objects; over several members with the standard deviation."""
    cells = []
    for _, name, digits in _METRICS:
        means = [fmean(getattr(row, name) for row in found) for found in members]
        spread = f" ± {stdev(means):.{digits}f}" if len(means) > 1 else ""
        cells.append(f"{fmean(means):.{digits}f}{spread}")
    return cells


def _contestants(recipe: Recipe, variants: Sequence[Variant], out: Path) -> list[Contestant]:
    from ..evaluation.plan import choose_method

    found = []
    initial, a = recipe.initial, recipe.architecture
    if initial.model and not initial.parts:
        start = choose_method(recipe.method, initial.model, a.config or None, a.image_size)
        first = next(iter(variants[0].traits))
        found.append(Contestant({first: "before training"}, start))
    for variant in variants:
        weights = out / variant.name / f"{variant.recipe.output}.safetensors"
        found.append(Contestant(dict(variant.traits), choose_method(recipe.method, str(weights))))
    return found


def _cohort(options: argparse.Namespace) -> Cohort:
    """The held-out part of the training data, and the sets named beside it."""
    from ..evaluation.gathering import Cohort, Selection, gather

    parts = []
    if options.data is not None:
        selection = Selection(
            labels=tuple(options.labels or ()),
            channel=options.channel,
            split=options.out / "split.json",
        )
        parts.append(gather([str(options.data)], selection))
    names = options.cases or ([] if parts else ["phantom:1"])
    if names:
        parts.append(gather(names, Selection()))
    return Cohort(
        tuple(case for part in parts for case in part.cases),
        tuple(text for part in parts for text in part.problems),
        tuple(text for part in parts for text in part.notes),
    )


def _recipe(options: argparse.Namespace) -> Recipe:
    from .recipe import Recipe
    from .variants import with_steps

    path = options.recipe
    if path is None:
        path = Path(__file__).with_name("recipes") / f"{options.method}-ablation.toml"
    recipe = Recipe.read(path)
    if recipe.method != options.method:
        raise UserError(f"The recipe '{path}' is for {recipe.method}, not for {options.method}.")
    initial = recipe.initial
    if options.start_from:
        model = "" if options.start_from == "nothing" else options.start_from
        initial = replace(initial, model=model)
    if options.frozen is not None:
        initial = replace(initial, frozen=tuple(options.frozen))
    recipe = replace(recipe, initial=initial)
    return with_steps(recipe, options.steps) if options.steps else recipe


def _notes(recipe: Recipe, cohort: Cohort) -> str:
    initial = recipe.initial
    start = initial.model or "random weights"
    frozen = ", ".join(initial.frozen) or "nothing"
    return " ".join(
        [
            f"{recipe.steps} steps each, from {start}; frozen: {frozen}.",
            "Means over objects; an object of which nothing was found counts with the volume's "
            "diagonal as HD95.",
            *cohort.notes,
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--method", required=True, choices=("sam2-3dmed", "radsam"))
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--recipe", type=Path, help="instead of the method's ablation recipe")
    parser.add_argument("--steps", type=count, help="of each run, instead of the recipe's")
    parser.add_argument("--seeds", type=count, nargs="+", help="one run each (the recipe's)")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="D",
                        help="slices of a clip, for sam2-3dmed (3 6 12)")  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="NAME", help="variants that begin so")
    parser.add_argument("--start-from", help="a model's name or a checkpoint, instead of the "
                        "recipe's; 'nothing' for random weights")  # fmt: skip
    parser.add_argument("--frozen", nargs="*", metavar="PREFIX",
                        help="tensors that are not trained, instead of the recipe's")  # fmt: skip
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=count, default=1, help="processes that make clips")
    parser.add_argument("--threads", type=count, help="torch threads (default: all cores)")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp16", "no"))
    parser.add_argument("--cases", nargs="+", metavar="SET", help="what to measure on: folders, "
                        "phantom:COUNT, development:FOLDER (default: the held-out cases of "
                        "--data, or phantom:1)")  # fmt: skip
    parser.add_argument("--protocol", default="supervised", help="how to measure (supervised)")
    add_case_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
