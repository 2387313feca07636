"""Options that every command has that runs a network."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number from 1, as the type of an option."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """The model, where it runs and what it is shown."""
    group.add_argument(
        "--model", metavar="NAME|PATH",
        help="a name that 'models' lists, or a checkpoint file (default: the method's own)",
    )  # fmt: skip
    group.add_argument(
        "--config", metavar="NAME|FILE",
        help="configuration of a checkpoint file: a sam2 name or YAML file",
    )  # fmt: skip
    group.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="side of the model's square input"
    )
    group.add_argument(
        "--field-of-view", choices=["model", "auto", "slice"], default="model",
        help="auto shows the model the surroundings of the object, slice whole slices (default: "
        "what the model was made for)",
    )  # fmt: skip
    group.add_argument(
        "--appearance", type=float, metavar="WEIGHT",
        help="how much the brightness seen on prompted slices counts on the others, 0 for not at "
        "all (default: what the model was made for)",
    )  # fmt: skip
    group.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)"
    )
    group.add_argument(
        "--cache-mb", type=positive, default=512, metavar="MB",
        help="memory for cached image embeddings, for each method (default: 512)",
    )  # fmt: skip
