"""The report of an evaluation: tables, plots, worst cases, and how to repeat it."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..files import replacing
from .comparison import comparison_parts
from .document import Bullets, Heading, Part, Picture, Table, to_html, to_markdown
from .evaluate import Evaluation
from .plots import box_plot, click_plot
from .results import Row, read_csv, write_csv
from .summary import by_object, click_table, final_rows, main_table, ok_rows
from .worst import worst_montages

_PACKAGES = ("sam2", "torch", "monai", "numpy", "scipy", "SimpleITK")
CSV_NAME = "results.csv"


@dataclass(frozen=True)
class ReportOptions:
    """What goes into a report.

    Attributes:
        command: words of the command line.
        device: where it ran, as shown.
        worst: how many of the worst results of each method are shown as montages.
        shareable_only: show no slice of a case that is somebody's scan.
        against: folder of another report to compare with.
    """

    command: tuple[str, ...] = ()
    device: str = ""
    worst: int = 2
    shareable_only: bool = False
    against: Path | None = None


def write_reports(evaluation: Evaluation, out: Path, options: ReportOptions) -> list[Path]:
    """Write ``results.csv``, ``report.md``, ``report.html``, ``run.json`` and ``plots/``.

    Returns:
        the files that a person looks at first.

    Raises:
        UserError: the other report is none, or a file cannot be written.
    """
    rows = evaluation.rows
    other = None if options.against is None else read_csv(options.against / CSV_NAME)
    plots = out / "plots"
    shutil.rmtree(plots, ignore_errors=True)
    plots.mkdir()
    write_csv(out / CSV_NAME, rows)
    run = describe_run(evaluation, options)
    with replacing(out / "run.json") as temporary:
        temporary.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", "utf-8")
    parts = _parts(evaluation, plots, options, run, other)
    for name, text in (("report.md", to_markdown(parts, out)), ("report.html", to_html(parts))):
        with replacing(out / name) as temporary:
            temporary.write_text(text, "utf-8")
    return [out / "report.md", out / "report.html", out / CSV_NAME]


def check_report(folder: Path) -> None:
    """Raises UserError unless the folder holds a report, before hours are spent."""
    read_csv(folder / CSV_NAME)


def describe_run(evaluation: Evaluation, options: ReportOptions) -> dict[str, object]:
    """What is needed to repeat the evaluation, as plain JSON values."""
    plan = evaluation.plan
    return {
        "command": shlex.join(options.command),
        "versions": {
            "sam2medical3d": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "device": options.device,
        "seed": plan.options.seed,
        "models": [asdict(choice) for choice in plan.methods],
        "plan": {k: v for k, v in asdict(plan).items() if k != "methods"},
        "cases": [f"{case.dataset}/{case.case}" for case in evaluation.cohort.cases],
    }


def _parts(
    evaluation: Evaluation,
    plots: Path,
    options: ReportOptions,
    run: dict,
    other: Sequence[Row] | None,
) -> list[Part]:
    rows, seed = evaluation.rows, evaluation.plan.options.seed
    parts: list[Part] = [Heading("Evaluation", 1), _introduction(evaluation)]
    if evaluation.problems:
        parts += [Heading("Not evaluated"), Bullets(tuple(evaluation.problems))]
    if other is not None:
        parts += comparison_parts(other, rows, str(options.against), seed)
    for dataset in dict.fromkeys(row.dataset for row in rows):
        parts.append(Heading(f"Results: {dataset}"))
        own = [row for row in rows if row.dataset == dataset]
        for label in dict.fromkeys(row.protocol for row in own):
            chosen = ok_rows(row for row in own if row.protocol == label)
            parts.append(Heading(label, 3))
            if not chosen:
                parts.append("No result.")
                continue
            parts.append(main_table(chosen, seed))
            if any(row.round > 1 for row in chosen):
                parts.append(click_table(chosen, seed))
                path = click_plot(plots / f"clicks-{_slug(dataset, label)}.png", chosen, seed)
                parts.append(Picture(path, f"{dataset}, {label}: Dice by clicks, and its growth"))
            parts.append(by_object(chosen))
            path = box_plot(plots / f"boxes-{_slug(dataset, label)}.png", final_rows(chosen))
            parts.append(Picture(path, f"{dataset}, {label}: Dice by object"))
    montages = worst_montages(evaluation, plots, options.worst, options.shareable_only)
    if montages:
        parts += [Heading("Worst results"), *montages]
    if evaluation.skipped:
        parts += [Heading("Skipped"), Bullets(tuple(evaluation.skipped))]
    if evaluation.cohort.notes:
        parts += [Heading("Notes"), Bullets(evaluation.cohort.notes)]
    return [*parts, Heading("How to repeat it"), *_repeat(run)]


def _introduction(evaluation: Evaluation) -> str:
    tolerance = evaluation.plan.tolerance_mm
    n_objects = sum(len(case.objects) for case in evaluation.cohort.cases)
    return (
        f"{len(evaluation.cohort.cases)} cases with {n_objects} objects. Means over objects with "
        "95 % bootstrap intervals over patients. HD95 in millimetres (an empty result counts as "
        f"the volume's diagonal); NSD with a tolerance of {tolerance:g} mm; seconds are those that "
        "the method worked, per object. copy, intensity and prompt only need no learning and are "
        "given the true mask of the prompted slice, whatever the protocol's prompt. Protocols and "
        "metrics: `docs/evaluation.md`."
    )


def _repeat(run: dict) -> list[Part]:
    models = [f"{m['method']}: model {m['model']}, SHA-256 `{m['sha256']}`" for m in run["models"]]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return [
        Bullets((f"`{run['command']}`", *models, f"seed {run['seed']}", versions, run["device"])),
        Table((("option", "value"), *((k, json.dumps(v)) for k, v in run["plan"].items()))),
    ]


def _slug(*words: str) -> str:
    text = "-".join(words).lower()
    return "".join(c if c.isalnum() else "-" for c in text).replace("--", "-").strip("-")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
