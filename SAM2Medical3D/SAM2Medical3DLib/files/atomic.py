"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError


def check_destination(path: Path | str) -> Path:
    """``path`` as a Path after checking that a file can be put there.

    Raises:
        UserError: its folder does not exist or cannot be written to, or it is itself a folder.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file to write.")
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} to write {path.name} in; create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The folder {folder} is not writable; choose another one.")
    return path


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary name beside ``path``; the file written there takes its place on success.

    Whatever happens, an existing ``path`` stays as it was until the new file is complete, and
    nothing temporary is left behind.

    Raises:
        UserError: the folder is missing or not writable, the disk is full.
    """
    path = check_destination(path)
    # The full name stays at the end: writers choose the format by the suffix.
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path} could not be written ({reason}); free some space or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
