"""Where methods fail worst, as slices with both contours."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..colours import Colour
from ..volume import SliceStack
from .document import Picture
from .evaluate import Evaluation, Result
from .packing import prompts_from
from .tasks import CaseTask, mask_of

_COLOURS: dict[int, Colour] = {1: (0.34, 0.80, 0.42), 2: (0.95, 0.35, 0.25)}


def worst_montages(
    evaluation: Evaluation, folder: Path, count: int, shareable_only: bool
) -> list[Picture]:
    """A montage of the ``count`` worst results of every method, each of another object.

    Args:
        folder: where the pictures go.
        shareable_only: leave out cases that are somebody's scan.
    """
    from ..preview import save_preview

    pictures = []
    loaded: dict[CaseTask, tuple] = {}
    for method in dict.fromkeys(choice.method for choice in evaluation.plan.methods):
        for number, result in enumerate(_worst(evaluation, method, count, shareable_only), start=1):
            case = result.case
            if case not in loaded:
                loaded.clear()  # one volume in memory is enough
                data = case.load()
                loaded[case] = (data, SliceStack(data.volume, evaluation.plan.plane))
            data, stack = loaded[case]
            truth = stack.geometry.to_stack(mask_of(data.labels, dict(case.objects)[result.name]))
            kept = evaluation.kept(result)
            row = result.rows[-1]
            path = save_preview(
                folder / f"worst-{method}-{number}.png",
                stack,
                {1: truth, 2: kept.mask},
                prompts_from(kept.prompts, truth),
                {1: "reference", 2: method},
                _COLOURS,
            )
            title = (
                f"{method}, {row.protocol}, {row.prompt}: {case.case}, {row.object}; Dice "
                f"{row.dice:.3f}, HD95 {row.hd95_mm:.1f} mm"
            )
            pictures.append(Picture(_as_jpeg(path), title))
    return pictures


def _as_jpeg(path: Path) -> Path:
    """A picture as JPEG, which takes a fifth of the space."""
    smaller = path.with_suffix(".jpg")
    with Image.open(path) as picture:
        picture.convert("RGB").save(smaller, quality=85)
    path.unlink()
    return smaller


def _worst(evaluation: Evaluation, method: str, count: int, shareable_only: bool) -> list[Result]:
    found = [
        result
        for result in evaluation.results
        if result.job.choice is not None
        and result.job.method == method
        and result.rows[-1].dice is not None
        and (result.case.shareable or not shareable_only)
    ]
    # The order of the evaluation decides between equals, so that a report can be repeated.
    found.sort(key=lambda result: result.rows[-1].dice)
    chosen: dict[tuple[str, str, str], Result] = {}
    for result in found:
        if len(chosen) < count:
            chosen.setdefault((result.case.dataset, result.case.case, result.name), result)
    return list(chosen.values())
