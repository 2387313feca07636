"""Training clips cut from volumes: one target through T consecutive slices.

A clip is a function of (seed, index) alone. Volumes are slow to make and clips are quick, so index
i belongs to stream i % streams, and a stream keeps its volume for a number of clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import UserError
from .clip_geometry import SMALLEST_AREA, field_of_view, first_slice, resample
from .clip_intensity import vary_intensity, visible
from .sources import Source, Sources, SyntheticSources

ATTEMPTS = 200


@dataclass(frozen=True)
class Clip:
    """Consecutive slices with the masks of one target.

    `frames` float32 (T, S, S) in [0, 1]; `masks` bool (T, S, S), not empty on slice 0; `step` is
    the distance of the slices in source voxels, `spacing` in millimetres.
    """

    frames: np.ndarray
    masks: np.ndarray
    step: int
    spacing: float


class ClipSampler:
    """Makes the clip of any index. Holds the current volume of each stream, about 11 MB each.

    `length` T slices of `size` S pixels; a stream's volume changes every `clips_per_volume` clips,
    at different times for different streams.
    """

    def __init__(
        self,
        seed: int,
        length: int = 4,
        size: int = 128,
        *,
        sources: Sources | None = None,
        streams: int = 16,
        clips_per_volume: int = 48,
    ) -> None:
        self.seed = seed
        self.length = length
        self.size = size
        self.streams = streams
        self.clips_per_volume = clips_per_volume
        self.sources = sources or SyntheticSources()
        self._held: dict[int, tuple[int, Source]] = {}

    def __call__(self, index: int) -> Clip:
        """The clip of `index` (0, 1, 2, ...)."""
        source = self._source(index)
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, 1, index]))
        for attempt in range(ATTEMPTS):
            cut = self._cut(source, rng)
            # A volume without a visible target must not end a training run.
            if cut is not None and (visible(cut.frames[0], cut.masks[0]) or 2 * attempt > ATTEMPTS):
                return cut
        raise UserError(
            f"No clip of {self.length} slices could be cut from {source.title}; leave it out, or "
            "give the recipe's stages a smaller length."
        )

    def _source(self, index: int) -> Source:
        stream, use = index % self.streams, index // self.streams
        stagger = stream * self.clips_per_volume // self.streams
        generation = (use + stagger) // self.clips_per_volume
        held = self._held.get(stream)
        if held is None or held[0] != generation:
            entropy = np.random.SeedSequence([self.seed, 0, stream, generation])
            number = generation * self.streams + stream
            held = (generation, self.sources(entropy, self.length, number))
            self._held[stream] = held
        return held[1]

    def _cut(self, source: Source, rng: np.random.Generator) -> Clip | None:
        members, box = _target(source, rng)
        axis = int(rng.choice(3, p=source.axes))
        image = np.moveaxis(source.image, axis, 0)
        labels = np.moveaxis(source.labels, axis, 0)
        box = (box[axis], *(s for i, s in enumerate(box) if i != axis))
        belongs = np.zeros(256, bool)
        belongs[members] = True

        extent = box[0].stop - box[0].start
        step = 1 + int(rng.choice(len(source.slabs), p=source.slabs))
        step = min(step, max(1, extent // 3))
        direction = int(rng.choice([-1, 1]))
        areas = np.zeros(image.shape[0])
        areas[box[0]] = belongs[labels[box]].sum(axis=(1, 2))
        first = first_slice(rng, areas, step, direction, self.length)
        if first is None:
            return None
        slabs = [first + direction * step * k for k in range(self.length)]
        occupancy = np.stack([_occupancy(labels, belongs, box, s, step) for s in slabs])
        field = field_of_view(rng, occupancy, box, image.shape[1:])
        if field is None:
            return None
        rows, columns = field
        frames = np.stack(
            [image[s : s + step, rows, columns].mean(0, dtype=np.float32) for s in slabs]
        )
        canvas = np.zeros((self.length, *image.shape[1:]), np.float32)
        canvas[:, box[1], box[2]] = occupancy
        both = np.stack([frames, canvas[:, rows, columns]])
        both = resample(rng, torch.from_numpy(both), self.size).numpy()
        masks = both[1] >= 0.5
        if masks[0].sum() < SMALLEST_AREA:
            return None
        return Clip(vary_intensity(rng, both[0], masks), masks, step, step * source.spacing[axis])


def _target(
    source: Source, rng: np.random.Generator
) -> tuple[list[int], tuple[slice, slice, slice]]:
    """The labels that make up a target, and their common box."""
    label = int(rng.choice(source.targets, p=source.odds))
    members = source.family(label) if rng.random() < 0.75 else [label]
    boxes = [source.boxes[m] for m in members if source.boxes[m] is not None]
    spans = [(min(b[i].start for b in boxes), max(b[i].stop for b in boxes)) for i in range(3)]
    return members, tuple(slice(*span) for span in spans)  # type: ignore[return-value]


def _occupancy(
    labels: np.ndarray, belongs: np.ndarray, box: tuple[slice, ...], start: int, step: int
) -> np.ndarray:
    """Share of the target in each pixel of a slab, float32 (h, w) of the in-plane box."""
    return belongs[labels[start : start + step, box[1], box[2]]].mean(0, dtype=np.float32)


class ClipStream(IterableDataset):
    """An endless stream of single clips from `first_index` on, as dictionaries of tensors.

    Each item has `frames` float32 (T, S, S), `masks` bool (T, S, S), `spacing` float32 () and
    `index` int64 (). Loaded with `batch_size=None`, the items come in the order of their indices
    whatever the number of workers. `every` takes each n-th index only, for one process of several.
    Let `sampler.streams` be a multiple of workers times processes: then no volume is made twice.
    """

    def __init__(self, sampler: ClipSampler, first_index: int = 0, every: int = 1) -> None:
        super().__init__()
        self.sampler, self.first_index, self.every = sampler, first_index, every

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        first, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            torch.set_num_threads(1)
        index = self.first_index + first * self.every
        while True:
            clip = self.sampler(index)
            yield {
                "frames": torch.from_numpy(clip.frames),
                "masks": torch.from_numpy(clip.masks),
                "spacing": torch.tensor(clip.spacing, dtype=torch.float32),
                "index": torch.tensor(index),
            }
            index += workers * self.every
