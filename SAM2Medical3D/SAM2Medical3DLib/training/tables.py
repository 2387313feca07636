"""Settings as dataclasses, read from TOML tables with a clear sentence about what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..errors import UserError

_T = TypeVar("_T")
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def table(cls: type[_T], values: object, title: str) -> _T:
    """A dataclass from a TOML table, tables within it included.

    Args:
        cls: a dataclass of numbers, text, tuples and mappings of these, and such dataclasses.
        values: as ``tomllib`` gives them.
        title: what to call the table in a message.

    Raises:
        UserError: for no table, unknown or missing names, and values of another type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{title} must be a table")
    hints, known = get_type_hints(cls), {f.name: f for f in fields(cls) if f.init}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UserError(f"{title} has no '{unknown[0]}'; it may have {', '.join(known)}")
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"{title} misses '{name}'")
    return cls(**{n: _typed(hints[n], v, f"{title}: {n}") for n, v in values.items()})


def _typed(hint: Any, value: object, title: str) -> Any:
    if get_origin(hint) is UnionType:
        hint = next(kind for kind in get_args(hint) if kind is not NoneType)
    kind, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return table(hint, value, title)
    if kind is tuple:
        if not isinstance(value, list):
            raise UserError(f"{title} must be a list")
        return tuple(_typed(inner[0], one, f"{title} {n}") for n, one in enumerate(value, start=1))
    if kind is Literal:
        if value not in inner:
            raise UserError(f"{title} must be one of {', '.join(map(repr, inner))}, not {value!r}")
        return value
    if kind is not None:  # a mapping of names to numbers
        if not isinstance(value, Mapping):
            raise UserError(f"{title} must be a table")
        return {name: _typed(inner[1], one, f"{title} {name}") for name, one in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{title} must be {_KINDS[hint]}, not {value!r}")
    return value


def require(title: str, rules: Mapping[str, bool]) -> None:
    """A sentence with every rule that does not hold."""
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise UserError(f"{title}: {'; '.join(broken)}.")
