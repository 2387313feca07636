"""The progress line on a terminal and elsewhere."""

from __future__ import annotations

import io

from SAM2Medical3DLib.cli.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def describe(done: int, total: int) -> str:
    return f"{done}/{total}"


def test_terminal_line_is_rewritten_and_ended() -> None:
    stream = Terminal()
    line = ProgressLine(stream, describe, Clock())
    for done in (1, 2, 3):
        line(done, 3)
    line(3, 3)
    line.close()
    line.close()
    text = stream.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "2/3, about 1 s left" in text
    assert "3/3, " not in text


def test_file_gets_few_lines() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream, describe, Clock())
    for done in range(1, 101):
        line(done, 100)
    line.close()
    lines = stream.getvalue().splitlines()
    assert 8 <= len(lines) <= 12
    assert lines[0] == "1/100"
    assert lines[-1] == "100/100"
    assert lines[1] == "11/100, about 1:29 min left"
