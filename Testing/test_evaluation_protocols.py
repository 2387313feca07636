"""Protocols: which slices they show and prompt, and all of them with the bundled models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation_folders import SPACING, small_case
from grids import make_grid
from SAM2Medical3DLib.evaluation.baselines import REFERENCES
from SAM2Medical3DLib.evaluation.metrics import dice
from SAM2Medical3DLib.evaluation.objects import ObjectCase, Skipped
from SAM2Medical3DLib.evaluation.plan import Plan, choose_method
from SAM2Medical3DLib.evaluation.protocols import PROTOCOLS, Options
from SAM2Medical3DLib.evaluation.protocols.shen2024 import frames
from SAM2Medical3DLib.evaluation.worker import Worker
from SAM2Medical3DLib.propagation.registry import METHODS
from SAM2Medical3DLib.volume import SliceStack, Volume


def case_of(truth: np.ndarray, flip: bool = False, seed: int = 0) -> ObjectCase:
    """An object on noise; ``flip`` stores the slices from the head downwards."""
    image = np.random.default_rng(seed).integers(0, 200, truth.shape).astype(np.int16)
    grid = make_grid(truth.shape, signs=(-1, -1, -1 if flip else 1), spacing=SPACING)
    return ObjectCase.of("set", "case", "object", SliceStack(Volume(image, grid), "axial"), truth)


def column(*sizes: int) -> np.ndarray:
    """(slices, 40, 40) with a square of this side on every slice, 0 for none."""
    truth = np.zeros((len(sizes), 40, 40), bool)
    for index, side in enumerate(sizes):
        truth[index, 5 : 5 + side, 5 : 5 + side] = True
    return truth


def test_the_salient_area_has_more_than_256_pixels() -> None:
    case = case_of(column(0, 0, 3, 15, 16, 17, 20, 17, 17, 16, 9, 0, 0))
    shown = frames(case, Options(salient=True))
    assert (shown.first, len(shown.stack)) == (5, 4)  # 16 x 16 is 256, not more
    assert shown.first + shown.central == 5 + 4 // 2
    assert (shown.truth == case.truth[5:9]).all()
    inner = shown.stack.geometry.to_stack(shown.stack.volume.array)
    assert (inner == case.stack.geometry.to_stack(case.stack.volume.array)[5:9]).all()
    back = shown.on_all_slices(shown.truth)
    assert back.shape == case.truth.shape
    assert back.sum() == case.truth[5:9].sum()


def test_an_object_without_salient_slices_is_skipped() -> None:
    with pytest.raises(Skipped, match="no slice has more than 256"):
        frames(case_of(column(0, 3, 16, 3, 0)), Options(salient=True))
    with pytest.raises(Skipped, match="a single slice"):
        frames(case_of(column(0, 3, 17, 3, 0)), Options(salient=True))


@pytest.mark.parametrize("flip", [False, True])
def test_margins_and_the_middle_frame(flip: bool) -> None:
    sizes = [0] * 12 + [4] * 6 + [0] * 12
    found = set()
    for seed in range(30):
        case = case_of(column(*sizes), flip)
        shown = frames(case, Options(seed=seed))
        below, above = 12 - shown.first, shown.first + len(shown.stack) - 18
        found |= {below, above}
        # In the order of the file, as the published script counts.
        middle = len(shown.stack) // 2
        assert shown.central == (len(shown.stack) - 1 - middle if flip else middle)
        again = frames(case, Options(seed=seed))
        assert (again.first, len(again.stack)) == (shown.first, len(shown.stack))
    assert found == {5, 6, 7, 8, 9}


def test_margins_end_at_the_volume() -> None:
    shown = frames(case_of(column(0, 4, 4, 4, 0)), Options())
    assert (shown.first, len(shown.stack), shown.central) == (0, 5, 2)


def test_where_the_middle_frame_lacks_the_object_the_nearest_slice_is_prompted() -> None:
    shown = frames(case_of(column(4, 4, 0, 0, 0, 0, 4)), Options())
    assert shown.central == 1
    assert shown.truth[shown.central].any()


def test_each_slice_is_stretched_by_itself_in_the_published_protocol() -> None:
    case = case_of(column(0, 4, 4, 4, 0))
    shown = PROTOCOLS["shen2024-1mask"].prepare(case, Options())
    assert all(
        (shown.stack.frame(n).min(), shown.stack.frame(n).max()) == (0, 255) for n in range(5)
    )
    other = PROTOCOLS["shen2024-1mask"].prepare(case, Options(window="100/50"))
    assert not other.stack.mapping.per_slice


def test_references() -> None:
    truth = column(0, 3, 5, 7, 5, 0)
    found = {name: make(case_of(truth)) for name, make in REFERENCES.items()}
    central = truth[3]
    assert (found["copy"][1:5] == central).all()
    assert not found["copy"][[0, 5]].any()
    assert (found["prompt only"][3] == central).all()
    assert found["prompt only"].sum() == central.sum()
    assert (found["intensity"][3] == central).all()


@pytest.fixture(scope="module")
def worker() -> Worker:
    """Every method with its own bundled model."""
    choices = (choose_method(m.name) for m in METHODS.values())
    return Worker(Plan(tuple(choices), tuple(PROTOCOLS)), "cpu")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_with_every_method(worker: Worker, name: str, method: str) -> None:
    image, labels = small_case(0)
    volume = Volume(image, make_grid(image.shape, spacing=SPACING))
    whole = ObjectCase.of("set", "case", "ellipsoid", SliceStack(volume, "axial"), labels == 1)
    protocol = PROTOCOLS[name]
    options = Options(clicks=3, rounds=2)
    case = protocol.prepare(whole, options)
    propagator = next(p for c, p in worker._propagators.items() if c.method == method)
    for kind in protocol.kinds:
        rounds = list(protocol.run(propagator, case, kind, options))
        numbers = {"clicks": [1, 2, 3], "edit": [0, 1, 2]}.get(kind, [0])
        assert [found.number for found in rounds] == numbers
        for found in rounds:
            assert found.mask.shape == case.truth.shape
            assert found.mask.dtype == bool
        seconds = [found.seconds for found in rounds]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0
        last = rounds[-1]
        assert last.clicks == sum(len(p.points) for p in last.prompts.by_object[1].values())
        if kind == "mask":
            assert (last.mask[case.central] == case.truth[case.central]).all()
            assert last.interactions == 1
        again = list(protocol.run(propagator, case, kind, options))
        assert all((a.mask == b.mask).all() for a, b in zip(rounds, again, strict=True))


def test_editing_clicks_where_the_worst_error_is(worker: Worker) -> None:
    image, labels = small_case(0)
    volume = Volume(image, make_grid(image.shape, spacing=SPACING))
    case = ObjectCase.of("set", "case", "ellipsoid", SliceStack(volume, "axial"), labels == 1)
    propagator = next(iter(worker._propagators.values()))
    edit = PROTOCOLS["radsam-edit"]
    rounds = list(edit.run(propagator, case, "edit", Options(rounds=3, start="mask")))
    for before, after in zip(rounds, rounds[1:], strict=False):
        missed, spurious = case.truth & ~before.mask, before.mask & ~case.truth
        if not (missed | spurious).any():
            assert after.mask is before.mask
            continue
        new = {
            (index, point)
            for index, prompt in after.prompts.by_object[1].items()
            for point in prompt.points
        } - {
            (index, point)
            for index, prompt in before.prompts.by_object[1].items()
            for point in prompt.points
        }
        [(index, point)] = new
        assert (missed if point.positive else spurious)[index, int(point.row), int(point.col)]
    assert [found.interactions for found in rounds] == [1 + found.clicks for found in rounds]


def test_the_better_the_prompt_the_better_the_first_frame(worker: Worker) -> None:
    """The bundled model does segment: what the protocols measure is no accident."""
    image, labels = small_case(1)
    volume = Volume(image, make_grid(image.shape, spacing=SPACING))
    whole = ObjectCase.of("set", "case", "ellipsoid", SliceStack(volume, "axial"), labels == 1)
    protocol = PROTOCOLS["radsam-single-prompt"]
    case = protocol.prepare(whole, Options())
    for choice, propagator in worker._propagators.items():
        [found] = protocol.run(propagator, case, "mask", Options())
        assert dice(found.mask, case.truth) > 0.7, choice.method


def test_a_part_of_a_part() -> None:
    case = case_of(column(*[4] * 9))
    inner = case.part(2, 7, 4).part(1, 3, 2)
    assert (inner.first, len(inner.stack), inner.central, inner.depth) == (3, 3, 2 - 1, 9)
    assert (inner.on_all_slices(inner.truth)[3:6] == case.truth[3:6]).all()
    low = case.stack.geometry.grid.ras_from_ijk(case.stack.geometry.ijk_from_stack((3, 0, 0)))
    own = inner.stack.geometry
    assert np.allclose(own.grid.ras_from_ijk(own.ijk_from_stack((0, 0, 0))), low)
    assert replace(inner, name="x").depth == 9
