"""``models`` lists the models, ``download`` fetches one."""

from __future__ import annotations

import argparse
import sys

from .progress import ProgressLine


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add ``models`` and ``download`` to the command line."""
    models = commands.add_parser("models", help="list the models with their state and size")
    models.set_defaults(run=lambda arguments: list_all())
    download = commands.add_parser(
        "download",
        help="download a model into the per-user cache",
        description="Download a model's weights into the per-user cache and verify them.",
    )
    download.add_argument("name", metavar="NAME", help="a name that 'models' lists")
    download.set_defaults(run=lambda arguments: fetch(arguments.name))


def list_all() -> int:
    """Print a table of all models; returns the exit status."""
    from ..models.registry import list_models

    rows = [("NAME", "STATE", "SIZE", "INPUT", "LICENCE", "TITLE")]
    for info in list_models():
        size_bytes = info.path.stat().st_size if info.path.is_file() else info.size_bytes
        size = f"{size_bytes / 1e6:.0f} MB" if size_bytes else "?"
        pixels = f"{info.image_size} px" if info.image_size else "?"
        rows.append((info.name, info.state, size, pixels, info.licence, info.title))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    return 0


def fetch(name: str) -> int:
    """Download a model with progress on standard error; returns the exit status."""
    from ..models.registry import download_model

    def describe(done: int, total: int) -> str:
        return f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"

    line = ProgressLine(sys.stderr, describe)
    try:
        path = download_model(name, progress=line)
    finally:
        line.close()
    print(path)
    return 0
