"""``python -m SAM2Medical3DLib.training RECIPE --out FOLDER``: train, or go on where it stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run a recipe; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training", description=__doc__
    )
    parser.add_argument("recipe", help="TOML file, or 'bundled' for the bundled model's")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumes there")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes that synthesise clips")
    parser.add_argument("--threads", type=int, help="torch threads (default: all cores)")
    parser.add_argument("--until", type=int, help="stop after this step")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 autocast")
    options = parser.parse_args(arguments)
    import torch

    from ..models.device import choose_device
    from .recipe import Recipe
    from .trainer import Trainer

    packaged = Path(__file__).with_name("recipes") / f"{options.recipe}.toml"
    try:
        if options.threads:
            torch.set_num_threads(options.threads)
        recipe = Recipe.read(packaged if packaged.is_file() else Path(options.recipe))
        trainer = Trainer(
            recipe,
            options.out,
            choose_device(options.device),
            workers=options.workers,
            bfloat16=not options.float32,
        )
        trainer.run(options.until)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
