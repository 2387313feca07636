"""Synthetic volumes and the training clips cut from them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.training.clip_geometry import first_slice
from SAM2Medical3DLib.training.clip_intensity import visible
from SAM2Medical3DLib.training.clips import Clip, ClipSampler, ClipStream
from SAM2Medical3DLib.training.sources import SyntheticSources
from SAM2Medical3DLib.training.synthesis import synthesise_volume

SMALL = (36, 72, 72)


def small_sampler(seed: int = 3, **options: int) -> ClipSampler:
    return ClipSampler(
        seed,
        4,
        64,
        sources=SyntheticSources(SMALL),
        **({"streams": 2, "clips_per_volume": 6} | options),
    )


def same(a: Clip, b: Clip) -> bool:
    return np.array_equal(a.frames, b.frames) and np.array_equal(a.masks, b.masks)


@pytest.mark.parametrize("seed", range(6))
def test_volume_is_well_formed(seed: int) -> None:
    volume = synthesise_volume(seed, SMALL)
    assert volume.image.shape == volume.labels.shape == SMALL
    assert volume.image.dtype == np.float16
    assert volume.labels.dtype == np.uint8
    assert np.isfinite(volume.image).all()
    assert volume.image.min() >= 0
    assert volume.image.max() <= 1
    assert volume.image.astype(np.float32).std() > 0.02
    present = np.unique(volume.labels)
    assert np.array_equal(present, np.arange(len(volume.parents)))
    assert len(present) >= 4
    assert all(0 <= parent < len(present) for parent in volume.parents)
    assert all(parent != label for label, parent in enumerate(volume.parents) if label)


def test_volume_follows_from_its_seed() -> None:
    first, again, other = (synthesise_volume(seed, SMALL) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.parents == again.parents
    assert not np.array_equal(first.labels, other.labels)


def test_synthesis_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for seed in range(4):
        synthesise_volume(seed, (32, 48, 48))
    assert torch.equal(torch.rand(3), expected)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [*map(small_sampler(), range(24))]


def test_clips_are_well_formed(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.frames.shape == clip.masks.shape == (4, 64, 64)
        assert clip.frames.dtype == np.float32
        assert clip.masks.dtype == bool
        assert clip.frames.min() >= 0
        assert clip.frames.max() <= 1
        assert clip.masks[0].sum() >= 20
        assert visible(clip.frames[0], clip.masks[0])
        assert 1 <= clip.step <= 6


def test_a_clip_depends_on_seed_and_index_alone(clips: list[Clip]) -> None:
    fresh = small_sampler()
    for index in (13, 2, 7):
        assert same(fresh(index), clips[index])
    assert not same(small_sampler(4)(0), clips[0])
    assert not same(clips[0], clips[2])


def test_consecutive_clips_come_from_different_volumes_that_change_in_turn() -> None:
    sampler = small_sampler(streams=2, clips_per_volume=4)
    sources = [sampler._source(index) for index in range(16)]
    assert all(a is not b for a, b in pairwise(sources))
    changes = [i for i in range(2, 16) if sources[i] is not sources[i - 2]]
    assert changes == [5, 8, 13]


def test_slices_change_along_the_clip(clips: list[Clip]) -> None:
    moved = [not np.array_equal(clip.masks[0], clip.masks[-1]) for clip in clips]
    assert sum(moved) >= 20


def test_stream_keeps_its_order_with_workers() -> None:
    plain = iter(ClipStream(small_sampler(), first_index=5))
    direct = [next(plain) for _ in range(6)]
    assert [int(item["index"]) for item in direct] == [5, 6, 7, 8, 9, 10]
    loader = iter(DataLoader(ClipStream(small_sampler(), 5), batch_size=None, num_workers=2))
    for expected in direct:
        item = next(loader)
        assert item["frames"].dtype == torch.float32
        assert item["masks"].dtype == torch.bool
        for key, value in expected.items():
            assert torch.equal(item[key], value), key


@pytest.mark.parametrize("direction", [-1, 1])
def test_first_slice_leaves_room_for_the_clip(direction: int) -> None:
    areas = np.array([0, 30, 50, 80, 90, 50, 30, 0, 0, 0], float)
    rng = np.random.default_rng(0)
    for _ in range(50):
        first = first_slice(rng, areas, 2, direction, 3)
        assert first is not None
        last = first + 4 * direction
        assert 0 <= last <= 8
        assert areas[first : first + 2].mean() >= 20
    assert first_slice(rng, areas, 4, direction, 4) is None


def test_an_impossible_clip_is_refused() -> None:
    sampler = ClipSampler(0, 40, 64, sources=SyntheticSources((16, 32, 32)), streams=1)
    with pytest.raises(UserError, match="40 slices"):
        sampler(0)
