"""Plots of results as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import replacing
from .results import Row
from .statistics import mean_interval
from .summary import by_round, final_rows, groups

# Told apart by colour-blind eyes (after Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_DPI = 80


def click_plot(path: Path, rows: Sequence[Row], seed: int) -> Path:
    """Dice against rounds with intervals, references as lines, and growth per round below."""
    figure, (top, bottom) = _figure(7.5, 6.5, 2, heights=(2, 1))
    lines = by_round(rows)
    width = 0.8 / max(len(lines), 1)
    for n, ((method, _, _), rounds) in enumerate(lines.items()):
        numbers = list(rounds)
        means = [
            mean_interval([r.dice for r in found], [r.patient for r in found], seed)
            for found in rounds.values()
        ]
        values = [mean.value for mean in means]
        colour = _COLOURS[n % len(_COLOURS)]
        top.plot(numbers, values, marker="o", color=colour, label=method)
        if means[0].low is not None:
            low, high = [m.low for m in means], [m.high for m in means]
            top.fill_between(numbers, low, high, color=colour, alpha=0.15, linewidth=0)
        growth = [after - before for before, after in zip(values, values[1:], strict=False)]
        places = [number + (n - (len(lines) - 1) / 2) * width for number in numbers[1:]]
        bottom.bar(places, growth, width, color=colour)
    singles = [g for g in groups(rows).items() if g[0] not in lines]
    for n, ((method, _, _), found) in enumerate(singles):
        value = sum(row.dice for row in found) / len(found)
        style = ("--", ":", "-.")[n % 3]
        top.axhline(value, color="#666666", linestyle=style, linewidth=1, label=method)
    top.set_ylabel("mean Dice")
    top.set_ylim(0, 1)
    figure.legend(loc="outside upper center", fontsize=8, ncols=6)
    bottom.axhline(0, color="#666666", linewidth=0.8)
    bottom.set_ylabel("growth")
    bottom.set_xlabel("round (one click each)")
    for panel in (top, bottom):
        panel.set_xticks(numbers)
        panel.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
        panel.grid(axis="y", alpha=0.3)
    return _save(figure, path)


def box_plot(path: Path, rows: Sequence[Row]) -> Path:
    """Dice by class of object, a box for each method; one panel for each kind of prompt."""
    found = groups(final_rows(rows))
    prompts = list(dict.fromkeys(prompt for _, model, prompt in found if model)) or [""]
    names = list(dict.fromkeys(row.object for row in rows))
    figure, panels = _figure(max(7.5, 0.9 * len(names) + 2), 3.2 * len(prompts), len(prompts))
    for panel, prompt in zip(panels, prompts, strict=True):
        shown = {g: r for g, r in found.items() if not g[1] or g[2] == prompt}
        width = 0.8 / len(shown)
        for n, ((method, _, _), members) in enumerate(shown.items()):
            values = [[r.dice for r in members if r.object == name] for name in names]
            places = [i + (n - (len(shown) - 1) / 2) * width for i in range(len(names))]
            kept = [(v, p) for v, p in zip(values, places, strict=True) if v]
            colour = _COLOURS[n % len(_COLOURS)]
            boxes = panel.boxplot(
                [v for v, _ in kept],
                positions=[p for _, p in kept],
                widths=width * 0.85,
                patch_artist=True,
                showfliers=False,
                medianprops={"color": "black"},
            )
            for box in boxes["boxes"]:
                box.set(facecolor=colour, alpha=0.5)
            for values_here, place in kept:
                panel.plot([place] * len(values_here), values_here, ".", color=colour, markersize=6)
            panel.plot([], [], "s", color=colour, alpha=0.6, label=method)
        panel.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        panel.set_xlim(-0.6, len(names) - 0.4)
        panel.set_ylim(-0.02, 1.02)
        panel.set_ylabel(f"Dice ({prompt})" if prompt else "Dice")
        panel.grid(axis="y", alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", fontsize=8, ncols=6)
    return _save(figure, path)


def _figure(width: float, height: float, n_panels: int, heights: Sequence[float] | None = None):
    """A figure that no window shows, and its panels from top to bottom."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    ratios = None if heights is None else {"height_ratios": heights}
    panels = figure.subplots(n_panels, 1, squeeze=False, gridspec_kw=ratios)
    return figure, list(panels[:, 0])


def _save(figure, path: Path) -> Path:
    with replacing(path) as temporary:
        # Without a date or version the same results make the same file.
        figure.savefig(temporary, metadata={"Software": None})
    return path
