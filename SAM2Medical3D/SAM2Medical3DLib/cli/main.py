"""Entry point of the command line: commands, exit status, and errors in one sentence.

Exit status: 0 done, 1 something unexpected, 2 the user can put it right, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Sequence

from .. import __version__
from ..errors import UserError
from . import demo, evaluate_command, models, segment_command

_PROGRAM = "sam2medical3d"
_COORDINATE_OPTIONS = ("--point", "--negative", "--box", "--slices")


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print, so that every mistake is reported in one way."""

    def error(self, message: str) -> None:
        raise UserError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the program's name; None takes the process's own.

    Returns:
        The exit status.
    """
    words = _join_negative_values(sys.argv[1:] if arguments is None else list(arguments))
    debug = "--debug" in words
    try:
        with warnings.catch_warnings():
            _show_own_warnings_only(debug)
            parsed = _parser().parse_args([word for word in words if word != "--debug"])
            parsed.words = (_PROGRAM, *words)
            return parsed.run(parsed)
    except KeyboardInterrupt:
        return _fail("stopped; nothing was written", 130)
    except UserError as error:
        return _fail(str(error), 2, debug)
    except MemoryError:
        return _fail("there is not enough memory for this volume and model", 1, debug)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            return _fail("the GPU's memory is full; use --device cpu or a smaller model", 1, debug)
        text = " ".join(str(error).split())[:200] or type(error).__name__
        return _fail(f"unexpected {type(error).__name__}: {text} (--debug shows where)", 1, debug)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Segment CT and MR volumes in 3D with SAM 2 from a prompt on one slice.",
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    parser.add_argument(
        "--debug", action="store_true", help="show where an error comes from (anywhere in the line)"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    segment_command.add_command(commands)
    models.add_commands(commands)
    demo.add_command(commands)
    evaluate_command.add_command(commands)
    return parser


def _join_negative_values(words: list[str]) -> list[str]:
    """``--point -1,2,3`` as ``--point=-1,2,3``: argparse takes the value for an option."""
    joined: list[str] = []
    for word in words:
        if (
            joined
            and joined[-1] in _COORDINATE_OPTIONS
            and word[:1] == "-"
            and word[1:2] in set("0123456789.")
        ):
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined


def _show_own_warnings_only(debug: bool) -> None:
    """Our warnings as one sentence each; those of libraries only with ``--debug``."""
    from ..files import ImageWarning

    if not debug:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", ImageWarning)
    original = warnings.showwarning

    def show(
        message: Warning | str, category: type[Warning], *rest: object, **named: object
    ) -> None:
        if issubclass(category, ImageWarning):
            print(f"{_PROGRAM}: warning: {message}", file=sys.stderr)
        else:
            original(message, category, *rest, **named)

    warnings.showwarning = show


def _fail(message: str, status: int, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    print(f"{_PROGRAM}: error: {message}", file=sys.stderr)
    return status
