"""Going through cases when some of them are bad."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from ..errors import UserError
from .case import CaseError, CaseFiles, LoadedCase
from .dataset import Dataset

OnBad = Literal["stop", "skip"]


def settle_problems(dataset: Dataset, on_bad: OnBad, report: Callable[[str], None]) -> Dataset:
    """Deal with the cases that opening the dataset already found to be bad.

    Args:
        dataset: as opened.
        on_bad: "stop" raises at the first one, "skip" goes on without them.
        report: is told one sentence for each.

    Returns:
        The dataset without problems, so that they are not told twice.

    Raises:
        CaseError: with "stop", if there are any.
    """
    _check_option(on_bad)
    if dataset.problems and on_bad == "stop":
        more = len(dataset.problems) - 1
        rest = f" (and {more} more such cases)." if more else "."
        raise CaseError(dataset.problems[0].rstrip(".") + rest)
    for problem in dataset.problems:
        report(problem)
    return replace(dataset, problems=())


def load_cases(
    dataset: Dataset,
    cases: Iterable[CaseFiles] | None = None,
    *,
    on_bad: OnBad = "stop",
    report: Callable[[str], None] = lambda sentence: None,
    channel: int = 0,
) -> Iterator[LoadedCase]:
    """Load cases one at a time, and stop at bad ones or go on without them.

    The dataset's own problems come first. A case that holds none of the dataset's classes (see
    :meth:`Dataset.select`) is a bad one too.

    Args:
        dataset: what the cases are of.
        cases: some of its cases, as ``split.cases(dataset, "train")``; None takes all.
        on_bad: "stop" raises at the first bad case, "skip" leaves it out.
        report: is told one sentence for each case left out.
        channel: which image of every case.

    Raises:
        CaseError: with "stop", at the first bad case.
        UserError: if no case is left, or ``on_bad`` is unknown.
    """
    settle_problems(dataset, on_bad, report)
    chosen = dataset.cases if cases is None else tuple(cases)
    n_loaded = 0
    for case in chosen:
        try:
            loaded = _load(dataset, case, channel)
        except CaseError as error:
            if on_bad == "stop":
                raise
            report(str(error))
            continue
        n_loaded += 1
        yield loaded
    if not n_loaded:
        raise UserError(
            f"None of the {len(chosen)} cases of {dataset.name} can be used; repair them first."
        )


def _load(dataset: Dataset, case: CaseFiles, channel: int) -> LoadedCase:
    loaded = case.load(channel)
    values = set(dataset.classes.values())
    # Comparing with the few classes wanted is quicker than listing all values again.
    if not any((loaded.labels == value).any() for value in values):
        wanted = ", ".join(f"{name} ({value})" for name, value in dataset.classes.items())
        raise CaseError(f"Case {case.name} ({case.labels}) holds none of the labels {wanted}.")
    return loaded


def _check_option(on_bad: str) -> None:
    if on_bad not in ("stop", "skip"):
        raise UserError(f"Bad cases can be met with 'stop' or 'skip', not '{on_bad}'.")
