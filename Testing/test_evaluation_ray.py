"""A cohort on a local Ray cluster of two workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray

from evaluation_folders import run, small_case, table, write_cases
from SAM2Medical3DLib.datasets import LoadedCase
from SAM2Medical3DLib.errors import UserError
from SAM2Medical3DLib.evaluation.cohort import WorkerOptions, run_here, run_on_ray
from SAM2Medical3DLib.evaluation.evaluate import all_tasks
from SAM2Medical3DLib.evaluation.gathering import Cohort
from SAM2Medical3DLib.evaluation.plan import Plan, choose_method
from SAM2Medical3DLib.evaluation.results import Row
from SAM2Medical3DLib.evaluation.tasks import CaseTask
from SAM2Medical3DLib.evaluation.worker import Outcome, Task


@dataclass(frozen=True)
class Fragile:
    """A small case; reading it ends the whole process as often as there are files in ``deaths``."""

    seed: int
    deaths: Path

    @property
    def name(self) -> str:
        return f"case {self.seed}"

    @property
    def patient(self) -> str:
        return self.name

    def load(self, channel: int = 0) -> LoadedCase:
        from grids import make_grid
        from SAM2Medical3DLib.volume import Volume

        for mark in sorted(self.deaths.glob(f"{self.seed}-*")):
            mark.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        image, labels = small_case(self.seed)
        return LoadedCase(self.name, self.name, Volume(image, make_grid(image.shape)), labels)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers; they know the modules of these tests."""
    folder = str(Path(__file__).parent)
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
        _system_config={"worker_niceness": 0},
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The bundled model, with and without rounds."""
    return Plan((choose_method("sam2"),), ("shen2024-1mask", "radsam-single-prompt"))


def tasks_of(plan: Plan, deaths: Path, count: int = 3) -> list[Task]:
    objects = (("egg", (1,)), ("ball", (2,)))
    cases = tuple(CaseTask("set", Fragile(seed, deaths), objects) for seed in range(count))
    return list(all_tasks(Cohort(cases), plan))


def rows(found: Iterator[tuple[Task, Outcome]]) -> dict[str, tuple[Row, ...]]:
    """Rows by key, without seconds; every job once."""
    by_key: dict[str, tuple[Row, ...]] = {}
    for _, outcome in found:
        assert outcome.key not in by_key
        by_key[outcome.key] = tuple(replace(row, seconds=None) for row in outcome.rows)
    return by_key


def test_two_workers_give_the_same_table_and_a_killed_one_loses_nothing(
    cluster: None, plan: Plan, tmp_path: Path
) -> None:
    tasks = tasks_of(plan, tmp_path)
    options = WorkerOptions(plan, "cpu")
    alone = rows(run_here(tasks, options))
    assert len(alone) == 6 * (4 + 6)
    assert not any(row.status for found in alone.values() for row in found)
    (tmp_path / "1-first").touch()
    assert rows(run_on_ray(tasks, options)) == alone
    assert not list(tmp_path.glob("1-*"))  # it did die


def test_a_case_that_kills_every_worker_fails_alone(
    cluster: None, plan: Plan, tmp_path: Path
) -> None:
    tasks = tasks_of(replace(plan, protocols=("shen2024-1mask",), references=False), tmp_path, 2)
    for n in range(9):
        (tmp_path / f"0-{n}").touch()
    found = rows(run_on_ray(tasks, WorkerOptions(plan, "cpu")))
    assert len(found) == 4
    failed = [row for members in found.values() for row in members if row.status == "failed"]
    assert {row.case for row in failed} == {"case 0"}
    assert all("its worker died 3 times" in row.error for row in failed)


def test_a_model_that_is_another_one_on_the_cluster_is_refused(
    cluster: None, plan: Plan, tmp_path: Path
) -> None:
    other = replace(plan, methods=(replace(plan.methods[0], sha256="0" * 64),))
    with pytest.raises(UserError, match="use the same file everywhere"):
        list(run_on_ray(tasks_of(other, tmp_path), WorkerOptions(other, "cpu")))


def test_the_command_line_on_ray(cluster: None, tiny_model: Path, tmp_path: Path) -> None:
    data = write_cases(tmp_path / "data", 2)
    words = ["--cases", data, "--protocol", "radsam-edit", "--rounds", 1, "--model", tiny_model,
             "--device", "cpu", "--worst", 0]  # fmt: skip
    assert run(*words, "--out", tmp_path / "one") == 0
    assert run(*words, "--ray", "--workers", 2, "--out", tmp_path / "two") == 0
    assert table(tmp_path / "one") == table(tmp_path / "two")
    assert "Ray on this machine" in (tmp_path / "two" / "report.md").read_text()


def test_without_ray_it_is_said(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="leave --ray out"):
        list(run_on_ray(tasks_of(plan, tmp_path), WorkerOptions(plan, "cpu")))
