"""A model's download beside the panel: in a thread of its own, to be polled and cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..models.registry import download_model


class Download:
    """Downloads and verifies a model's file; starts at once.

    A timer of the panel asks ``progress`` and ``is_finished``, and then calls ``result``; no Qt
    object is touched from the thread.

    Args:
        name: of the model.
        fetch: downloads, given the name and a progress callback that may answer False.
    """

    def __init__(self, name: str, fetch: Callable[..., Path] = download_model) -> None:
        self.name = name
        self._fetch = fetch
        self._cancelled = threading.Event()
        self._progress = (0, 0)
        self._path: Path | None = None
        self._error: Exception | None = None
        # A daemon: closing Slicer does not wait for a stalled server.
        self._thread = threading.Thread(target=self._run, name=f"download {name}", daemon=True)
        self._thread.start()

    @property
    def progress(self) -> tuple[int, int]:
        """Bytes done and bytes in all; (0, 0) before the server has answered."""
        return self._progress

    @property
    def is_finished(self) -> bool:
        """Whether ``result`` gives or raises something without waiting."""
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Stop soon: at the next piece that arrives, or when a stalled server is given up."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is finished, or so long; gives whether it is."""
        self._thread.join(seconds)
        return self.is_finished

    def result(self) -> Path:
        """The file, after waiting for it.

        Raises:
            DownloadCancelled: it was cancelled.
            UserError: it failed.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._path

    def _run(self) -> None:
        try:
            self._path = self._fetch(self.name, self._report)
        except Exception as error:
            self._error = error

    def _report(self, done: int, total: int) -> bool:
        self._progress = (done, total)
        return not self._cancelled.is_set()
