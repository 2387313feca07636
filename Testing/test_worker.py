"""One thread for long work: order, reports, cancelling, failures, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from SAM2Medical3DLib.propagation.lazy import LazyPropagator
from SAM2Medical3DLib.session.worker import Cancelled, Ticket, Worker


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def test_work_runs_in_one_other_thread_in_order_and_is_delivered_here(worker: Worker) -> None:
    seen, threads = [], set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        return number

    for number in range(20):
        worker.submit(
            lambda _, n=number: work(n),
            done=lambda result: seen.append((result, threading.get_ident())),
        )
    worker.wait(10)
    assert seen == [(number, threading.get_ident()) for number in range(20)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_nothing_is_delivered_before_poll(worker: Worker) -> None:
    seen = []
    ready = threading.Event()
    worker.submit(lambda _: ready.set(), done=seen.append)
    assert ready.wait(5)
    assert not seen
    assert worker.busy
    worker.wait(5)
    assert seen == [None]
    assert not worker.busy


def test_reports_come_before_the_result(worker: Worker) -> None:
    seen = []

    def work(ticket: Ticket) -> str:
        for number in range(3):
            ticket.report(number)
        return "end"

    worker.submit(work, done=seen.append, reported=seen.append)
    worker.wait(5)
    assert seen == [0, 1, 2, "end"]


def test_an_exception_is_delivered_and_the_next_work_runs(worker: Worker) -> None:
    failed, done = [], []
    worker.submit(lambda _: 1 // 0, failed=failed.append)
    worker.submit(lambda _: 2, done=done.append)
    worker.wait(5)
    assert isinstance(failed[0], ZeroDivisionError)
    assert done == [2]


def test_cancelled_work_is_told_and_waiting_work_never_starts(worker: Worker) -> None:
    started, failed, ran = threading.Event(), [], []

    def until_cancelled(ticket: Ticket) -> None:
        started.set()
        while True:
            ticket.check()
            threading.Event().wait(0.002)

    first = worker.submit(until_cancelled, failed=failed.append)
    second = worker.submit(lambda _: ran.append(1), failed=failed.append)
    assert started.wait(5)
    second.cancel()
    first.cancel()
    worker.wait(5)
    assert [type(error) for error in failed] == [Cancelled, Cancelled]
    assert not ran


def test_closing_delivers_nothing_more_and_ends_the_thread() -> None:
    worker, seen = Worker(), []
    started = threading.Event()

    def work(ticket: Ticket) -> None:
        started.set()
        while not ticket.cancelled:
            ticket.report(1)
            threading.Event().wait(0.002)

    worker.submit(work, done=seen.append, failed=seen.append, reported=seen.append)
    worker.submit(lambda _: None, done=seen.append)
    assert started.wait(5)
    worker.close()
    assert not worker.poll()
    assert not seen
    assert not any(thread.name == "SAM2Medical3D" for thread in threading.enumerate())
    worker.submit(lambda _: "again", done=seen.append)
    worker.wait(5)
    assert seen == ["again"]
    worker.close()


def test_a_thread_that_does_not_stop_in_time_disturbs_nobody() -> None:
    worker, seen, gate = Worker(), [], threading.Event()
    worker.submit(lambda _: gate.wait(10), done=seen.append)
    worker.close(timeout=0.01)
    worker.submit(lambda _: "new", done=seen.append)
    worker.wait(5)
    gate.set()
    threading.Event().wait(0.05)
    worker.poll()
    assert seen == ["new"]
    worker.close()


def test_a_poll_takes_no_longer_than_it_may(worker: Worker) -> None:
    seen = []
    ready = threading.Event()

    def work(ticket: Ticket) -> None:
        for number in range(50):
            ticket.report(number)
        ready.set()

    def slow(number: int) -> None:
        seen.append(number)
        threading.Event().wait(0.01)

    worker.submit(work, reported=slow)
    assert ready.wait(5)
    worker.poll(0.03)
    assert 1 <= len(seen) < 20
    worker.wait(10)
    assert seen == list(range(50))


def test_a_lazy_propagator_loads_once_and_again_after_a_failure() -> None:
    class Finds:
        def predict_slice(self, *_: object, views: object = None) -> str:
            return "found"

    loads = []

    def load() -> Finds:
        loads.append(1)
        if len(loads) == 1:
            raise OSError("no file")
        return Finds()

    lazy = LazyPropagator(load)
    with pytest.raises(OSError, match="no file"):
        lazy.predict_slice(None, None, 0)
    assert not lazy.is_loaded
    assert [lazy.predict_slice(None, None, 0) for _ in range(3)] == ["found"] * 3
    assert len(loads) == 2


def test_the_thread_is_let_run_only_while_there_is_work(worker: Worker) -> None:
    begun = time.perf_counter()
    worker.give_way(5)
    assert time.perf_counter() - begun < 1  # nothing to wait for
    go = threading.Event()
    worker.submit(lambda _: go.wait(10))
    begun = time.perf_counter()
    worker.give_way(0.05)
    assert time.perf_counter() - begun >= 0.05
    go.set()
    worker.wait(10)
