"""``python -m SAM2Medical3DLib.training.without_boundary IN OUT``: a SAM 2 network from SAM2-3dMed.

SAM2-3dMed is a SAM 2.1 network with a branch beside its mask decoder. What remains without the
branch is a SAM 2 network, whose masks are SAM2-3dMed's before refinement.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ..errors import UserError, clear_sentence
from ..models.architecture import Architecture, build
from ..models.boundary_network import BRANCH
from ..models.checkpoint import load_weights, read_weights, save_weights


def without_boundary(source: Path, target: Path) -> None:
    """Write a checkpoint's network without its boundary branch.

    Args:
        source: weights that ``training`` wrote with the method ``sam2-3dmed``.
        target: safetensors file to write, in half precision.

    Raises:
        UserError: the source cannot be read, or has no such branch.
    """
    weights, metadata = read_weights(source)
    architecture = Architecture.from_json(metadata.get("architecture", "{}"))
    if not architecture.boundary_dim:
        raise UserError(f"'{source}' has no boundary branch; give weights of SAM2-3dMed.")
    architecture = replace(architecture, boundary_dim=0)
    network = build(architecture)
    kept = {name: value for name, value in weights.items() if not name.startswith(BRANCH)}
    load_weights(network, kept, source)
    described = {"architecture": architecture.to_json(), "method": "sam2"}
    save_weights(network, target, metadata | described)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status (0 done, 2 an error that the user can put right)."""
    parser = argparse.ArgumentParser(
        prog="python -m SAM2Medical3DLib.training.without_boundary", description=__doc__
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args(arguments)
    try:
        without_boundary(options.source, options.target)
    except UserError as error:
        print(f"error: {clear_sentence(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
