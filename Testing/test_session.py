"""The editing session: fixed slices, what a propagation may change, undo, saving."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blobs import FIRST, LAST, blob_stack, blob_truth, dice
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.registry import LoadedModel, load_model
from SAM2Medical3DLib.prompts import Box, Point
from SAM2Medical3DLib.propagation import Direction, Propagator, Span
from SAM2Medical3DLib.propagation.registry import create_propagator
from SAM2Medical3DLib.session import EditingSession, FixedSlice, ObjectState, SliceMask, StoredSlice
from SAM2Medical3DLib.session.reach import plan
from SAM2Medical3DLib.volume import IntensityMapping, SliceStack, Volume

TRUTH = blob_truth()
N = len(TRUTH)
NOTHING = np.zeros(TRUTH.shape[1:], bool)


@pytest.fixture(scope="module")
def stack() -> SliceStack:
    return blob_stack()


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model("bundled", device="cpu")


@pytest.fixture(scope="module")
def propagators(bundled: LoadedModel) -> dict[str, Propagator]:
    """Shared by all tests, with their embeddings."""
    return {method: create_propagator(method, bundled) for method in ("radsam", "sam2")}


@pytest.fixture(params=["radsam", "sam2"])
def session(
    request: pytest.FixtureRequest, stack: SliceStack, propagators: dict[str, Propagator]
) -> EditingSession:
    return EditingSession(stack, propagators[request.param])


@pytest.fixture
def segmented(session: EditingSession) -> EditingSession:
    """A session in which slice 8 was drawn and propagated."""
    session.lock(1, 8, TRUTH[8])
    list(session.propagate())
    return session


def spoiled(index: int) -> np.ndarray:
    """A slice's truth with a piece cut off: something that a user may well have drawn."""
    mask = TRUTH[index].copy()
    mask[: int(np.flatnonzero(mask.any(1)).mean()) - 3] = False
    return mask


def changed_slices(before: np.ndarray, after: np.ndarray) -> list[int]:
    return np.flatnonzero((before != after).any((1, 2))).tolist()


def test_one_drawn_slice_becomes_a_volume(segmented: EditingSession) -> None:
    found = segmented.mask(1)
    assert (found[8] == TRUTH[8]).all()
    assert dice(found[FIRST : LAST + 1], TRUTH[FIRST : LAST + 1]) > 0.9
    assert segmented.confidence(1).keys() == set(range(N))
    assert not segmented.state(1).stale
    assert not segmented.state(1).changed


def test_the_first_click_shows_a_live_mask_that_then_stays(session: EditingSession) -> None:
    row, col = np.argwhere(TRUTH[8]).mean(0)
    live = session.click(1, 8, Point(row, col))
    assert live.prompted
    assert dice(live.mask, TRUTH[8]) > 0.9
    assert session.state(1).stale == set(range(N)) - {8}
    list(session.propagate())
    assert (session.mask(1)[8] == live.mask).all()
    assert session.result(1, 8).predicted_iou == live.predicted_iou


def test_a_click_on_a_propagated_slice_corrects_its_mask(segmented: EditingSession) -> None:
    before = segmented.result(1, 10).mask
    live = segmented.click(1, 10, Point(70, 20, False))
    assert dice(live.mask, before) > 0.9
    fixed = segmented.state(1).fixed[10]
    assert fixed.corrects == SliceMask.of(before)
    segmented.click(1, 10, Point(46, 41))
    again = segmented.state(1).fixed[10]
    assert again.points == (Point(70, 20, False), Point(46, 41))
    assert again.corrects == fixed.corrects
    assert changed_slices(segmented.mask(1), segmented.mask(1)) == []


def test_a_click_uses_the_embedding_that_propagation_left(segmented: EditingSession) -> None:
    cache = segmented.propagator.cache
    before = cache.misses
    segmented.click(1, 12, Point(45, 43))
    list(segmented.propagate())
    assert cache.misses == before


def test_a_correction_changes_nothing_beyond_the_next_fixed_slices(
    segmented: EditingSession,
) -> None:
    segmented.lock(1, 4, TRUTH[4])
    segmented.lock(1, 15, TRUTH[15])
    list(segmented.propagate())
    before = segmented.mask(1)
    segmented.lock(1, 11, spoiled(11))
    assert segmented.state(1).stale == {9, 10, 12, 13, 14}
    run = segmented.propagate()
    visited = {result.index for result in run}
    after = segmented.mask(1)
    assert visited <= {9, 10, 12, 13, 14}
    assert set(changed_slices(before, after)) <= visited | {11}
    assert {10, 12} <= set(changed_slices(before, after))
    for index, drawn in ((4, TRUTH[4]), (8, TRUTH[8]), (11, spoiled(11)), (15, TRUTH[15])):
        assert (after[index] == drawn).all()
    assert run.done == run.total == 5


def test_propagating_again_changes_nothing(segmented: EditingSession) -> None:
    before = segmented.mask(1)
    assert list(segmented.propagate()) == []
    assert (segmented.mask(1) == before).all()
    segmented.undo()
    assert not segmented.mask(1)[9].any()  # no step was added by the empty run


def test_a_run_stops_where_nothing_changes_any_more(
    stack: SliceStack, propagators: dict[str, Propagator]
) -> None:
    """What is there is confirmed: two slices on either side say so too, and no more is done."""
    session = EditingSession(stack, propagators["radsam"])
    session.lock(1, 8, TRUTH[8])
    list(session.propagate())
    before = session.mask(1)
    session.lock(1, 14, before[14])
    list(session.propagate())
    settled = session.mask(1)
    session.click(1, 14, Point(26, 24, False))  # not on the object
    session.lock(1, 14, settled[14])
    run = session.propagate()
    assert [result.index for result in run] == [13, 12, 15, 16]
    assert run.done == run.total == 5 + N - 15
    assert not session.state(1).stale
    assert (session.mask(1) == settled).all()


def test_a_slice_erased_by_hand_is_a_wall(segmented: EditingSession) -> None:
    before = segmented.mask(1)
    erased = segmented.lock(1, 13, NOTHING)
    assert erased.confidence == 1
    list(segmented.propagate())
    after = segmented.mask(1)
    assert not after[13:].any()
    assert (after[:9] == before[:9]).all()
    assert dice(after[9:13], before[9:13]) > 0.95
    segmented.lock(1, 16, TRUTH[16])
    list(segmented.propagate())
    beyond = segmented.mask(1)
    assert not beyond[13].any()
    assert beyond[14:19].any((1, 2)).all()
    assert (beyond[:13] == after[:13]).all()


def test_clearing_a_slice_brings_back_what_was_there(segmented: EditingSession) -> None:
    before = segmented.mask(1)
    segmented.lock(1, 11, spoiled(11))
    assert (segmented.mask(1)[11] == spoiled(11)).all()
    left = segmented.clear(1, 11)
    assert (left.mask == before[11]).all()
    assert (segmented.mask(1) == before).all()
    assert 11 in segmented.state(1).stale
    list(segmented.propagate())
    assert dice(segmented.mask(1), before) > 0.999


def test_moving_a_click_replays_the_slice(segmented: EditingSession) -> None:
    before = segmented.result(1, 10).mask
    segmented.click(1, 10, Point(60, 60, False))
    moved = segmented.prompt(1, 10, (Point(70, 20, False),))
    assert segmented.state(1).fixed[10].corrects == SliceMask.of(before)
    segmented.undo()
    segmented.undo()
    assert (segmented.click(1, 10, Point(70, 20, False)).mask == moved.mask).all()
    assert segmented.prompt(1, 10, ()) is not None  # the last click is deleted
    assert 10 not in segmented.state(1).fixed


def test_a_box_begins_anew_and_keeps_the_clicks(segmented: EditingSession) -> None:
    segmented.click(1, 10, Point(70, 20, False))
    live = segmented.box(1, 10, Box(32, 28, 59, 56))
    fixed = segmented.state(1).fixed[10]
    assert fixed.points == (Point(70, 20, False),)
    assert fixed.corrects is None
    assert dice(live.mask, TRUTH[10]) > 0.8


def test_mistakes_leave_the_session_as_it_was(segmented: EditingSession) -> None:
    state = segmented.state(1)
    for wrong in (
        lambda: segmented.click(1, N, Point(1, 1)),
        lambda: segmented.click(1, 3, Point(200, 1)),
        lambda: segmented.click(2, 3, Point(20, 20, False)),
        lambda: segmented.click(0, 3, Point(20, 20)),
        lambda: segmented.lock(1, 3, np.ones((3, 3))),
        lambda: segmented.lock(-1, 3, TRUTH[3]),
        lambda: segmented.lock(1, -1, TRUTH[3]),
        lambda: segmented.clear(1, N),
        lambda: segmented.propagate([7]),
        lambda: segmented.propagate(span=Span(first=4, last=2)),
    ):
        with pytest.raises(UserError):
            wrong()
        assert segmented.state(1) is state
        assert segmented.objects == (1,)
        assert not segmented.is_running


def test_nothing_to_start_from_is_refused(session: EditingSession) -> None:
    with pytest.raises(UserError, match="no prompt"):
        session.propagate()
    session.lock(1, 8, NOTHING)
    with pytest.raises(UserError, match="Nothing was found"):
        session.propagate()


@pytest.mark.parametrize("keep", [True, False])
def test_cancel_keeps_or_discards(session: EditingSession, keep: bool) -> None:
    session.lock(1, 8, TRUTH[8])
    drawn = session.state(1)
    run = session.propagate()
    seen = [next(run).index for _ in range(4)]
    assert session.is_running
    assert session.state(1) is drawn
    with pytest.raises(UserError, match="under way"):
        session.click(1, 3, Point(40, 40))
    with pytest.raises(UserError, match="under way"):
        session.undo()
    run.close(keep)
    run.close(not keep)  # too late to change one's mind
    assert list(run) == []
    assert not session.is_running
    if not keep:
        assert session.state(1) is drawn
        return
    assert set(session.state(1).carried) == set(seen) - {8}
    assert session.state(1).stale == set(range(N)) - {8} - set(seen)
    partial = session.mask(1)
    list(session.propagate())
    whole = session.mask(1)
    assert (whole[seen] == partial[seen]).all()
    session.undo()
    session.undo()
    assert session.state(1) is drawn
    list(session.propagate())
    assert (session.mask(1) == whole).all()


def test_an_error_in_mid_run_loses_nothing(
    segmented: EditingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmented.lock(1, 14, spoiled(14))
    state = segmented.state(1)
    run = segmented.propagate()
    next(run)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(segmented.propagator, "features", fail)
    with pytest.raises(MemoryError):
        list(run)
    assert segmented.state(1) is state
    assert not segmented.is_running


def test_a_run_within_limits_leaves_the_rest_for_later(session: EditingSession) -> None:
    session.lock(1, 8, TRUTH[8])
    run = session.propagate(span=Span(Direction.FORWARD, last=12))
    assert {r.index for r in run} == {9, 10, 11, 12}
    assert run.done == run.total == 4
    assert session.state(1).stale == {*range(8), *range(13, N)}
    before = session.mask(1)
    list(session.propagate())
    assert not session.state(1).stale
    assert (session.mask(1)[8:13] == before[8:13]).all()


def test_objects_are_independent(segmented: EditingSession) -> None:
    before = segmented.mask(1)
    segmented.lock(2, 16, TRUTH[16])
    segmented.lock(3, 16, TRUTH[16])
    run = segmented.propagate()
    assert {o for r in run for o in r.objects} == {2, 3}
    assert (segmented.mask(1) == before).all()
    assert (segmented.mask(2) == segmented.mask(3)).all()
    assert segmented.undo(2) == (2,)
    assert segmented.mask(3)[17].any()
    assert not segmented.mask(2)[17].any()
    assert segmented.undo() == (3,)  # the same run, for the object that still had it
    assert segmented.redo(2) == (2,)
    assert segmented.mask(2)[17].any()


def test_the_next_doubtful_slice_goes_round(segmented: EditingSession) -> None:
    confidence = segmented.confidence(1)
    assert confidence[8] == 1
    limit = sorted(confidence.values())[3] + 1e-9
    doubtful = [s for s, c in confidence.items() if c < limit]
    seen = [segmented.next_doubtful(1, -1 % N, limit)]
    while len(seen) < len(doubtful):
        seen.append(segmented.next_doubtful(1, seen[-1], limit))
    assert seen == doubtful
    assert segmented.next_doubtful(1, seen[-1], limit) == doubtful[0]
    assert segmented.next_doubtful(1, 0, 0.0) is None


def test_a_session_is_saved_and_restored_as_text(segmented: EditingSession) -> None:
    segmented.click(1, 12, Point(70, 20, False))
    segmented.box(2, 5, Box(30, 20, 60, 55))
    text = json.dumps(segmented.to_state())
    back = EditingSession.from_state(text, segmented.stack, segmented.propagator)
    assert back.to_state() == segmented.to_state()
    for object_id in (1, 2):
        assert (back.mask(object_id) == segmented.mask(object_id)).all()
        assert back.state(object_id).stale == segmented.state(object_id).stale
        assert back.state(object_id).changed == segmented.state(object_id).changed
    for one in (segmented, back):
        list(one.propagate())
    assert dice(back.mask(1), segmented.mask(1)) > 0.999
    assert not back.state(2).stale


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.update(version=99),
        lambda s: s.update(shape=[1, 2, 3]),
        lambda s: s.update(plane="coronal"),
        lambda s: s.pop("objects"),
        lambda s: s["objects"]["1"]["carried"].update({"99": s["objects"]["1"]["carried"]["3"]}),
        lambda s: s["objects"]["1"]["carried"]["9"].__setitem__(6, "AAAA"),
        lambda s: s["objects"]["1"]["carried"]["9"].__setitem__(4, 10**6),
        lambda s: s["objects"]["1"].update(stale=["x"]),
        lambda s: s["objects"].update(x=s["objects"]["1"]),
    ],
)
def test_a_damaged_session_is_refused(
    stack: SliceStack, propagators: dict[str, Propagator], spoil: Callable[[dict], None]
) -> None:
    propagator = propagators["radsam"]
    session = EditingSession(stack, propagator)
    session.lock(1, 8, TRUTH[8])
    list(session.propagate())
    saved = json.loads(json.dumps(session.to_state()))
    spoil(saved)
    with pytest.raises(UserError, match="saved session"):
        EditingSession.from_state(saved, stack, propagator)


@pytest.fixture(scope="module")
def quick(tiny_model: Path) -> tuple[SliceStack, dict[str, Propagator]]:
    """A very small stack and very small random networks for both methods."""
    array = np.random.default_rng(1).integers(0, 255, (7, 20, 18), dtype=np.uint8)
    grid = Grid(array.shape[::-1], np.diag([-1.0, -1.0, 2.0, 1.0]))
    stack = SliceStack(Volume(array, grid), Plane.AXIAL, IntensityMapping(0, 255))
    model = load_model(str(tiny_model), device="cpu")
    return stack, {
        m: create_propagator(m, model, field_of_view="slice") for m in ("radsam", "sam2")
    }


slices = st.integers(0, 6)
points = st.builds(Point, st.integers(0, 19), st.integers(0, 17), st.booleans())
acts = st.one_of(
    st.tuples(st.just("click"), slices, points),
    st.tuples(st.just("lock"), slices, st.integers(0, 8)),
    st.tuples(st.just("box"), slices, st.just(Box(3, 3, 12, 14))),
    st.tuples(st.just("clear"), slices, st.none()),
    st.tuples(st.just("propagate"), st.integers(0, 9), st.booleans()),
    st.tuples(st.sampled_from(["undo", "redo"]), st.none(), st.none()),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(method=st.sampled_from(["radsam", "sam2"]), script=st.lists(acts, max_size=14))
def test_undo_and_redo_restore_every_voxel_and_prompt(
    quick: tuple[SliceStack, dict[str, Propagator]], method: str, script: list[tuple]
) -> None:
    stack, propagators = quick
    session = EditingSession(stack, propagators[method])

    def snapshot() -> tuple:
        state = session.state(1)
        prompts = {s: (f.points, f.box, f.corrects) for s, f in state.fixed.items()}
        return session.mask(1).tobytes(), prompts, state.stale, session.confidence(1)

    past, now = [snapshot()], 0
    for what, where, value in script:
        before = session.state(1)
        try:
            if what == "click":
                session.click(1, where, value)
            elif what == "box":
                session.box(1, where, value)
            elif what == "clear":
                session.clear(1, where)
            elif what == "lock":
                drawn = np.zeros((20, 18), bool)
                drawn[2 : 2 + value, 3 : 3 + value] = True
                session.lock(1, where, drawn)
                assert (session.mask(1)[where] == drawn).all()
            elif what == "propagate":
                run = session.propagate()
                for _ in zip(range(where), run, strict=False):
                    pass
                run.close(keep=value)
        except UserError:
            assert session.state(1) is before
        if what == "undo":
            assert session.can_undo() == (now > 0)
            assert bool(session.undo()) == (now > 0)
            now = max(now - 1, 0)
        elif what == "redo":
            assert session.can_redo() == (now + 1 < len(past))
            assert bool(session.redo()) == (now + 1 < len(past))
            now = min(now + 1, len(past) - 1)
        elif session.state(1) is not before:
            past = [*past[: now + 1], snapshot()]
            now += 1
        assert snapshot() == past[now]
    while session.undo():
        now -= 1
        assert snapshot() == past[now]
    assert now == 0


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mask_is_kept_exactly(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, fill = data.draw(st.integers(0, 999)), data.draw(st.sampled_from([0, 0.02, 0.5, 1]))
    mask = np.random.default_rng(seed).random((height, width)) < fill
    kept = SliceMask.of(mask)
    assert (kept.array() == mask).all()
    assert kept.is_empty == (not mask.any())
    assert SliceMask.from_plain(json.loads(json.dumps(kept.to_plain())), mask.shape) == kept
    other = mask.copy()
    other[0, 0] ^= True
    assert SliceMask.of(other) != kept


def state_of(fixed: dict[int, bool], carried: bool = True) -> ObjectState:
    """Ten slices; {slice: the object is there}."""
    state = ObjectState(10)
    full = {on: StoredSlice(SliceMask.of(np.full((4, 4), on))) for on in (True, False)}
    for index, on in fixed.items():
        state = state.with_fixed(index, FixedSlice(full[on]))
    if carried:
        state = state.with_carried(dict.fromkeys(range(10), full[True]), range(10))
    return state


FULL = FixedSlice(StoredSlice(SliceMask.of(np.ones((4, 4)))))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (state_of({4: True}, carried=False), [("both", 0, 9, (4,), False)]),
        (state_of({2: True, 7: True}, carried=False), [("both", 0, 9, (2, 7), False)]),
        (state_of({4: True}), []),
        (
            state_of({2: True, 7: True}).with_fixed(5, FULL),
            [("backward", 3, 4, (2, 5, 7), True), ("forward", 6, 6, (2, 5, 7), True)],
        ),
        (
            state_of({2: True, 5: False}, carried=False),
            [("both", 0, 4, (2,), False), ("both", 6, 9, (), False)],
        ),
        (
            state_of({2: True, 7: True}).without_fixed(7),
            [("both", 3, 9, (2,), False)],
        ),
    ],
)  # fmt: skip
def test_only_what_a_change_reaches_is_planned(state: ObjectState, expected: list[tuple]) -> None:
    jobs = plan(state, Span())
    found = [
        (j.span.direction.value, j.span.first, j.span.last, j.sources, j.stops_early) for j in jobs
    ]
    assert found == expected


def test_twenty_steps_over_a_large_volume_stay_small() -> None:
    """Five objects of 500 slices of 512x512, every slice different after each of 20 runs."""
    rows, cols = np.mgrid[:512, :512]
    each, total = 12, 500 * 5 * 20
    held = 0
    for n in range(each):
        wave = 90 + 6 * np.sin(np.arctan2(rows - 250, cols - 240 + n) * (5 + n))
        stored = StoredSlice(SliceMask.of(np.hypot(rows - 250, cols - 240 + n) < wave))
        held += len(stored.mask.packed) + 600  # the Python objects around it
    assert held / each * total < 150e6
    state = ObjectState(500, carried=dict.fromkeys(range(500), stored))
    after = state.with_carried({3: stored}, [3])
    assert all(after.carried[s] is state.carried[s] for s in range(500))


def test_several_drawn_slices_are_one_step(segmented: EditingSession) -> None:
    before = segmented.mask(1)
    segmented.lock_slices(1, {10: spoiled(10), 11: spoiled(11)})
    assert segmented.state(1).fixed.keys() == {8, 10, 11}
    segmented.undo()
    np.testing.assert_array_equal(segmented.mask(1), before)
    assert segmented.state(1).fixed.keys() == {8}


def test_what_was_drawn_before_the_session_is_no_step(session: EditingSession) -> None:
    session.adopt(1, {8: TRUTH[8], 14: TRUTH[14]})
    assert not session.can_undo()
    assert session.state(1).fixed[8].locked
    list(session.propagate())
    session.undo()
    np.testing.assert_array_equal(session.mask(1).any((1, 2)).nonzero()[0], [8, 14])
    assert not session.can_undo()
    with pytest.raises(UserError, match="under way"):
        session.adopt(1, {3: TRUTH[3]})
