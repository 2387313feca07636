"""The published protocols: one file for each paper, one row each."""

from ...errors import UserError
from .base import Options, Protocol, Round
from .radsam import EDIT, SINGLE_PROMPT
from .shen2024 import FIVE_CLICKS, ONE_MASK
from .supervised import SUPERVISED

PROTOCOLS: dict[str, Protocol] = {
    p.name: p for p in (ONE_MASK, FIVE_CLICKS, SINGLE_PROMPT, EDIT, SUPERVISED)
}


def protocol(name: str) -> Protocol:
    """A protocol by name.

    Raises:
        UserError: for an unknown one.
    """
    if name not in PROTOCOLS:
        raise UserError(f"Unknown protocol '{name}'; use one of {', '.join(PROTOCOLS)}, or all.")
    return PROTOCOLS[name]


__all__ = ["PROTOCOLS", "Options", "Protocol", "Round", "protocol"]
