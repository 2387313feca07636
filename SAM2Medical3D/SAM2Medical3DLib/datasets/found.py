"""What a layout's reader finds: cases, and sentences on those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from .case import CaseFiles


def assemble(found: Iterable[CaseFiles | str]) -> tuple[tuple[CaseFiles, ...], tuple[str, ...]]:
    """Cases sorted by name, and problems; of two cases with one name the second is a problem."""
    cases: dict[str, CaseFiles] = {}
    problems: list[str] = []
    for one in found:
        if isinstance(one, str):
            problems.append(one)
        elif one.name in cases:
            problems.append(
                f"Case {one.name} ({one.images[0]}) is left out: {cases[one.name].images[0]} has "
                "the same name; rename one."
            )
        else:
            cases[one.name] = one
    return tuple(cases[name] for name in sorted(cases)), tuple(problems)


def unlabelled(name: str, image: Path) -> str:
    """The sentence on an image without labels."""
    return f"Case {name} ({image}) is unlabelled; add its labels or take it out."


def existing(folder: Path, name: str) -> Path:
    """A folder inside a dataset.

    Raises:
        UserError: if it is not there.
    """
    inside = folder / name
    if not inside.is_dir():
        raise UserError(f"{folder} has no folder '{name}'; is this the dataset's root?")
    return inside
