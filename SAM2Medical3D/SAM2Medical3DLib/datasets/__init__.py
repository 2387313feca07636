"""Labelled volumes as public datasets and plain folders hold them, and splits of them."""

from .case import CaseError, CaseFiles, LoadedCase
from .dataset import Dataset
from .loading import load_cases, settle_problems
from .npz import read_npz
from .opening import LAYOUTS, open_dataset
from .splits import Split, published_split, read_split, split_by_patient, write_split

__all__ = [
    "LAYOUTS",
    "CaseError",
    "CaseFiles",
    "Dataset",
    "LoadedCase",
    "Split",
    "load_cases",
    "open_dataset",
    "published_split",
    "read_npz",
    "read_split",
    "settle_problems",
    "split_by_patient",
    "write_split",
]
