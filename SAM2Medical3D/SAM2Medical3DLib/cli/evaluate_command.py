"""``evaluate``: from typed options to a report of published protocols on labelled cases."""

from __future__ import annotations

import argparse
import functools
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .network_options import add_network_options, positive

if TYPE_CHECKING:
    from ..evaluation.evaluate import Runner
    from ..evaluation.plan import MethodChoice, Plan

SOME_FAILED = 3

_EPILOG = """\
cases: a folder in the layout of the Medical Segmentation Decathlon, nnU-Net, AMOS22 or BraTS2020, a
folder of image and label pairs, of one folder for each case, or of .npz files; or 'phantom:COUNT',
computed abdomens with ten structures.

protocols: shen2024-1mask, shen2024-5clicks, radsam-single-prompt, radsam-edit, supervised, all.

Interrupt it and give the same command again to go on. Exit status: 0 all was evaluated, 3 some
cases could not be evaluated (the report says which and why), 2 nothing could be done.

examples:
  sam2medical3d evaluate --cases Task09_Spleen --protocol shen2024-1mask --out spleen
  sam2medical3d evaluate --cases amos22 --protocol radsam-edit --method radsam --labels liver \\
      --out edit --against earlier
  sam2medical3d evaluate --cases Task07_Pancreas --split run/split.json --protocol supervised \\
      --model run/best.safetensors --ray --out pancreas
"""


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add ``evaluate`` to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="evaluate methods and models on labelled cases by published protocols",
        description="Segment labelled cases as the published protocols prompt them, and report "
        "Dice, IoU, HD95, normalised surface Dice, interactions and seconds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cases", nargs="+", required=True, metavar="DIR", help="folders of labelled cases"
    )
    parser.add_argument(
        "--protocol", nargs="+", required=True, metavar="NAME", help="one or several, or all"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the report"
    )
    _add_case_options(parser)
    _add_protocol_options(parser)
    _add_method_options(parser)
    report = parser.add_argument_group("report")
    report.add_argument(
        "--against", type=Path, metavar="DIR", help="folder of another report to compare with"
    )
    report.add_argument(
        "--worst", type=int, default=2, metavar="N",
        help="pictures of the N worst results of each method (default: 2)",
    )  # fmt: skip
    report.add_argument(
        "--no-patient-images", action="store_true",
        help="no pictures but of phantoms, for a report that is published",
    )  # fmt: skip
    parser.set_defaults(run=run)


def _add_case_options(parser: argparse.ArgumentParser) -> None:
    cases = parser.add_argument_group("cases")
    cases.add_argument(
        "--labels", nargs="+", default=[], metavar="NAME",
        help="classes, by name or value; NAME=VALUE names a value where the folder has no names "
        "(default: all, each an object of its own)",
    )  # fmt: skip
    cases.add_argument(
        "--merge", action="store_true",
        help="take all classes together as one object, as Shen et al. 2024 do",
    )  # fmt: skip
    cases.add_argument("--layout", default="auto", help="layout of the folders (default: found)")
    cases.add_argument(
        "--channel", type=int, default=0, metavar="N",
        help="which image of cases with several, counted from 0 (default: 0)",
    )  # fmt: skip
    cases.add_argument(
        "--split", type=Path, metavar="FILE", help="only a part of this split (written by training)"
    )
    cases.add_argument(
        "--part", default="validation", help="part of the split (default: validation)"
    )
    cases.add_argument("--only", nargs="+", default=[], metavar="CASE", help="only these cases")
    cases.add_argument(
        "--limit", type=positive, metavar="N", help="only the first N cases of each folder"
    )


def _add_protocol_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocols")
    group.add_argument(
        "--salient-area", nargs="?", const="yes", default="no", choices=("yes", "no", "both"),
        help="shen2024: only the slices with more than 256 pixels of the object, or both",
    )  # fmt: skip
    group.add_argument(
        "--clicks", type=positive, default=5, metavar="N",
        help="shen2024-5clicks: clicks, 1 to 10 (default: 5)",
    )  # fmt: skip
    group.add_argument(
        "--rounds", type=positive, default=5, metavar="N",
        help="radsam-edit: rounds of corrections (default: 5)",
    )  # fmt: skip
    group.add_argument(
        "--start", choices=("point", "box", "mask"), default="box",
        help="radsam-edit: the first prompt (default: box)",
    )  # fmt: skip
    group.add_argument(
        "--axis", choices=("axial", "coronal", "sagittal", "thickest"), default="axial",
        help="slicing plane (default: axial)",
    )  # fmt: skip
    group.add_argument(
        "--window", metavar="NAME",
        help="intensities shown to the model, as for 'segment' (default: each protocol's own)",
    )  # fmt: skip
    group.add_argument(
        "--tolerance", type=float, default=1.0, metavar="MM",
        help="of the normalised surface Dice, in millimetres (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--no-references", action="store_true", help="leave out copy, intensity and prompt only"
    )
    group.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")


def _add_method_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("methods and machines")
    group.add_argument(
        "--method", nargs="+", default=["sam2"], metavar="NAME",
        help="one or several propagation methods, or all (default: sam2)",
    )  # fmt: skip
    add_network_options(group)
    group.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="share the work among workers on this machine, or on the Ray cluster at ADDRESS",
    )  # fmt: skip
    group.add_argument(
        "--workers", type=positive, metavar="N",
        help="workers on Ray (default: one for each GPU, else for each core)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run ``evaluate``; returns the exit status."""
    for package in ("monai", "matplotlib"):
        if find_spec(package) is None:
            raise UserError(f"Evaluation needs {package}: pip install sam2medical3d[evaluate].")
    from ..evaluation.evaluate import evaluate
    from ..evaluation.gathering import Selection, gather
    from ..evaluation.report import ReportOptions, check_report, write_reports

    if arguments.against is not None:
        check_report(arguments.against)
    plan = _plan(arguments)
    selection = Selection(
        labels=tuple(arguments.labels),
        merge=arguments.merge,
        layout=arguments.layout,
        channel=arguments.channel,
        split=arguments.split,
        part=arguments.part,
        limit=arguments.limit,
        only=tuple(arguments.only),
    )
    cohort = gather(arguments.cases, selection)
    runner, where = _runner(arguments, plan)
    try:
        evaluation = evaluate(cohort, plan, arguments.out, runner)
    except KeyboardInterrupt:
        print("stopped; give the same command again to go on", file=sys.stderr)
        return 130
    options = ReportOptions(
        command=arguments.words,
        device=where,
        worst=arguments.worst,
        shareable_only=arguments.no_patient_images,
        against=arguments.against,
    )
    for path in write_reports(evaluation, arguments.out, options):
        print(f"wrote {path}")
    for sentence in evaluation.problems:
        print(f"not evaluated: {sentence}", file=sys.stderr)
    if evaluation.skipped:
        print(f"skipped: {len(evaluation.skipped)}; the report says why", file=sys.stderr)
    return SOME_FAILED if evaluation.problems else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    from ..evaluation.plan import Plan
    from ..evaluation.protocols import PROTOCOLS, Options

    names = PROTOCOLS if "all" in arguments.protocol else arguments.protocol
    areas = {"no": (False,), "yes": (True,), "both": (False, True)}[arguments.salient_area]
    return Plan(
        methods=_methods(arguments),
        protocols=tuple(dict.fromkeys(names)),
        options=Options(
            clicks=arguments.clicks,
            rounds=arguments.rounds,
            start=arguments.start,
            window=arguments.window,
            seed=arguments.seed,
        ),
        salient_areas=areas,
        references=not arguments.no_references,
        plane=None if arguments.axis == "thickest" else arguments.axis,
        field_of_view=arguments.field_of_view,
        appearance=arguments.appearance,
        tolerance_mm=arguments.tolerance,
    )


def _methods(arguments: argparse.Namespace) -> tuple[MethodChoice, ...]:
    from ..evaluation.plan import choose_method
    from ..propagation.registry import METHODS

    names = METHODS if "all" in arguments.method else dict.fromkeys(arguments.method)
    return tuple(
        choose_method(name, arguments.model, arguments.config, arguments.image_size)
        for name in names
    )


def _runner(arguments: argparse.Namespace, plan: Plan) -> tuple[Runner, str]:
    """What runs the tasks, and where, in words."""
    from ..evaluation.cohort import WorkerOptions, local_gpus, run_here, run_on_ray
    from ..models.device import choose_device

    options = WorkerOptions(plan, arguments.device, arguments.cache_mb << 20)
    gpus = local_gpus(arguments.device)
    if arguments.ray is not None or arguments.workers or (gpus > 1 and find_spec("ray")):
        address = arguments.ray or None
        where = f"Ray at {address}" if address else "Ray on this machine"
        return functools.partial(
            run_on_ray, options=options, address=address, n_workers=arguments.workers
        ), where
    if gpus > 1:
        print(
            f"one of {gpus} GPUs is used; pip install sam2medical3d[cluster] would use them all",
            file=sys.stderr,
        )
    device = choose_device(arguments.device)
    return functools.partial(run_here, options=options), f"one process on {device}"
