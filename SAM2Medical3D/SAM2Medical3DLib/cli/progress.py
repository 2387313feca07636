"""Progress on standard error: one line that is rewritten on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_LINES_EVERY_S = 10.0


class ProgressLine:
    """Shows how much is done and how long the rest will take; call it with (done, total).

    Args:
        stream: where to write.
        describe: (done, total) to text, e.g. ``12 of 30 slices``.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        stream: TextIO,
        describe: Callable[[int, int], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._describe, self._clock = stream, describe, clock
        self._terminal = bool(getattr(stream, "isatty", lambda: False)())
        self._start: float | None = None
        self._start_done = 0
        self._shown = float("-inf")
        self._open = self._complete = False

    def __call__(self, done: int, total: int) -> None:
        """Report progress; cheap enough to call for every slice or block."""
        now = self._clock()
        if self._start is None:
            # What the first call reports includes warming up and would spoil the estimate.
            self._start, self._start_done = now, done
        finished = done >= total
        if finished and self._complete:
            return
        self._complete = finished
        if not finished and now - self._shown < (0.1 if self._terminal else _LINES_EVERY_S):
            return
        self._shown = now
        text = self._describe(done, total)
        steps = done - self._start_done
        if not finished and steps > 0:
            left = (now - self._start) / steps * (total - done)
            text += f", about {_duration(left)} left"
        if self._terminal:
            self._stream.write(f"\r{text}\x1b[K")
            self._open = True
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line, so that what follows starts on a new one."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d} min"
