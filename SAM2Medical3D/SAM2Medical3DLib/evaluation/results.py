"""Results on disk, job by job, so that an interrupted evaluation goes on where it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import replacing

FAILED, SKIPPED = "failed", "skipped"


@dataclass(frozen=True)
class Row:
    """One result of one object.

    Attributes:
        dataset, case, patient, object: what was segmented.
        method, model: with what; references have no model.
        protocol, prompt: how it was prompted; ``(salient)`` marks the salient area.
        round: of the protocol.
        clicks, interactions: given until then.
        dice, iou, hd95_mm, nsd: see ``metrics``; None without a result.
        empty: nothing was found.
        seconds: that the method worked until then.
        status: empty, ``failed`` or ``skipped``.
        error: why there is no result, in a sentence.
    """

    dataset: str
    case: str
    patient: str
    object: str
    method: str
    model: str
    protocol: str
    prompt: str
    round: int = 0
    clicks: int = 0
    interactions: int = 0
    dice: float | None = None
    iou: float | None = None
    hd95_mm: float | None = None
    nsd: float | None = None
    empty: bool = False
    seconds: float | None = None
    status: str = ""
    error: str = ""


COLUMNS = tuple(field.name for field in fields(Row))


class ResultsFile:
    """Rows by key, one line of JSON for each job; a line is written when its job has ended.

    The key says everything that decides the result. Later lines replace earlier ones; a last line
    that an interruption cut off is ignored.

    Args:
        path: the file; made when the first rows are added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, tuple[Row, ...]] = {}
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    self.rows[entry["key"]] = tuple(Row(**row) for row in entry["rows"])
                except (ValueError, KeyError, TypeError):
                    continue

    def finished(self, key: str) -> bool:
        """Whether a job has ended and need not be run again; a failed one is."""
        rows = self.rows.get(key)
        return rows is not None and not any(row.status == FAILED for row in rows)

    def add(self, key: str, rows: Sequence[Row]) -> None:
        """Append the rows of a job."""
        line = json.dumps({"key": key, "rows": [asdict(row) for row in rows]}, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                # An interruption may have left a line without its end.
                file.write("\n" + line if self._cut_off() else line)
                file.write("\n")
        except OSError as error:
            raise UserError(f"{self.path} could not be written ({error.strerror}).") from error
        self.rows[key] = tuple(rows)

    def _cut_off(self) -> bool:
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) != b"\n"


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """One line for each row; empty cells where there is no result."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _text(value) for name, value in asdict(row).items()})


def read_csv(path: Path) -> list[Row]:
    """The rows of :func:`write_csv`.

    Raises:
        UserError: no such file, or not one of ours.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(line) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no table of results ({error}); give a report's folder."
        ) from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _row(line: Mapping[str, str]) -> Row:
    values: dict[str, Any] = {}
    for field in fields(Row):
        text = line[field.name]
        if field.name == "empty":
            values[field.name] = text == "1"
        elif "int" in field.type:
            values[field.name] = int(text)
        elif "float" in field.type:
            values[field.name] = float(text) if text else None
        else:
            values[field.name] = text
    return Row(**values)
