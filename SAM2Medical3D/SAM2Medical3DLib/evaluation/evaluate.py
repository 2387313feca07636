"""An evaluation from its plan to all rows, going on where an earlier one stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import replacing
from .gathering import Cohort
from .packing import Kept, unpack
from .plan import Job, MethodChoice, Plan
from .results import FAILED, SKIPPED, ResultsFile, Row
from .tasks import CaseTask
from .worker import Outcome, Task

Runner = Callable[[Sequence[Task]], Iterator[tuple[Task, Outcome]]]


@dataclass(frozen=True)
class Result:
    """A job on an object with its rows.

    Attributes:
        case, name: the object.
        job, key: what was run, and what its rows are kept under.
        rows: one for each round, or one that says why there is none.
    """

    case: CaseTask
    name: str
    job: Job
    key: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation found.

    Attributes:
        plan, cohort: what was run, on what.
        results: in the order of the cohort and the plan.
        work: the folder with rows and masks.
    """

    plan: Plan
    cohort: Cohort
    results: tuple[Result, ...]
    work: Path

    @property
    def rows(self) -> list[Row]:
        """All rows in order."""
        return [row for result in self.results for row in result.rows]

    @property
    def problems(self) -> list[str]:
        """A sentence for everything that could not be evaluated and should have been."""
        return [*self.cohort.problems, *_sentences(self.rows, FAILED)]

    @property
    def skipped(self) -> list[str]:
        """A sentence for everything that there was nothing to evaluate in."""
        return _sentences(self.rows, SKIPPED)

    def kept(self, result: Result) -> Kept:
        """The last round's mask and prompts of a method's result."""
        return unpack(_mask_path(self.work, result.key).read_bytes())


def evaluate(cohort: Cohort, plan: Plan, out: Path, runner: Runner) -> Evaluation:
    """Run every job of a plan on every object of a cohort that has not been run yet.

    Args:
        cohort: the cases.
        plan: what to run on them.
        out: folder of the evaluation; rows and masks are kept in its ``work``.
        runner: gives the outcomes of tasks, in any order.

    Raises:
        UserError: a model that cannot be loaded, a folder that cannot be written.
    """
    from tqdm import tqdm

    work = out / "work"
    try:
        (work / "masks").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be created ({error.strerror}).") from error
    kept = ResultsFile(work / "results.jsonl")
    tasks = list(all_tasks(cohort, plan))
    waiting = [
        Task(task.case, task.name, left)
        for task in tasks
        if (left := tuple((key, job) for key, job in task.jobs if not kept.finished(key)))
    ]
    total = sum(len(task.jobs) for task in waiting)
    told: set[str] = set()
    with tqdm(total=total, unit="job", file=sys.stderr, disable=not total) as bar:
        for task, outcome in runner(waiting):
            if outcome.kept is not None:
                with replacing(_mask_path(work, outcome.key)) as temporary:
                    temporary.write_bytes(outcome.kept)
            kept.add(outcome.key, outcome.rows)
            bar.set_description(task.title[:30], refresh=False)
            bar.update()
            for sentence in set(_sentences(outcome.rows, FAILED)) - told:
                told.add(sentence)
                bar.write(f"failed: {sentence}", file=sys.stderr)
    results = tuple(
        Result(task.case, task.name, job, key, kept.rows[key])
        for task in tasks
        for key, job in task.jobs
    )
    return Evaluation(plan, cohort, results, work)


def all_tasks(cohort: Cohort, plan: Plan) -> Iterator[Task]:
    """One task for each object and method, and one for its references: small enough to share."""
    for case in cohort.cases:
        for name, _ in case.objects:
            by_method: dict[MethodChoice | None, list[tuple[str, Job]]] = {}
            for job in plan.jobs():
                by_method.setdefault(job.choice, []).append((plan.key(case, name, job), job))
            for jobs in by_method.values():
                yield Task(case, name, tuple(jobs))


def _sentences(rows: Iterable[Row], status: str) -> list[str]:
    """What rows of a status say, each sentence once."""
    return list(dict.fromkeys(row.error for row in rows if row.status == status))


def _mask_path(work: Path, key: str) -> Path:
    return work / "masks" / f"{key}.npz"
