"""What users of other programs complain of, each under the complaint's own name: not so here."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import sam2

from blobs import dice
from SAM2Medical3DLib.evaluation.benchmark import moving_disc
from SAM2Medical3DLib.geometry import Grid, Plane
from SAM2Medical3DLib.models.registry import list_models, load_model
from SAM2Medical3DLib.mrml import Masking, is_locked, node_from_volume, set_locked
from SAM2Medical3DLib.mrml.workbench import Workbench
from SAM2Medical3DLib.prompts import Point, Prompts, SlicePrompt
from SAM2Medical3DLib.propagation import Propagator, collect
from SAM2Medical3DLib.propagation.embeddings import EmbeddingCache
from SAM2Medical3DLib.propagation.field_of_view import FieldOfView
from SAM2Medical3DLib.propagation.radsam import RadSamPropagator
from SAM2Medical3DLib.propagation.sam2 import Sam2Propagator
from SAM2Medical3DLib.session import EditingSession
from SAM2Medical3DLib.volume import SliceStack, Volume
from workbenches import TRUTH, User

SOURCE = Path(__file__).resolve().parents[1] / "SAM2Medical3D"
MIDDLE = 8
CODE = (".py", ".pyc", ".so")
Sit = Callable[..., User]


class _Opened:
    """Files that Python opens in any thread while somebody watches: path and mode."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] | None = None

    def hook(self, event: str, details: tuple) -> None:
        if self.files is not None and event == "open" and isinstance(details[0], str | Path):
            self.files.append((str(details[0]), str(details[1] or "")))


@pytest.fixture(scope="session")
def audited() -> _Opened:
    opened = _Opened()
    sys.addaudithook(opened.hook)  # Python has no way to take one away
    return opened


@pytest.fixture
def watch(audited: _Opened) -> Iterator[list[tuple[str, str]]]:
    """The files, with their modes, that are opened from here on."""
    audited.files = []
    yield audited.files
    audited.files = None


def bytes_written() -> int:
    """By this process so far, to files or pipes, in any language; 0 where nobody counts."""
    counts = Path("/proc/self/io")
    if not counts.is_file():
        return 0
    return int(dict(line.split(": ") for line in counts.read_text().splitlines())["wchar"])


@pytest.fixture(scope="module")
def radsam() -> Iterator[RadSamPropagator]:
    propagator = RadSamPropagator(load_model("bundled-radsam", device="cpu"))
    yield propagator
    propagator.cache.clear()


@pytest.fixture(scope="module")
def video_model() -> Iterator[Sam2Propagator]:
    """SAM 2 with its memory, as the official predictor runs it."""
    propagator = Sam2Propagator(load_model("bundled", device="cpu"))
    yield propagator
    propagator.cache.clear()


@pytest.fixture
def sit(radsam: RadSamPropagator) -> Iterator[Sit]:
    """Puts somebody before a volume, (K, J, I) voxels along LPS with slices of 1 mm; the bright
    blobs if None."""
    users = []

    def down(array: np.ndarray | None = None, propagator: Propagator = radsam) -> User:
        user = User(propagator)
        users.append(user)
        if array is not None:
            user.bench.close()
            user.scene.RemoveNode(user.volume)
            grid = Grid(array.shape[::-1], np.diag([-1.0, -1.0, 1.0, 1.0]))
            user.volume = node_from_volume(user.scene, Volume(array, grid, "ct"))
            user.open()
        return user

    yield down
    for user in users:
        user.close()


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every slice that is prepared for a model from here on."""
    prepared: list[int] = []
    frame = SliceStack.frame

    def noted(stack: SliceStack, index: int) -> np.ndarray:
        prepared.append(index)
        return frame(stack, index)

    monkeypatch.setattr(SliceStack, "frame", noted)
    return prepared


def middle_of(mask: np.ndarray) -> tuple[float, float]:
    """(row, column) of a 2D mask's centre."""
    rows, cols = np.nonzero(mask)
    return float(rows.mean()), float(cols.mean())


def propagate(user: User) -> None:
    user.bench.propagate()
    user.bench.wait()
    assert not user.bench.is_problem, user.bench.message


def waits(bench: Workbench) -> list[float]:
    """Seconds that a window's event loop is held up, time after time, until all is done."""
    pause, held_up = 0.005, []
    before = time.perf_counter()
    more = True
    while more:
        time.sleep(pause)
        more = bench.tick()
        now = time.perf_counter()
        held_up.append(now - before - pause)
        before = now
    return held_up


# SegmentWithSAM


def test_segmentwithsam_writes_every_slice_to_disk_before_the_first_click(
    sit: Sit, frames: list[int], watch: list[tuple[str, str]]
) -> None:
    user = sit()
    before = bytes_written()
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    assert set(frames) == {MIDDLE}, "other slices were prepared for the first click"
    propagate(user)
    written = bytes_written() - before
    assert dice(user.slices(), TRUTH) > 0.9
    assert not [path for path, mode in watch if set(mode) & set("wax+")]
    assert written < TRUTH[0].size, "about an image was written"


@pytest.mark.parametrize("in_3d", [False, True], ids=["2D", "3D"])
def test_segmentwithsam_blocks_the_window_while_it_works(sit: Sit, in_3d: bool) -> None:
    stack, disc = moving_disc(60)
    user = sit(stack.volume.array)
    user.bench.add_segment()
    if in_3d:
        user.segmentation.CreateClosedSurfaceRepresentation()
    longest = []
    for _ in range(2):  # the machine may be busy otherwise
        user.place(30, *middle_of(disc))
        held_up = waits(user.bench)
        begun = time.perf_counter()
        user.bench.propagate()
        held_up.append(time.perf_counter() - begun)
        while_running = waits(user.bench)
        assert len(while_running) > 10 and "59 slices in" in user.bench.message
        # The surface is made once at the end, by Slicer itself, in as long as it takes.
        held_up += sorted(while_running)[: -1 if in_3d else None]
        longest.append(max(held_up))
        user.bench.clear()
        user.bench.wait()
    assert min(longest) < 0.1


def test_segmentwithsam_cannot_work_inside_an_existing_segmentation_node(sit: Sit) -> None:
    user = sit()
    half = TRUTH.copy()
    half[:, :, :36] = False
    begun = np.zeros_like(TRUTH)
    begun[10] = TRUTH[10]
    finished, unfinished = user.add_segment("finished", half), user.add_segment("mine", begun)
    user.bench.select(unfinished)
    propagate(user)
    assert dice(user.slices(), TRUTH) > 0.9
    np.testing.assert_array_equal(user.slices()[10], TRUTH[10])
    np.testing.assert_array_equal(user.slices(finished), half)
    before = user.slices()
    user.bench.add_segment()
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    propagate(user)
    np.testing.assert_array_equal(user.slices(finished), half)
    np.testing.assert_array_equal(user.slices(unfinished), before)
    assert user.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert user.segmentation.GetSegmentation().GetNumberOfSegments() == 3


def test_segmentwithsam_vendors_a_copy_of_sam2() -> None:
    assert SOURCE not in Path(sam2.__file__).resolve().parents
    known = {path.name for path in Path(sam2.__file__).parent.rglob("*.py")} - {"__init__.py"}
    assert {"sam2_base.py", "hieradet.py", "memory_attention.py"} <= known
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name not in {"sam2_base.py", "hieradet.py", "memory_attention.py"}
        assert "git clone" not in text and '"clone"' not in text, path
        assert "Meta Platforms" not in text, path


def test_segmentwithsam_is_one_module_file_of_62_kb() -> None:
    assert (SOURCE / "SAM2Medical3D.py").stat().st_size < 20_000


# MedSAMSlicer


def test_medsamslicer_cannot_correct_several_slices_and_run_again(sit: Sit) -> None:
    user = sit()
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    propagate(user)
    first = user.slices()
    corrected = {}
    for index, shift in ((5, 4), (12, -5), (15, 6)):
        corrected[index] = np.roll(TRUTH[index], shift, axis=1)
        user.paint(user.bench.selected, {index: corrected[index]})
        user.bench.wait()
    row, col = middle_of(first[10])
    user.click(10, row + 9, col, positive=False)
    corrected[10] = user.slices()[10]
    assert (corrected[10] != first[10]).any()
    propagate(user)
    again = user.slices()
    for index, mask in corrected.items():
        np.testing.assert_array_equal(again[index], mask)
    np.testing.assert_array_equal(again[MIDDLE], first[MIDDLE])
    assert all((again[index] != first[index]).any() for index in (4, 6, 11, 16))
    user.paint(user.bench.selected, {18: np.roll(TRUTH[18], 5, axis=0)})
    user.bench.wait()
    propagate(user)
    assert user.slices()[18].any()
    np.testing.assert_array_equal(user.slices()[:16], again[:16])


# SlicerNNInteractive


@pytest.mark.parametrize("masking", [None, Masking.OVERLAP, Masking.PROTECT])
def test_nninteractive_overwrites_other_segments(sit: Sit, masking: Masking | None) -> None:
    user = sit()
    if masking is not None:
        user.bench.set_masking(masking)
    others = [user.add_segment(f"other {n}", np.roll(TRUTH, 6 * n, axis=2)) for n in (1, 2)]
    before = [user.slices(id_) for id_ in others]
    user.bench.add_segment()
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    propagate(user)
    user.click(12, *middle_of(TRUTH[12]))
    propagate(user)
    assert user.slices().any((1, 2)).sum() > 10
    for id_, expected in zip(others, before, strict=True):
        np.testing.assert_array_equal(user.slices(id_), expected)


def test_nninteractive_cannot_lock_segments(sit: Sit) -> None:
    user = sit()
    user.bench.set_masking(Masking.OVERWRITE)
    locked, free = user.add_segment("locked", TRUTH), user.add_segment("free", TRUTH)
    set_locked(user.segmentation, locked)
    user.bench.add_segment()
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    propagate(user)
    assert is_locked(user.segmentation, locked)
    np.testing.assert_array_equal(user.slices(locked), TRUTH)
    assert not (user.slices(free) & user.slices()).any()


def test_nninteractive_prompts_on_sagittal_and_coronal_views_behave_worse(sit: Sit) -> None:
    half = 24
    # What a voxel holds depends on how far it is from the middle along each axis, in any order.
    away = np.sort(np.abs(np.indices([2 * half + 1] * 3) - half), axis=0)
    grain = np.random.default_rng(0).normal(0, 12, [half + 1] * 3)[tuple(away)]
    ball = sum((distance / 15) ** 3 for distance in away) < 1
    array = (np.where(ball, 150, 75) + grain).clip(0, 255).astype(np.uint8)
    found, quality = {}, {}
    for plane in Plane:
        user = sit(array)
        user.click(half - 2, half - 4, half + 5, plane=plane)
        live = user.slices(plane=plane)
        propagate(user)
        found[plane] = live, user.slices(plane=plane)
        quality[plane] = dice(user.voxels(user.bench.selected), ball)
    for plane in (Plane.CORONAL, Plane.SAGITTAL):
        np.testing.assert_array_equal(found[plane], found[Plane.AXIAL])
    assert len(set(quality.values())) == 1 and min(quality.values()) > 0.95


def test_nninteractive_waits_20_s_on_large_volumes(
    sit: Sit, radsam: RadSamPropagator, frames: list[int]
) -> None:
    stack, _ = moving_disc(2)
    cache = EmbeddingCache(radsam.network, 1)
    encoding = []
    for index in (0, 1, 0):
        begun = time.perf_counter()
        cache.get(stack, index, FieldOfView.whole(*stack.shape[1:]))
        encoding.append(time.perf_counter() - begun)
    array = np.empty((300, 512, 512), np.int16)
    array[:] = np.random.default_rng(0).normal(0, 12, array.shape[1:])
    disc = np.hypot(*np.mgrid[-250:262, -240:272]) < 40
    array[130:170, disc] += 130
    user = sit(array)
    user.bench.close()
    del array
    frames.clear()
    misses, begun = radsam.cache.misses, time.perf_counter()
    user.bench = Workbench(user.volume, user.segmentation, radsam, user.worker)
    user.place(150, 250, 240)
    waits(user.bench)
    seconds = time.perf_counter() - begun
    assert dice(user.slices()[150], disc) > 0.8
    assert set(frames) == {150} and radsam.cache.misses - misses < 12
    assert seconds < 80 * min(encoding)
    radsam.cache.clear()


def test_nninteractive_is_one_module_file_of_300_kb() -> None:
    assert max(path.stat().st_size for path in SOURCE.rglob("*.py")) < 40_000


def test_nninteractive_weights_are_non_commercial() -> None:
    assert {info.licence for info in list_models()} == {"Apache-2.0"}


# The official SAM 2 video predictor


def test_official_video_predictor_takes_only_folders_of_jpegs(
    video_model: Sam2Propagator, watch: list[tuple[str, str]]
) -> None:
    stack, disc = moving_disc(12)
    results = video_model.propagate(stack, Prompts.single(6, SlicePrompt(mask=disc)))
    masks = collect(results, stack.geometry)[1]
    assert not [path for path, _ in watch if not path.endswith(CODE)]
    assert all(dice(mask, stack.volume.array[n] > 110) > 0.8 for n, mask in enumerate(masks))


def test_official_video_predictor_loads_every_frame_as_float32_before_the_first_click(
    video_model: Sam2Propagator, frames: list[int]
) -> None:
    peaks = {}
    for n_slices in (20, 20, 80):  # the first to load what is loaded once
        stack, disc = moving_disc(n_slices)
        frames.clear()
        tracemalloc.start()
        session = EditingSession(stack, video_model)
        session.click(1, n_slices // 2, Point(*middle_of(disc)))
        peaks[n_slices] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert set(frames) == {n_slices // 2}
    assert peaks[80] < 1.5 * peaks[20]
    assert peaks[80] < 80 * stack.volume.array[0].size  # a byte a pixel would be more


def test_official_video_predictor_reencodes_every_frame_on_every_propagation(
    sit: Sit, video_model: Sam2Propagator
) -> None:
    cache = video_model.cache
    user = sit(propagator=video_model)
    user.click(MIDDLE, *middle_of(TRUTH[MIDDLE]))
    encoded = [cache.misses]
    propagate(user)
    first = user.slices()
    encoded.append(cache.misses)
    user.bench.undo()
    propagate(user)
    np.testing.assert_array_equal(user.slices(), first)
    encoded.append(cache.misses)
    user.click(14, *middle_of(TRUTH[14, :48]))
    propagate(user)
    encoded.append(cache.misses)
    first_run, again, corrected = np.diff(encoded)
    assert first_run >= len(TRUTH) // 2
    assert again == 0
    assert corrected <= len(TRUTH) // 4


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is Linux's")
def test_official_video_predictor_needs_memory_without_bound() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        few, many = fresh.submit(peaks_of_runs, (20, 80)).result()
    # Another 60 slices would be 47 MB of frames, or 17 MB of embeddings.
    assert many - few < 16


def peaks_of_runs(counts: tuple[int, ...]) -> list[float]:
    """Peak memory of this process in MB after a propagation through each number of slices."""
    model = load_model("bundled", device="cpu")
    propagator = Sam2Propagator(model, cache_bytes=4 << 20, field_of_view="slice")
    peaks = []
    for stack, disc in [moving_disc(n_slices) for n_slices in sorted(counts, reverse=True)][::-1]:
        prompts = Prompts.single(len(stack) // 2, SlicePrompt(mask=disc))
        assert sum(1 for _ in propagator.propagate(stack, prompts)) >= len(stack)
        status = Path("/proc/self/status").read_text()
        peaks.append(float(status.split("VmHWM:")[1].split()[0]) / 1024)
    return peaks
