"""Work that takes long, one piece after another, in one thread beside the one that shows it.

The thread that submits also delivers: nothing is called back but from :meth:`Worker.poll`, so what
may be touched in one thread only (MRML, a session, widgets) is touched there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any


class Cancelled(Exception):
    """Raised by :meth:`Ticket.check` in work that nobody wants any more."""


class Ticket:
    """A piece of work: how it reports, and how it is told to stop."""

    def __init__(self, outbox: SimpleQueue, reported: Callable[[Any], None] | None) -> None:
        self._outbox, self._reported = outbox, reported
        self._cancelled = threading.Event()
        self.forgotten = False  # nothing of it is delivered any more

    def cancel(self) -> None:
        """Ask the work to stop at the next moment it can; its result is still delivered."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the work should stop."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the work should stop."""
        if self.cancelled:
            raise Cancelled

    def report(self, what: Any) -> None:
        """Send something on the way, from within the work."""
        if self._reported is not None:
            self._outbox.put((self, self._reported, what))


class Worker:
    """One thread, started with the first piece of work, and a queue before it."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue = SimpleQueue()
        self._outbox: SimpleQueue = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._tickets: list[Ticket] = []

    @property
    def busy(self) -> bool:
        """Whether a result is still to be delivered."""
        return bool(self._tickets)

    def submit(
        self,
        work: Callable[[Ticket], Any],
        *,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
        reported: Callable[[Any], None] | None = None,
    ) -> Ticket:
        """Queue work.

        Args:
            work: called in the worker's thread with its ticket.
            done: called by :meth:`poll` with what ``work`` returned.
            failed: called by :meth:`poll` with what ``work`` raised, :class:`Cancelled` included.
            reported: called by :meth:`poll` with each thing that ``work`` reported.
        """
        ticket = Ticket(self._outbox, reported)
        self._tickets.append(ticket)
        self._inbox.put((ticket, work, done, failed))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="SAM2Medical3D", daemon=True)
            self._thread.start()
        return ticket

    def poll(self, seconds: float = 0.02) -> bool:
        """Deliver what has come in, for at most about so many seconds. True while busy."""
        until = time.perf_counter() + seconds
        while not self._outbox.empty():
            ticket, deliver, what = self._outbox.get()
            if not ticket.forgotten:
                deliver(what)
            if time.perf_counter() > until:
                break
        return self.busy

    def give_way(self, seconds: float = 0.02) -> None:
        """Let the thread run for so long, if there is anything to do.

        For applications whose main thread keeps Python's interpreter lock while its event loop
        waits or draws, as 3D Slicer's does: there a thread stands still but for such pauses.
        """
        if self.busy and self._outbox.empty():
            time.sleep(seconds)

    def wait(self, timeout: float = 600.0) -> None:
        """Deliver until there is no more to come, as a script without an event loop does."""
        until = time.monotonic() + timeout
        while self.poll():
            if time.monotonic() > until:
                raise TimeoutError(f"the work did not end within {timeout:g} s")
            time.sleep(0.002)

    def close(self, timeout: float = 5.0) -> None:
        """Stop, without delivering anything more; waits for the piece under way to notice."""
        for ticket in self._tickets:
            ticket.forgotten = True
            ticket.cancel()
        self._tickets.clear()
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join(timeout)
            # A thread that did not notice in time ends with its own queue, not with the next one.
            self._thread, self._inbox = None, SimpleQueue()

    def _run(self) -> None:
        inbox = self._inbox
        while (item := inbox.get()) is not None:
            ticket, work, done, failed = item
            try:
                ticket.check()
                deliver, what = done, work(ticket)
            except BaseException as error:  # the other thread decides what to do about it
                deliver, what = failed, error
            self._outbox.put((ticket, partial(self._finish, ticket, deliver), what))

    def _finish(self, ticket: Ticket, deliver: Callable[[Any], None] | None, what: Any) -> None:
        self._tickets.remove(ticket)
        if deliver is not None:
            deliver(what)
