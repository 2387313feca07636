"""Splits by patient."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAM2Medical3DLib.datasets import (
    CaseFiles,
    Dataset,
    Split,
    read_split,
    split_by_patient,
    write_split,
)
from SAM2Medical3DLib.errors import UserError


def dataset_of(patients: Sequence[str]) -> Dataset:
    """A dataset with a case for each entry, of that patient."""
    cases = [
        CaseFiles(f"case{n:03d}", patient, (Path("image.nii"),), Path("labels.nii"))
        for n, patient in enumerate(patients)
    ]
    return Dataset("d", "pairs", {"a": 1}, ("image",), tuple(cases))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**40), n_parts=st.integers(1, 4))
def test_splits_keep_patients_together(data: st.DataObject, seed: int, n_parts: int) -> None:
    names = st.text(min_size=1, max_size=4)
    patients = data.draw(st.lists(names, min_size=n_parts, max_size=30))
    weights = data.draw(st.lists(st.integers(1, 20), min_size=n_parts, max_size=n_parts))
    fractions = {f"part{n}": weight / sum(weights) for n, weight in enumerate(weights)}
    dataset = dataset_of(patients)
    n_patients = len(set(patients))
    if n_patients < n_parts:
        with pytest.raises(UserError, match=f"has {n_patients} labelled patient"):
            split_by_patient(dataset, seed, fractions)
        return
    split = split_by_patient(dataset, seed, fractions)
    assert list(split.parts) == list(fractions)
    cases = [name for part in split.parts for name in split[part]]
    assert sorted(cases) == [case.name for case in dataset.cases]
    groups = [{case.patient for case in split.cases(dataset, part)} for part in split.parts]
    assert all(groups)
    assert sum(map(len, groups)) == n_patients
    # Each part is as large as it should be, but for rounding and parts that would be empty.
    for group, fraction in zip(groups, fractions.values(), strict=True):
        assert abs(len(group) - fraction * n_patients) < n_parts
    shuffled = data.draw(st.permutations(dataset.cases))
    again = split_by_patient(replace(dataset, cases=tuple(shuffled)), seed, fractions)
    assert again == split


def test_splits_of_another_seed_differ() -> None:
    dataset = dataset_of([f"p{n}" for n in range(20)])
    splits = {split_by_patient(dataset, seed)["validation"] for seed in range(10)}
    assert len(splits) > 5
    assert {len(part) for part in splits} == {4}
    # The order of patients is written into published results: it must never change.
    assert split_by_patient(dataset_of("abcdefgh"), 0)["validation"] == (
        "case000",
        "case007",
    )


@pytest.mark.parametrize(
    "fractions", [{}, {"train": 1.2, "validation": -0.2}, {"train": 0.5, "test": 0.4}]
)
def test_fractions_that_are_no_split(fractions: dict) -> None:
    with pytest.raises(UserError, match="above 0 and sum to 1"):
        split_by_patient(dataset_of("abc"), 0, fractions)


def test_too_few_patients() -> None:
    with pytest.raises(UserError, match=r"d has 1 labelled patient, too few for train, validation"):
        split_by_patient(dataset_of("aaa"), 0)


def test_splits_are_written_down(tmp_path: Path) -> None:
    dataset = dataset_of("aabbcdeé")
    split = split_by_patient(dataset, 7)
    path = write_split(tmp_path / "split.json", split)
    assert read_split(path, dataset) == split
    written = json.loads(path.read_text("utf-8"))
    assert written["dataset"] == "d"
    assert written["seed"] == 7
    assert written["parts"]["train"] == list(split["train"])
    with pytest.raises(UserError, match="no part 'test'; it has train, validation"):
        split.cases(dataset, "test")
    with pytest.raises(UserError, match="no folder"):
        write_split(tmp_path / "none" / "split.json", split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "e"}, "was made for e, not for d"),
        ({"seed": "x"}, "cannot be read"),
        ({"parts": {"train": ["case000", "case009"]}}, "case009, which d does not have"),
        ({"parts": {"train": ["case000"], "validation": ["case001"]}}, "has patient a in 'train'"),
        ({"parts": {"train": ["case000", "case000"]}}, "the case case000 twice"),
        ({"parts": {"train": ["case000"], "validation": []}}, "no case in 'validation'"),
        ({"parts": {}}, "has no parts"),
        ({"parts": ["case000"]}, "cannot be read"),
        ({"parts": None}, "cannot be read"),
    ],
)
def test_splits_that_do_not_fit(tmp_path: Path, change: dict, message: str) -> None:
    dataset = dataset_of("aab")
    path = write_split(tmp_path / "split.json", Split("d", 1, {"train": ("case000", "case001")}))
    assert read_split(path, dataset).seed == 1
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_split(path, dataset)
    with pytest.raises(UserError, match="cannot be read"):
        read_split(tmp_path / "none.json", dataset)
