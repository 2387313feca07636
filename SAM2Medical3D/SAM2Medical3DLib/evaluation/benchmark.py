"""``python -m SAM2Medical3DLib.evaluation.benchmark``: memory and time of a propagation.

Each figure is taken in a process of its own. Memory is what two runs add to the volume: the result
mask, the embedding cache and the memory bank. Time is a ratio to the official video predictor with
the same weights on the same frames, for a first run and for a second one on the same volume.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..geometry import Grid, Plane
from ..prompts import Prompts, SlicePrompt
from ..propagation import Span
from ..volume import IntensityMapping, SliceStack, Volume

SIDE = 256
CACHE_MB = 64


def moving_disc(n_slices: int) -> tuple[SliceStack, np.ndarray]:
    """A disc that wanders through noise, and its mask on the middle slice."""
    rng = np.random.default_rng(0)
    array = rng.integers(60, 90, (n_slices, SIDE, SIDE), dtype=np.uint8)
    rows, cols = np.mgrid[:SIDE, :SIDE]
    masks = {}
    for n in range(n_slices):
        row, col = SIDE / 2 + 20 * np.sin(n / 20), SIDE / 2 + 20 * np.cos(n / 15)
        disc = np.hypot(rows - row, cols - col) < 25
        array[n][disc] += 70
        if n == n_slices // 2:
            masks[n] = disc
    grid = Grid(array.shape[::-1], np.diag([-1.0, -1.0, 1.0, 1.0]))
    stack = SliceStack(Volume(array, grid), Plane.AXIAL, IntensityMapping(0, 255))
    return stack, masks[n_slices // 2]


def run_ours(n_slices: int, model_name: str) -> dict[str, float]:
    """Seconds and peak memory of one propagation of the middle slice's mask."""
    from ..models.registry import load_model
    from ..propagation.sam2 import Sam2Propagator

    model = load_model(model_name, device="cpu")
    stack, mask = moving_disc(n_slices)
    propagator = Sam2Propagator(model, CACHE_MB << 20, field_of_view="slice")
    prompts = Prompts.single(n_slices // 2, SlicePrompt(mask=mask))
    written = np.zeros(stack.shape, bool)
    list(propagator.propagate(stack, prompts, _near(n_slices // 2)))  # load libraries and code
    before = _peak()

    def work() -> None:
        for result in propagator.propagate(stack, prompts):
            written[result.index] = result.objects[1].mask

    return _timed(work, before)


def run_official(n_slices: int, model_name: str) -> dict[str, float]:
    """The same with ``SAM2VideoPredictor`` from a folder of JPEG files, which it needs."""
    from PIL import Image
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    from ..models.registry import load_model

    predictor = load_model(model_name, device="cpu").network
    predictor.__class__ = SAM2VideoPredictor
    predictor.fill_hole_area = 0
    predictor.non_overlap_masks = predictor.clear_non_cond_mem_around_input = False
    predictor.add_all_frames_to_correct_as_cond = False
    stack, mask = moving_disc(n_slices)
    written = np.zeros(stack.shape, bool)
    before = _peak()

    states: list[dict] = []

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            if states:
                predictor.reset_state(states[0])
            else:
                for n in range(n_slices):
                    Image.fromarray(stack.frame(n)).save(Path(folder) / f"{n:05}.jpg", quality=95)
                states.append(predictor.init_state(folder))
            state = states[0]
            predictor.add_new_mask(state, n_slices // 2, 1, mask)
            for reverse in (False, True):
                for n, _, logits in predictor.propagate_in_video(state, reverse=reverse):
                    written[n] = logits[0, 0].numpy() > 0

    return _timed(work, before)


def _near(middle: int) -> Span:
    return Span(first=middle, last=middle + 1)


def _timed(work: Callable[[], None], before: float) -> dict[str, float]:
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return {"first": seconds[0], "second": seconds[1], "grown_mb": _peak() - before}


def _peak() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> int:
    """Print a Markdown table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs="+", default=[60, 240, 480])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--only", choices=("ours", "official"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        run = {"ours": run_ours, "official": run_official}[options.only]
        print(json.dumps(run(options.slices[0], options.model)))
        return 0
    print(f"Embedding cache {CACHE_MB} MB; {SIDE}x{SIDE} slices; model {options.model}, CPU.\n")
    print("| slices | memory, ours (MB) | memory, official (MB) | first run | second run |")
    print("| --- | --- | --- | --- | --- |")
    for n in options.slices:
        found = {}
        for name in ("ours", "official"):
            command = [sys.executable, "-m", __spec__.name, "--only", name]
            command += ["--slices", str(n), "--model", options.model]
            found[name] = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout
            )
        ours, official = found["ours"], found["official"]
        ratios = [f"{ours[run] / official[run]:.2f}" for run in ("first", "second")]
        memory = [f"{one['grown_mb']:.0f}" for one in (ours, official)]
        print(f"| {n} | {' | '.join(memory + ratios)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
