"""What is run on every object, and the keys under which results are kept."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .. import __version__
from ..errors import UserError
from .baselines import REFERENCES
from .metrics import DEFAULT_TOLERANCE_MM
from .protocols import Options, protocol
from .tasks import CaseTask


@dataclass(frozen=True)
class MethodChoice:
    """A propagation method with the model that it runs.

    Attributes:
        method: a name in the registry of methods.
        model: a model's name or the path of a checkpoint.
        sha256: of the weights.
        config, image_size: see ``load_model``.
    """

    method: str
    model: str
    sha256: str
    config: str | None = None
    image_size: int | None = None

    @property
    def model_title(self) -> str:
        """The model as shown: of a path only the file's name."""
        return self.model.replace("\\", "/").rsplit("/", 1)[-1]


def choose_method(
    method: str, model: str | None = None, config: str | None = None, image_size: int | None = None
) -> MethodChoice:
    """A method with a model, or with the method's own model.

    Raises:
        UserError: unknown method or model, or a model that is not downloaded.
    """
    from ..models.registry import MODELS, file_sha256, load_model
    from ..propagation.registry import find_method

    model = find_method(method).choose_model(model)
    path = next((info.path for info in MODELS if info.name == model), Path(model))
    if not path.is_file():
        load_model(model, device="cpu")  # says what is missing
    return MethodChoice(method, model, file_sha256(path), config, image_size)


@dataclass(frozen=True)
class Job:
    """One protocol with one kind of prompt, by one method or reference.

    Attributes:
        choice: the method; None for a reference.
        reference: its name; empty for a method.
        protocol, kind: what is done.
        options: of the protocol.
    """

    protocol: str
    kind: str
    options: Options
    choice: MethodChoice | None = None
    reference: str = ""

    @property
    def method(self) -> str:
        """Name of the method or reference."""
        return self.reference if self.choice is None else self.choice.method

    @property
    def label(self) -> str:
        """The protocol as shown in tables."""
        name = self.protocol
        if name == "shen2024-5clicks" and self.options.clicks != 5:
            name = f"shen2024-{self.options.clicks}clicks"
        return name + (" (salient)" if self.options.salient else "")

    @property
    def prompt(self) -> str:
        """The prompt as shown in tables."""
        return self.options.start + " + clicks" if self.kind == "edit" else self.kind


@dataclass(frozen=True)
class Plan:
    """An evaluation: everything that decides its results, but for the cases.

    Attributes:
        methods: what is evaluated.
        protocols: their names.
        options: of the protocols; ``salient`` is replaced by ``salient_areas``.
        salient_areas: without, with, or both, for the protocols that know it.
        references: run the methods that need no learning beside them.
        plane: slicing plane; None takes that of the thickest slices.
        field_of_view, appearance: see ``create_propagator``.
        tolerance_mm: of the normalised surface Dice.
    """

    methods: tuple[MethodChoice, ...]
    protocols: tuple[str, ...]
    options: Options = Options()
    salient_areas: tuple[bool, ...] = (False,)
    references: bool = True
    plane: str | None = "axial"
    field_of_view: str = "model"
    appearance: float | None = None
    tolerance_mm: float = DEFAULT_TOLERANCE_MM

    def __post_init__(self) -> None:
        options = self.options
        if not 1 <= options.clicks <= 10:
            raise UserError(f"{options.clicks} clicks cannot be simulated; take 1 to 10.")
        if not 0 <= options.rounds <= 100:
            raise UserError(f"{options.rounds} rounds of corrections: take 0 to 100.")
        if self.tolerance_mm < 0:
            raise UserError(f"The tolerance is {self.tolerance_mm:g} mm; it cannot be negative.")
        for name in self.protocols:
            protocol(name)
        if True in self.salient_areas and False not in self.salient_areas:
            known = [n for n in self.protocols if protocol(n).has_salient_area]
            if not known:
                raise UserError("Only the protocols of shen2024 know a salient area.")

    def jobs(self) -> Iterator[Job]:
        """All jobs of one object, in the order of the report."""
        for name in self.protocols:
            known = protocol(name)
            areas = self.salient_areas if known.has_salient_area else (False,)
            for salient in areas:
                options = replace(self.options, salient=salient)
                for choice in self.methods:
                    for kind in known.kinds:
                        yield Job(name, kind, options, choice)
                for reference in REFERENCES if self.references else ():
                    yield Job(name, "mask", options, reference=reference)

    def key(self, case: CaseTask, name: str, job: Job) -> str:
        """What the result of a job on an object is kept under: a hash of all that decides it."""
        values = dict(case.objects)[name]
        options = asdict(job.options)
        known = protocol(job.protocol)
        # An option that the job does not read must not make it run again.
        unread = {
            "clicks": job.kind != "clicks",
            "rounds": job.kind != "edit",
            "start": job.kind != "edit",
            "salient": not known.has_salient_area,
            "seed": not known.has_salient_area,
        }
        for option, is_unread in unread.items():
            if is_unread:
                del options[option]
        decides = {
            "program": [__version__, _program_hash()],
            "dataset": case.dataset,
            "case": case.case,
            "data": case.fingerprint(),
            "object": [name, *values],
            "job": [job.protocol, job.kind, job.reference, options],
            "choice": None if job.choice is None else asdict(job.choice),
            "view": None if job.choice is None else [self.field_of_view, self.appearance],
            "plane": self.plane,
            "tolerance_mm": self.tolerance_mm,
        }
        text = json.dumps(decides, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@functools.cache
def _program_hash() -> str:
    """Hash of the library's source: a changed program makes its results anew."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if inside.parts[0] not in ("application", "cli", "mrml", "training", "preview"):
            digest.update(inside.as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
