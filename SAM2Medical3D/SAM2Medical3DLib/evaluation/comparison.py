"""Two reports side by side: paired differences of the same objects."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from .document import Heading, Part, Table
from .results import Row
from .statistics import compare
from .summary import final_rows, ok_rows

_METRICS = (("dice", "Dice", 3), ("iou", "IoU", 3), ("hd95_mm", "HD95 (mm)", 2), ("nsd", "NSD", 3))


def comparison_parts(
    before: Sequence[Row], after: Sequence[Row], title: str, seed: int
) -> list[Part]:
    """Differences of the last rounds, this report minus the other one.

    Pairs are the same dataset, case, object, protocol, prompt and method. Where the two reports
    have one method each, and not the same, these are compared.

    Raises:
        UserError: nothing is in both.
    """
    old, new = final_rows(ok_rows(before)), final_rows(ok_rows(after))
    old_methods, new_methods = _methods(old), _methods(new)
    renamed = {}
    if len(old_methods) == len(new_methods) == 1 and old_methods != new_methods:
        renamed = {old_methods[0]: new_methods[0]}
    pairs: dict[tuple[str, str, str], list[tuple[Row, Row]]] = {}
    known = {_key(row, renamed): row for row in old if row.model}
    for row in new:
        other = known.get(_key(row, {}))
        if row.model and other is not None:
            pairs.setdefault((row.protocol, row.prompt, row.method), []).append((other, row))
    if not pairs:
        raise UserError(f"{title} has no object, protocol and method in common with this report.")
    lines = [
        (
            "protocol", "prompt", "method", "models", "metric", "objects", "other", "this",
            "difference", "better / worse", "p",
        )
    ]  # fmt: skip
    for (protocol, prompt, method), found in pairs.items():
        patients = [row.patient for _, row in found]
        first, second = found[0]
        was = "" if first.method == method else f"{first.method} "
        models = f"{was}{first.model} → {second.model}"
        for name, shown, digits in _METRICS:
            result = compare(
                [getattr(row, name) for row, _ in found],
                [getattr(row, name) for _, row in found],
                patients,
                seed,
            )
            better, worse = result.better, result.worse
            if name == "hd95_mm":
                better, worse = worse, better
            lines.append(
                (
                    protocol, prompt, method, models, shown, str(result.pairs),
                    f"{result.before:.{digits}f}", f"{result.after:.{digits}f}",
                    result.difference.text(digits), f"{better} / {worse}",
                    "" if result.p is None else f"{result.p:.3g}",
                )
            )  # fmt: skip
    return [
        Heading(f"Against {title}"),
        "This report minus the other one, object by object: mean difference with its 95 % "
        "bootstrap interval over patients, and the p value of a two-sided Wilcoxon signed-rank "
        "test over objects (not corrected for several comparisons; objects of one patient are not "
        "independent). For HD95 less is better.",
        Table(tuple(lines)),
    ]


def _methods(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows if row.model))


def _key(row: Row, renamed: dict[str, str]) -> tuple[str, ...]:
    method = renamed.get(row.method, row.method)
    return (row.dataset, row.case, row.object, row.protocol, row.prompt, method)
