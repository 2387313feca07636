"""``python -m SAM2Medical3DLib.evaluation``: Dice of a model on the real development volumes."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..prompts import Prompts, SlicePrompt
from ..propagation import Propagator, collect
from .baselines import copy_slice, grow_by_intensity
from .cases import real_cases
from .clicks import next_click
from .metrics import dice
from .objects import ObjectCase
from .plan import choose_method
from .protocols.base import first_prompt

PROMPT_KINDS = ("mask", "box", "click", "5 clicks")
COLUMNS = ("copy", "intensity", *PROMPT_KINDS, "2D box", "2D click")


def central_prompt(propagator: Propagator, case: ObjectCase, kind: str) -> SlicePrompt:
    """What a simulated user gives on the central slice: mask, box, click or 5 clicks."""
    truth = case.truth[case.central]
    prompt = first_prompt(truth, "point" if "click" in kind else kind)
    for _ in range(4 if kind == "5 clicks" else 0):
        shown = propagator.predict_slice(
            case.stack, Prompts.single(case.central, prompt), case.central
        )
        click = next_click(truth, shown.objects[1].mask)
        if click is None:
            break
        prompt = SlicePrompt((*prompt.points, click))
    return prompt


def measure(propagator: Propagator, case: ObjectCase, kinds: Iterable[str]) -> dict[str, float]:
    """Dice per column, and seconds per propagated slice."""
    row = {
        "copy": dice(copy_slice(case), case.truth),
        "intensity": dice(grow_by_intensity(case), case.truth),
    }
    for kind in kinds:
        prompts = Prompts.single(case.central, central_prompt(propagator, case, kind))
        if kind in ("box", "click"):
            shown = propagator.predict_slice(case.stack, prompts, case.central).objects[1]
            row[f"2D {kind}"] = dice(shown.mask, case.truth[case.central])
        begun = time.perf_counter()
        found = collect(propagator.propagate(case.stack, prompts), case.stack.geometry)[1]
        row["seconds per slice"] = (time.perf_counter() - begun) / len(case.stack)
        row[kind] = dice(found, case.truth)
    return row


def main(arguments: list[str] | None = None) -> int:
    """Print a Markdown table; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.evaluation", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", help="default: the method's own")
    parser.add_argument("--method", default="sam2")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--plane", default="axial", choices=("axial", "coronal", "sagittal"))
    parser.add_argument("--only", default="", help="cases with this in their title")
    parser.add_argument("--field-of-view", default="model", choices=("model", "auto", "slice"))
    parser.add_argument("--appearance", type=float, help="weight of appearance (default: model's)")
    parser.add_argument("--prompts", nargs="+", default=PROMPT_KINDS, choices=PROMPT_KINDS)
    options = parser.parse_args(arguments)
    from ..models.registry import load_model
    from ..propagation.registry import create_propagator

    try:
        choice = choose_method(options.method, options.model)
        model = load_model(choice.model, device=options.device)
        propagator = create_propagator(
            options.method,
            model,
            field_of_view=options.field_of_view,
            appearance=options.appearance,
        )
        rows: list[dict[str, float]] = []
        print("| case | " + " | ".join(COLUMNS) + " |")
        print("| --- |" + " --- |" * len(COLUMNS))
        for case in real_cases(options.data, options.plane):
            if options.only in case.title:
                rows.append(measure(propagator, case, options.prompts))
                _print(case.title, rows[-1])
        if not rows:
            raise UserError(f"No case has '{options.only}' in its title.")
        means = {k: float(np.mean([r[k] for r in rows if k in r])) for k in rows[0]}
        _print("**mean**", means)
        best = float(np.mean([max(r["copy"], r["intensity"]) for r in rows]))
        print(f"\nThe better untrained method, row by row, averages {best:.3f}.")
        if "mask" in means:
            worst = min(r["mask"] - max(r["copy"], r["intensity"]) for r in rows)
            print(f"From the mask, the largest shortfall of a row against it is {-worst:.3f}.")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _print(name: str, row: dict[str, float]) -> None:
    cells = [f"{row[c]:.3f}" if c in row else "" for c in COLUMNS]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
