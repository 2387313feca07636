"""Labelled cases instead of synthetic volumes: the options, and the sources that they name."""

from __future__ import annotations

import argparse
from pathlib import Path

_CASE_STREAMS = 4  # a real volume takes up to some hundred MB, a synthetic one 11


def count(text: str) -> int:
    """A whole number of 0 or more, for argparse."""
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Which cases are learned from."""
    data = parser.add_argument_group("labelled cases instead of synthetic volumes")
    data.add_argument("--data", type=Path, help="MSD, nnU-Net, AMOS22, BraTS2020, pairs or npz")
    data.add_argument("--labels", nargs="+", help="classes to learn, by name or value (all)")
    data.add_argument("--channel", type=count, default=0, help="of cases with several modalities")
    data.add_argument("--patient-pattern", help="regular expression on case names; its first "
                      "group is the patient, whom no split divides")  # fmt: skip
    data.add_argument("--on-bad-case", default="stop", choices=("stop", "skip"))


def case_settings(options: argparse.Namespace) -> dict:
    """Sources of training and validation clips; the split is written beside the run."""
    from ..datasets import open_dataset, read_split, settle_problems, split_by_patient, write_split
    from .sources import CaseSources

    dataset = open_dataset(options.data, patient_pattern=options.patient_pattern)
    dataset = dataset.select(options.labels)
    settle_problems(dataset, options.on_bad_case, print)
    for note in dataset.notes:
        print(f"note: {note}")
    path = options.out / "split.json"
    if path.is_file():
        split = read_split(path, dataset, print if options.on_bad_case == "skip" else None)
    else:
        split = split_by_patient(dataset, seed=0 if options.seed is None else options.seed)
        options.out.mkdir(parents=True, exist_ok=True)
        write_split(path, split)
    if options.on_bad_case == "stop":
        # Now rather than after hours, when a case has its turn.
        for part in split.parts:
            for case in split.cases(dataset, part):
                case.check(min(options.channel, len(case.images) - 1))
    sources = {
        name: CaseSources.of(
            dataset,
            split.cases(dataset, part),
            channel=options.channel,
            skip_bad=options.on_bad_case == "skip",
            seed=options.seed or 0,
        )
        for name, part in (("sources", "train"), ("validation_sources", "validation"))
    }
    return sources | {"streams": _CASE_STREAMS}
