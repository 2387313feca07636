"""``python -m SAM2Medical3DLib.training RECIPE --out FOLDER``: train, or go on where it stopped.

On several GPUs or machines: ``accelerate launch --num_processes N -m SAM2Medical3DLib.training …``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from .recipe import Recipe

_CASE_STREAMS = 4  # a real volume takes up to some hundred MB, a synthetic one 11


def main(arguments: list[str] | None = None) -> int:
    """Run a recipe; returns the exit status."""
    options = _parser().parse_args(arguments)
    import torch

    try:
        if options.threads:
            torch.set_num_threads(options.threads)
        recipe = _recipe(options)
        settings = {} if options.data is None else _case_settings(options)
        from ..models.device import choose_device
        from .trainer import Trainer

        trainer = Trainer(
            recipe,
            options.out,
            None if options.device == "auto" else choose_device(options.device),
            workers=options.workers,
            precision=options.precision,
            accumulate=options.accumulate,
            **settings,
        )
        trainer.run(options.until)
    except UserError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 2
    if trainer.stopped_early:
        print(f"Stopped at step {trainer.step}: no better validation Dice since step "
              f"{trainer.best_step} ({trainer.best_dice:.3f}).")  # fmt: skip
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="TOML file, or the name of one that comes with the project: "
                        + ", ".join(sorted(p.stem for p in _recipes().glob("*.toml"))))  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes there")
    parser.add_argument("--device", default="auto", help="auto (what there is) or cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that make clips")
    parser.add_argument("--threads", type=int, help="torch threads (default: all cores)")
    parser.add_argument("--until", type=int, help="stop after this step")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp16", "no"))
    parser.add_argument("--accumulate", type=int, default=1, help="parts of a step's batch")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--start-from", help="a model's name or a checkpoint, instead of the "
                        "recipe's; 'nothing' for random weights")  # fmt: skip
    parser.add_argument("--without-noisy-masks", action="store_true",
                        help="points and boxes only (RadSAM's ablation)")  # fmt: skip
    data = parser.add_argument_group("labelled cases instead of synthetic volumes")
    data.add_argument("--data", type=Path, help="MSD, nnU-Net, AMOS22, BraTS2020, pairs or npz")
    data.add_argument("--labels", nargs="+", help="classes to learn, by name or value (all)")
    data.add_argument("--on-bad-case", default="stop", choices=("stop", "skip"))
    return parser


def _recipes() -> Path:
    return Path(__file__).with_name("recipes")


def _recipe(options: argparse.Namespace) -> Recipe:
    from .recipe import Recipe

    packaged = _recipes() / f"{options.recipe}.toml"
    recipe = Recipe.read(packaged if packaged.is_file() else Path(options.recipe))
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.start_from:
        model = "" if options.start_from == "nothing" else options.start_from
        recipe = replace(recipe, initial=replace(recipe.initial, model=model))
    return recipe.without_noisy_masks() if options.without_noisy_masks else recipe


def _case_settings(options: argparse.Namespace) -> dict:
    """Sources of training and validation clips; the split is written beside the run."""
    from ..datasets import open_dataset, read_split, split_by_patient, write_split
    from .sources import CaseSources

    dataset = open_dataset(options.data).select(options.labels)
    skip = options.on_bad_case == "skip"
    for problem in dataset.problems:
        if not skip:
            raise UserError(f"{problem} (--on-bad-case skip goes on without it.)")
        print(f"skipped: {problem}")
    path = options.out / "split.json"
    if path.is_file():
        split = read_split(path, dataset)
    else:
        split = split_by_patient(dataset, seed=0 if options.seed is None else options.seed)
        options.out.mkdir(parents=True, exist_ok=True)
        write_split(path, split)
    sources = {
        name: CaseSources.of(dataset, split.cases(dataset, part), skip_bad=skip)
        for name, part in (("sources", "train"), ("validation_sources", "validation"))
    }
    return sources | {"streams": _CASE_STREAMS}


def _sentence(error: UserError) -> str:
    """The message of an error, also when a clip worker's traceback came with it."""
    last = str(error).strip().splitlines()[-1]
    return last.split("Error: ", 1)[-1]


if __name__ == "__main__":
    sys.exit(main())
