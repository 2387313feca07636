"""Rows summarised in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .document import Table
from .results import Row
from .statistics import mean_interval

Group = tuple[str, str, str]  # method, model, prompt


def ok_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows with a result."""
    return [row for row in rows if row.dice is not None]


def groups(rows: Iterable[Row]) -> dict[Group, list[Row]]:
    """Rows by method, model and prompt, in order of appearance; methods before references."""
    found: dict[Group, list[Row]] = {}
    for row in rows:
        found.setdefault((row.method, row.model, row.prompt), []).append(row)
    return dict(sorted(found.items(), key=lambda item: not item[0][1]))


def final_rows(rows: Iterable[Row]) -> list[Row]:
    """Of every object and group the row of the last round."""
    last: dict[tuple, Row] = {}
    for row in rows:
        key = (row.dataset, row.case, row.object, row.method, row.model, row.protocol, row.prompt)
        if key not in last or row.round >= last[key].round:
            last[key] = row
    return list(last.values())


def main_table(rows: Sequence[Row], seed: int) -> Table:
    """Means with intervals of the last round, one line for each group."""
    header = (
        "method", "model", "prompt", "objects", "Dice", "IoU", "HD95 (mm)", "NSD", "empty",
        "interactions", "seconds",
    )  # fmt: skip
    lines = [header]
    for (method, model, prompt), found in groups(final_rows(rows)).items():
        patients = [row.patient for row in found]
        means = [
            mean_interval([getattr(row, name) for row in found], patients, seed).text(digits)
            for name, digits in (("dice", 3), ("iou", 3), ("hd95_mm", 1), ("nsd", 3))
        ]
        interactions = sum(row.interactions for row in found) / len(found)
        times = [row.seconds for row in found if row.seconds is not None]
        seconds = f"{sum(times) / len(times):.1f}" if times else ""
        lines.append(
            (
                method, model, prompt, str(len(found)), *means,
                str(sum(row.empty for row in found)), f"{interactions:.1f}", seconds,
            )
        )  # fmt: skip
    return Table(tuple(lines))


def by_round(rows: Sequence[Row]) -> dict[Group, dict[int, list[Row]]]:
    """Rows of groups that have several rounds, by round."""
    found: dict[Group, dict[int, list[Row]]] = {}
    for group, members in groups(rows).items():
        rounds: dict[int, list[Row]] = {}
        for row in members:
            rounds.setdefault(row.round, []).append(row)
        if len(rounds) > 1:
            found[group] = dict(sorted(rounds.items()))
    return found


def click_table(rows: Sequence[Row], seed: int) -> Table:
    """Mean Dice after every round, with its growth."""
    lines = [("method", "round", "clicks", "Dice", "growth")]
    for (method, _model, _prompt), rounds in by_round(rows).items():
        before = None
        for number, found in rounds.items():
            mean = mean_interval([r.dice for r in found], [r.patient for r in found], seed)
            clicks = sum(row.clicks for row in found) / len(found)
            growth = "" if before is None else f"{mean.value - before:+.3f}"
            lines.append((f"{method}", str(number), f"{clicks:.1f}", mean.text(), growth))
            before = mean.value
    return Table(tuple(lines))


def by_object(rows: Sequence[Row]) -> Table:
    """Mean Dice of the last round, one line for each class of object."""
    found = groups(final_rows(rows))
    titles = [f"{method}, {prompt}" if model else method for method, model, prompt in found]
    lines = [("object", "cases", *titles)]
    for name in dict.fromkeys(row.object for row in rows):
        cells, n_cases = [], 0
        for members in found.values():
            values = [row.dice for row in members if row.object == name]
            n_cases = max(n_cases, len(values))
            cells.append(f"{sum(values) / len(values):.3f}" if values else "")
        lines.append((name, str(n_cases), *cells))
    return Table(tuple(lines))
