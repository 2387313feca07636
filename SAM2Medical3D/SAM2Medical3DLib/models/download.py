"""Getting published weights: on request, verified, kept in one folder of the user's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import UserError

CACHE_VARIABLE = "SAM2MEDICAL3D_CACHE"


def cache_folder() -> Path:
    """Where downloaded weights are kept: ``$SAM2MEDICAL3D_CACHE``, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("sam2medical3d")


class _Progress:
    """What pooch asks of a progress bar, passed on as (done, total) in bytes."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self._report, self._done, self.total = report, 0, 0

    def update(self, count: int) -> None:
        self._done += count
        self._report(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def fetch(
    url: str,
    file: str,
    sha256: str,
    size_bytes: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """A verified file in the cache, downloaded if it is not there or not whole.

    pooch writes to a temporary file and moves it into place only once its SHA-256 is right, so an
    interrupted download leaves nothing behind and starts cleanly the next time.

    Args:
        size_bytes: expected size, for the check of free space.
        progress: called with bytes done and bytes in all.

    Raises:
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
    try:
        downloader = pooch.HTTPDownloader(progressbar=bar, timeout=30)
        pooch.retrieve(url, f"sha256:{sha256}", file, str(folder), downloader=downloader)
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
    return target
