"""``dataset.json`` as MSD, nnU-Net and AMOS write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

FILE_NAME = "dataset.json"


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says.

    Attributes:
        path: of the file.
        values: its content.
        classes: label value by name, without the background.
        allowed: every label value it mentions.
        notes: sentences on labels that cannot be used as they are.
        channels: names of the images of a case.
    """

    path: Path
    values: Mapping
    classes: Mapping[str, int]
    allowed: frozenset[int]
    notes: tuple[str, ...]
    channels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Description:
        """From a dataset's root folder.

        Raises:
            UserError: missing, no JSON, or without usable labels or channels.
        """
        path = folder / FILE_NAME
        values = read_json(path)
        classes, allowed, notes = _classes(path, values.get("labels"))
        return cls(path, values, classes, allowed, notes, _channels(path, values))

    def entries(self, key: str) -> list:
        """A list in the file; empty if it is not there.

        Raises:
            UserError: if it is something else.
        """
        found = self.values.get(key, [])
        if not isinstance(found, list):
            raise UserError(f"{self.path}: '{key}' must be a list of cases.")
        return found


def read_json(path: Path) -> Mapping:
    """The object in a JSON file.

    Raises:
        UserError: missing, no JSON, or not an object.
    """
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it or write it anew.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} describes no dataset: it must be a JSON object.")
    return values


def _classes(path: Path, labels: object) -> tuple[dict[str, int], frozenset[int], tuple[str, ...]]:
    if not isinstance(labels, dict):
        raise UserError(f"{path} has no 'labels'; add them, as {{'background': 0, 'spleen': 1}}.")
    # MSD and nnU-Net 1 write {"1": "spleen"}, nnU-Net 2 {"spleen": 1}.
    if labels and all(key.isdigit() and isinstance(labels[key], str) for key in labels):
        pairs = [(name, key) for key, name in labels.items()]
    else:
        pairs = list(labels.items())
    classes: dict[str, int] = {}
    allowed: set[int] = set()
    notes: list[str] = []
    for name, given in pairs:
        values = [_label(path, name, v) for v in (given if isinstance(given, list) else [given])]
        allowed.update(values)
        shown = ", ".join(map(str, values))
        if isinstance(given, list):
            notes.append(
                f"{path}: '{name}' is a region of several labels ({shown}) and is left out; only "
                "single labels can be chosen."
            )
        elif name == "ignore" and isinstance(given, int):
            notes.append(f"{path}: voxels labelled 'ignore' ({shown}) count as background.")
        elif values[0] == 0:
            continue
        elif name in classes or values[0] in classes.values():
            raise UserError(f"{path} names the label '{name}' ({shown}) twice; repair it.")
        else:
            classes[name] = values[0]
    ignored = {v for name, v in pairs if name == "ignore" and isinstance(v, int)}
    for value in sorted(allowed - {0} - ignored - set(classes.values())):
        classes[f"label {value}"] = value
    if not classes:
        raise UserError(f"{path} names no label besides the background; add the others.")
    in_order = dict(sorted(classes.items(), key=lambda item: item[1]))
    return in_order, frozenset(allowed), tuple(notes)


def _label(path: Path, name: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise UserError(f"{path}: the label '{name}' has the value {value!r}, no whole number.")
    return number


def _channels(path: Path, values: Mapping) -> tuple[str, ...]:
    named = values.get("channel_names", values.get("modality"))
    if not isinstance(named, dict) or sorted(map(str, named)) != sorted(
        str(n) for n in range(len(named))
    ):
        raise UserError(
            f"{path} must name the images of a case under 'channel_names' (nnU-Net) or 'modality' "
            '(MSD), counted from 0, as {"0": "CT"}.'
        )
    if not named:
        raise UserError(f"{path} names no image under 'channel_names' or 'modality'.")
    return tuple(str(name) for _, name in sorted(named.items(), key=lambda item: int(item[0])))
