"""``python -m SAM2Medical3DLib.training RECIPE --out FOLDER``: train, or go on where it stopped.

On several GPUs or machines: ``accelerate launch --num_processes N -m SAM2Medical3DLib.training …``.
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError, clear_sentence
from .case_options import add_case_options, case_settings, count

if TYPE_CHECKING:
    from .recipe import Recipe
    from .trainer import Trainer


def main(arguments: list[str] | None = None) -> int:
    """Run a recipe; returns the exit status."""
    options = _parser().parse_args(arguments)
    import torch

    try:
        if options.threads:
            torch.set_num_threads(options.threads)
        recipe = _recipe(options)
        settings = {} if options.data is None else case_settings(options)
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
        signal.signal(signal.SIGINT, lambda *_: _interrupt(trainer))
        trainer.run(options.until)
    except UserError as error:
        print(f"error: {clear_sentence(error)}", file=sys.stderr)
        return 2
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if trainer.interrupted:
        print(f"Interrupted at step {trainer.step}; the same command goes on from there.")
        return 130
    if trainer.stopped_early:
        print(f"Stopped at step {trainer.step}: no better validation Dice since step "
              f"{trainer.best_step} ({trainer.best_dice:.3f}).")  # fmt: skip
    return 0


def _interrupt(trainer: Trainer) -> None:
    print("Ending after this step; press Ctrl-C again to give the step up.", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trainer.interrupt()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="TOML file, or the name of one that comes with the project: "
                        + ", ".join(_packaged()))  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes there")
    parser.add_argument("--device", default="auto", help="auto (what there is) or cpu")
    parser.add_argument("--workers", type=count, default=1, help="processes that make clips")
    parser.add_argument("--threads", type=count, help="torch threads (default: all cores)")
    parser.add_argument("--until", type=count, help="stop after this step")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp16", "no"))
    parser.add_argument("--accumulate", type=count, default=1, help="parts of a step's batch")
    parser.add_argument("--seed", type=count, help="instead of the recipe's")
    parser.add_argument("--patience", type=count, help="end after so many validations without "
                        "a better Dice, and keep the best weights (the recipe's)")  # fmt: skip
    parser.add_argument("--start-from", help="a model's name or a checkpoint, instead of the "
                        "recipe's; 'nothing' for random weights")  # fmt: skip
    parser.add_argument("--frozen", nargs="*", metavar="PREFIX",
                        help="tensors that are not trained, instead of the recipe's, such as "
                        "image_encoder. or image_encoder.trunk.")  # fmt: skip
    parser.add_argument("--without-noisy-masks", action="store_true",
                        help="points and boxes only (RadSAM's ablation)")  # fmt: skip
    add_case_options(parser)
    return parser


def _recipes() -> Path:
    return Path(__file__).with_name("recipes")


def _packaged() -> list[str]:
    return sorted(path.stem for path in _recipes().glob("*.toml"))


def _recipe(options: argparse.Namespace) -> Recipe:
    from .recipe import Recipe

    packaged = _recipes() / f"{options.recipe}.toml"
    path = packaged if packaged.is_file() else Path(options.recipe)
    if not path.is_file():
        raise UserError(
            f"There is no recipe '{path}'; give a TOML file, or one of {', '.join(_packaged())}."
        )
    recipe = Recipe.read(path)
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.patience is not None:
        validation = replace(recipe.validation, patience=options.patience)
        recipe = replace(recipe, validation=validation)
    if options.start_from:
        model = "" if options.start_from == "nothing" else options.start_from
        recipe = replace(recipe, initial=replace(recipe.initial, model=model))
    if options.frozen is not None:
        initial = replace(recipe.initial, frozen=tuple(options.frozen))
        recipe = replace(recipe, initial=initial)
    return recipe.without_noisy_masks() if options.without_noisy_masks else recipe


if __name__ == "__main__":
    sys.exit(main())
