"""Getting published weights: on request, verified, kept in one folder of the user's."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..errors import UserError

CACHE_VARIABLE = "SAM2MEDICAL3D_CACHE"
_NAME = "sam2medical3d"
_PARTIAL = "partial"  # folder of unfinished downloads inside the cache
_DAY_S = 24 * 3600

# Called with bytes done and bytes in all; False cancels, and so does an exception.
Progress = Callable[[int, int], object]


class DownloadCancelled(UserError):
    """The progress callback asked to stop."""

    def __init__(self) -> None:
        super().__init__("The download was cancelled; nothing of it was kept.")


def cache_folder() -> Path:
    """Where downloaded weights are kept: ``$SAM2MEDICAL3D_CACHE``, or the user's cache folder.

    Needs the standard library only, so the folder can be shown before any package is installed.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / _NAME / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / _NAME
    shared = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(shared) if shared else Path.home() / ".cache") / _NAME


class _Stopped(Exception):
    """Carries what stopped a download past the handlers of connection errors."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Progress:
    """What pooch asks of a progress bar, passed on as (done, total) in bytes."""

    def __init__(self, report: Progress) -> None:
        self._report, self._done, self.total = report, 0, 0

    def update(self, count: int) -> None:
        self._done += count
        # pooch counts whole chunks, and the last one is seldom whole.
        done = min(self._done, self.total) if self.total else self._done
        try:
            goes_on = self._report(done, self.total) is not False
        except Exception as error:
            raise _Stopped(error) from error
        if not goes_on:
            raise _Stopped(DownloadCancelled())

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def fetch(
    url: str,
    file: str,
    sha256: str,
    size_bytes: int,
    progress: Progress | None = None,
) -> Path:
    """A verified file in the cache, downloaded if it is not there or not whole.

    pooch writes to a temporary file, which is moved into place only once its SHA-256 is right. A
    download that fails or is cancelled leaves nothing behind; what a killed program left is
    discarded by a later download.

    Args:
        size_bytes: expected size, for the check of free space.
        progress: called with bytes done and bytes in all, in the thread that called this; when it
            gives False or raises, the download ends. A server that sends nothing is given up after
            30 seconds, so cancelling takes that long at most.

    Raises:
        DownloadCancelled: the progress callback gave False.
        UserError: the folder cannot be written, too little space, no connection, or wrong bytes.
    """
    import pooch
    import requests

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(
            f"The model folder '{folder}' cannot be written ({error.strerror}); "
            f"set {CACHE_VARIABLE} to another folder."
        ) from error
    target = folder / file
    if target.is_file() and pooch.file_hash(str(target)) == sha256:
        return target
    if free < size_bytes * 1.05:
        raise UserError(
            f"{size_bytes / 1e6:.0f} MB are needed in '{folder}' and {free / 1e6:.0f} MB are free; "
            f"make room or set {CACHE_VARIABLE} to another folder."
        )
    bar = _Progress(progress) if progress else False
    # Slicer has no terminal, and the caller shows its own progress.
    pooch.get_logger().setLevel("WARNING")
    partial = folder / _PARTIAL
    _discard_abandoned(partial)
    try:
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=30)
        pooch.retrieve(url, f"sha256:{sha256}", file, str(partial), downloader=downloader)
        (partial / file).replace(target)
    except _Stopped as stopped:
        raise stopped.reason from None
    except ValueError as error:
        raise UserError(
            f"What came from {url} is not the published file (its SHA-256 differs); try again."
        ) from error
    except requests.RequestException as error:
        raise UserError(
            f"{url} cannot be reached; check the connection, or put the file into '{folder}'."
        ) from error
    except OSError as error:
        raise UserError(f"The download to '{folder}' failed: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):  # another download may be using it
            partial.rmdir()
    return target


def remove(file: str) -> int:
    """Delete a file of the cache; gives the bytes that this freed, 0 if it was not there.

    Args:
        file: its name, without any folder.

    Raises:
        UserError: the file cannot be deleted.
    """
    if Path(file).name != file:
        raise ValueError(f"'{file}' is not the name of a file in the cache")
    path = cache_folder() / file
    if not path.is_file():
        return 0
    try:
        # Of a link only the link is ours.
        freed = path.lstat().st_size
        path.unlink()
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be deleted ({error.strerror}); close what uses it and try again."
        ) from error
    return freed


def _discard_abandoned(partial: Path) -> None:
    """Delete what a program that was killed in mid-download has left."""
    for path in partial.glob("*"):
        with suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > _DAY_S:
                path.unlink()
