"""Where tasks are run: in this process, or by workers on Ray, one for each GPU."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ..errors import UserError
from .plan import Plan
from .results import FAILED
from .worker import Outcome, Task, Worker

_ATTEMPTS = 3  # for a task whose worker dies


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker is made with: see :class:`~.worker.Worker`."""

    plan: Plan
    device: str = "auto"
    cache_bytes: int = 512 << 20


def run_here(tasks: Sequence[Task], options: WorkerOptions) -> Iterator[tuple[Task, Outcome]]:
    """One task after the other, in this process."""
    if tasks:
        worker = Worker(options.plan, options.device, options.cache_bytes)
        for task in tasks:
            for outcome in worker.run(task):
                yield task, outcome


def run_on_ray(
    tasks: Sequence[Task],
    options: WorkerOptions,
    address: str | None = None,
    n_workers: int | None = None,
) -> Iterator[tuple[Task, Outcome]]:
    """Tasks on a Ray cluster, each worker loading its models once.

    A task whose worker dies is given to another one, up to three times in all; a new worker takes
    the dead one's place.

    Args:
        tasks: what to run; outcomes come task by task, as they end.
        options: of the workers. With a device other than ``cpu`` a worker has a GPU of its own
            where the cluster has GPUs.
        address: of a running cluster (``auto``, ``host:6379``, ``ray://host:10001``); None starts
            one on this machine.
        n_workers: None takes one for each GPU, or for each CPU core where there is none.

    Raises:
        UserError: ray is not installed, no cluster at the address, workers that cannot begin.
    """
    if find_spec("ray") is None:
        raise UserError(
            "Ray is not installed; leave --ray out, or pip install sam2medical3d[cluster]."
        )
    if not tasks:
        return
    import ray

    started = not ray.is_initialized()
    if started:
        # Ray reports its use to its makers unless told not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"There is no Ray cluster at {address} ({error}).") from error
    crew = None
    try:
        crew = _Crew(ray, options, n_workers, len(tasks))
        yield from crew.run(tasks)
    finally:
        if crew is not None:
            crew.dismiss()
        if started:
            ray.shutdown()


def local_gpus(device: str) -> int:
    """How many GPUs of this machine the device name stands for."""
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


class _RemoteWorker:
    """A worker in a process of its own. What is wrong with its model is told, not raised."""

    def __init__(self, options: WorkerOptions) -> None:
        import torch

        torch.set_num_threads(1)  # as many cores as it was given, whatever the environment says
        self._problem = ""
        try:
            self._worker = Worker(options.plan, options.device, options.cache_bytes)
        except UserError as error:
            self._problem = str(error)

    def ready(self) -> str:
        """Empty, or why it cannot work."""
        return self._problem

    def run(self, task: Task) -> list[Outcome]:
        """All outcomes of a task."""
        return list(self._worker.run(task))


class _Crew:
    """The workers of one evaluation, and which task each of them has."""

    def __init__(
        self, ray: Any, options: WorkerOptions, n_workers: int | None, n_tasks: int
    ) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        gpus = 0 if options.device == "cpu" else int(resources.get("GPU", 0))
        many = n_workers or gpus or int(resources.get("CPU", 1))
        self._kind = ray.remote(_RemoteWorker).options(num_cpus=1, num_gpus=1 if gpus else 0)
        self._options = options
        self._busy: dict[Any, tuple[Any, Task | None]] = {}
        self._idle: list[Any] = []
        self._died_at_start = 0
        for _ in range(max(1, min(many, n_tasks))):
            self._hire()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Outcomes of all tasks."""
        waiting = deque(tasks)
        attempts: Counter[str] = Counter()
        n_open = len(waiting)
        while n_open:
            while self._idle and waiting:
                worker, task = self._idle.pop(), waiting.popleft()
                self._busy[worker.run.remote(task)] = (worker, task)
            [reply], _ = self._ray.wait(list(self._busy), num_returns=1)
            worker, task = self._busy.pop(reply)
            try:
                answer = self._ray.get(reply)
            except self._ray.exceptions.RayError as error:
                self._replace(worker, task)
                if task is None:
                    continue
                name = task.jobs[0][0]
                attempts[name] += 1
                if attempts[name] < _ATTEMPTS:
                    waiting.appendleft(task)
                    continue
                reason = f"its worker died {_ATTEMPTS} times ({type(error).__name__})"
                answer = task.rows(FAILED, f"{task.title}: {reason}.")
            else:
                self._idle.append(worker)
            if task is None:
                if answer:
                    raise UserError(answer)
                continue
            n_open -= 1
            for outcome in answer:
                yield task, outcome

    def dismiss(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            self._ray.kill(worker)

    def _hire(self) -> None:
        worker = self._kind.remote(self._options)
        self._busy[worker.ready.remote()] = (worker, None)

    def _replace(self, worker: Any, task: Task | None) -> None:
        """A new worker for one that died."""
        if task is None:
            self._died_at_start += 1
            if self._died_at_start >= _ATTEMPTS:
                raise UserError(
                    "Workers end before they begin; see that every machine of the cluster has "
                    "sam2medical3d[evaluate], the model's file and enough memory."
                )
        self._ray.kill(worker)
        self._hire()
