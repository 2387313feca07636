"""A result in a few bytes: its mask, and the prompts that it came of."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np

from ..prompts import Box, Point, Prompts, SlicePrompt


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of a result.

    Attributes:
        mask: (slice, row, column) bool on the whole stack.
        prompts: as :func:`describe_prompts` gives them.
    """

    mask: np.ndarray
    prompts: list[dict]


def pack(mask: np.ndarray, prompts: Prompts, first: int) -> bytes:
    """A mask of the whole stack and the prompts of a part of it that begins at slice ``first``."""
    described = json.dumps(describe_prompts(prompts, first))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, shape=mask.shape, bits=np.packbits(mask), prompts=described)
    return buffer.getvalue()


def unpack(data: bytes) -> Kept:
    """What :func:`pack` was given."""
    with np.load(io.BytesIO(data)) as file:
        shape = tuple(file["shape"])
        bits = np.unpackbits(file["bits"], count=int(np.prod(shape)))
        return Kept(bits.astype(bool).reshape(shape), json.loads(str(file["prompts"])))


def describe_prompts(prompts: Prompts, first: int) -> list[dict]:
    """Prompts of object 1 as plain values, on the whole stack; of a mask only that it was one."""
    return [
        {
            "slice": index + first,
            "points": [[p.row, p.col, p.positive] for p in prompt.points],
            "box": None if prompt.box is None else [*vars(prompt.box).values()],
            "mask": prompt.mask is not None,
        }
        for index, prompt in sorted(prompts.by_object.get(1, {}).items())
    ]


def prompts_from(described: list[dict], truth: np.ndarray) -> Prompts:
    """What :func:`describe_prompts` was given; masks are those of the reference."""
    prompts = Prompts()
    for entry in described:
        index = entry["slice"]
        if entry["mask"]:
            prompt = SlicePrompt(mask=truth[index])
        else:
            points = tuple(
                Point(row, col, bool(positive)) for row, col, positive in entry["points"]
            )
            box = None if entry["box"] is None else Box(*entry["box"])
            # With a prior negative points may stand alone.
            prompt = SlicePrompt(points, box, prior=np.zeros(truth.shape[1:], np.float32))
        prompts = prompts.add(1, index, prompt)
    return prompts
