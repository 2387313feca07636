"""Runs jobs: loads every model once and a volume when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..datasets import LoadedCase
from ..errors import UserError
from ..propagation import Propagator
from ..volume import SliceStack
from .baselines import REFERENCES
from .metrics import scores
from .objects import ObjectCase, Skipped
from .packing import pack
from .plan import Job, MethodChoice, Plan
from .protocols import protocol
from .results import FAILED, SKIPPED, Row
from .tasks import CaseTask, mask_of


@dataclass(frozen=True)
class Task:
    """Jobs on one object of one case: the piece of work that is handed out.

    Attributes:
        case, name: the case and which of its objects.
        jobs: (key, job).
    """

    case: CaseTask
    name: str
    jobs: tuple[tuple[str, Job], ...]

    @property
    def title(self) -> str:
        """Case and object."""
        return f"{self.case.case}: {self.name}"

    def rows(self, status: str, error: str) -> list[Outcome]:
        """Outcomes that say why there is no result."""
        return [
            Outcome(key, (self.row(job, status=status, error=error),)) for key, job in self.jobs
        ]

    def row(self, job: Job, **values: object) -> Row:
        """A row of a job, with what is known before it is run."""
        return Row(
            dataset=self.case.dataset,
            case=self.case.case,
            patient=self.case.source.patient,
            object=self.name,
            method=job.method,
            model="" if job.choice is None else job.choice.model_title,
            protocol=job.label,
            prompt=job.prompt,
            **values,
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a job.

    Attributes:
        key: of the job.
        rows: one for each round, or one that says why there is none.
        kept: the last round's mask and prompts, packed; None for references and failures.
    """

    key: str
    rows: tuple[Row, ...]
    kept: bytes | None = None


class Worker:
    """Evaluates objects, one after the other.

    Args:
        plan: what to run; every model in it is loaded now.
        device: see ``choose_device``.
        cache_bytes: budget for image embeddings, for each method.

    Raises:
        UserError: a model that cannot be loaded, or is not the one that the plan was made for.
    """

    def __init__(self, plan: Plan, device: str = "auto", cache_bytes: int = 512 << 20) -> None:
        self._plan = plan
        self._propagators = _propagators(plan, device, cache_bytes)
        self._loaded: tuple[CaseTask, LoadedCase | str, SliceStack | None] | None = None

    def run(self, task: Task) -> Iterator[Outcome]:
        """The outcomes of a task's jobs, as they end. Nothing is raised: failures are outcomes."""
        try:
            case = self._object(task)
        except Skipped as error:
            yield from task.rows(SKIPPED, str(error))
            return
        except Exception as error:
            yield from task.rows(FAILED, _sentence(error))
            return
        shown: dict[tuple, ObjectCase] = {}
        for key, job in task.jobs:
            try:
                known, options = protocol(job.protocol), job.options
                # Protocols that show the same slices share them, and so their embeddings.
                view = (known.show, options.window or known.window, options.salient, options.seed)
                if view not in shown:
                    shown[view] = known.prepare(case, options)
                yield self._outcome(task, key, job, shown[view])
            except Skipped as error:
                yield Outcome(key, (task.row(job, status=SKIPPED, error=str(error)),))
            except Exception as error:
                yield Outcome(key, (task.row(job, status=FAILED, error=_sentence(error)),))

    def _object(self, task: Task) -> ObjectCase:
        """The object on its stack; a volume is read once for all of its objects."""
        if self._loaded is None or self._loaded[0] != task.case:
            self._loaded = None
            try:
                loaded: LoadedCase | str = task.case.load()
                stack = SliceStack(loaded.volume, self._plan.plane)
            except UserError as error:
                loaded, stack = str(error), None
            self._loaded = (task.case, loaded, stack)
        _, loaded, stack = self._loaded
        if stack is None:
            raise UserError(loaded)
        mask = mask_of(loaded.labels, dict(task.case.objects)[task.name])
        if not mask.any():
            raise Skipped(f"{task.title}: the label is empty in this case.")
        return ObjectCase.of(task.case.dataset, task.case.case, task.name, stack, mask)

    def _outcome(self, task: Task, key: str, job: Job, case: ObjectCase) -> Outcome:
        truth = case.on_all_slices(case.truth)
        spacing = case.stack.geometry.spacing

        def row(mask: np.ndarray, **values: object) -> Row:
            found = scores(case.on_all_slices(mask), truth, spacing, self._plan.tolerance_mm)
            agreement = {name: getattr(found, name) for name in ("dice", "iou", "hd95_mm", "nsd")}
            return task.row(job, **agreement, empty=not mask.any(), **values)

        if job.choice is None:
            mask = REFERENCES[job.reference](case)
            return Outcome(key, (row(mask, interactions=1),))
        rows: list[Row] = []
        last = None
        propagator = self._propagators[job.choice]
        for found in protocol(job.protocol).run(propagator, case, job.kind, job.options):
            if last is not None and found.mask is last.mask:
                rows.append(replace(rows[-1], round=found.number, seconds=found.seconds))
            else:
                rows.append(
                    row(
                        found.mask,
                        round=found.number,
                        clicks=found.clicks,
                        interactions=found.interactions,
                        seconds=found.seconds,
                    )
                )
            last = found
        return Outcome(
            key, tuple(rows), pack(case.on_all_slices(last.mask), last.prompts, case.first)
        )


def _propagators(plan: Plan, device: str, cache_bytes: int) -> dict[MethodChoice, Propagator]:
    from ..models.registry import LoadedModel, load_model
    from ..propagation.registry import create_propagator

    models: dict[tuple, LoadedModel] = {}
    found = {}
    for choice in plan.methods:
        which = (choice.model, choice.config, choice.image_size)
        if which not in models:
            models[which] = load_model(
                choice.model, image_size=choice.image_size, config=choice.config, device=device
            )
        model = models[which]
        if model.sha256 != choice.sha256:
            raise UserError(
                f"The weights of {choice.model} are not the ones that this evaluation began with "
                "(their SHA-256 differs); use the same file everywhere."
            )
        found[choice] = create_propagator(
            choice.method,
            model,
            cache_bytes=cache_bytes,
            field_of_view=plan.field_of_view,
            appearance=plan.appearance,
        )
    return found


def _sentence(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {text}"
