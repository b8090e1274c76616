"""The whole appliance over HTTP next to bare XGBoost processes with the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ops.container.box import Box
from ops.container.peak import Peak, peak_of
from ops.lab.bench.bare_processes import bare_processes
from ops.lab.bench.bodies import WRITERS, Matrix
from ops.lab.bench.end_to_end import EndToEnd, check_values, run_job
from ops.lab.bench.places import contained, native, trained_models
from ops.lab.bench.processor_time import processor_seconds
from ops.lab.bench.trained import MISSING, Shape
from ops.lab.reached import Reached
from ops.lab.reference import reference_contributions
from ops.lab.trial_appliance import Appliance
from shared.models.version import ModelVersion

#: Rows that the bare processes explain in a turn, all of them together: their rate does not rise with more.
BARE_ROWS = 6_000
#: Rows of a result that are compared with XGBoost's own, spread over all of it.
CHECKED = 2_000
#: Rows that all clients send in a turn, and the turns.
ROWS, TURNS = 200_000, 3
#: Rows that are sent before any turn, for each media type.
WARM_UP = 5_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of a turn in each media type, and the number of parallel clients."""

    rows: int = ROWS
    media_types: Sequence[str] = tuple(WRITERS)
    turns: int = TURNS
    clients: int = 1
    #: The image to run in a container of 512 MB; natively without one.
    image: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Throughput:
    """One model's rows a second: of the bare processes, and of each media type's turns.

    `processor` has the µs that each program takes for a row, by media type; nothing of what runs in a container.
    """

    shape: Shape
    rows: int
    bare: list[float] = field(default_factory=list)
    turns: dict[str, list[list[EndToEnd]]] = field(default_factory=dict)
    processor: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    peak_mb: float | None = None

    def rates(self, media_type: str) -> list[float]:
        """Return the rows a second of each turn: all clients' rows by the time of the slowest."""
        return [self.rows / max(each.fetched for each in turn) for turn in self.turns[media_type]]

    def stages(self, media_type: str) -> tuple[float, float, float]:
        """Return the medians of the seconds until the rows were accepted, explained and fetched."""
        runs = [each for turn in self.turns[media_type] for each in turn]
        medians = np.median([(each.accepted, each.explained, each.fetched) for each in runs], axis=0)
        return (float(medians[0]), float(medians[1]), float(medians[2]))


def measure_throughput(shapes: Sequence[Shape], plan: Plan) -> Iterator[Throughput]:
    """Start an appliance with a model of each shape, and measure one after the other.

    Raises BenchError where a job fails or a value is wrong, TrialError or DockerError if the appliance does not start.
    """
    with trained_models(shapes) as (models, versions):
        image, settings = plan.image, plan.settings
        with contained(models, settings, image) if image else native(models, settings) as appliance:
            for shape, version in versions.items():
                with _watching(appliance) as peak:
                    found = _measure(appliance, shape, version, plan)
                found.peak_mb = peak.highest_mb if peak else None
                yield found


@contextlib.contextmanager
def _watching(appliance: Reached) -> Iterator[Peak | None]:
    """Watch a container's working set; of what runs natively nothing is charged in one place."""
    if not isinstance(appliance, Box):
        yield None
        return
    with peak_of(appliance) as peak:
        yield peak


def random_rows(shape: Shape, count: int) -> Matrix:
    """Return rows like those that the model was trained on, always the same."""
    chance = np.random.default_rng(1)
    rows = chance.standard_normal((count, shape.features), dtype=np.float32)
    rows[chance.random(rows.shape, dtype=np.float32) < MISSING] = np.nan
    return rows


def _measure(appliance: Reached, shape: Shape, version: ModelVersion, plan: Plan) -> Throughput:
    rows = random_rows(shape, plan.rows)
    shares = np.array_split(rows, plan.clients)
    places = np.linspace(0, len(shares[0]) - 1, min(CHECKED, len(shares[0])), dtype=np.int64)
    wanted = reference_contributions(version.model_path, shares[0][places])
    found = Throughput(shape, len(rows), turns={media_type: [] for media_type in plan.media_types})
    for media_type in plan.media_types:
        _send(appliance, version, media_type, [rows[:WARM_UP]])
    with bare_processes(version.model_path, rows[:BARE_ROWS]) as bare:
        for _ in range(plan.turns):
            for media_type in plan.media_types:
                found.bare.append(bare.rows_a_second())
                with _accounting(appliance, found, media_type):
                    runs, results = _send(appliance, version, media_type, shares)
                check_values(media_type, results[0], places, wanted)
                found.turns[media_type].append(runs)
    return found


@contextlib.contextmanager
def _accounting(appliance: Reached, found: Throughput, media_type: str) -> Iterator[None]:
    """Note what each program takes of the processors while the block runs."""
    if not isinstance(appliance, Appliance):
        yield
        return
    before = processor_seconds(appliance)
    yield
    after = processor_seconds(appliance)
    each = {name: (after[name] - before[name]) / found.rows * 1e6 for name in after}
    found.processor.setdefault(media_type, []).append(each)


def _send(
    appliance: Reached, version: ModelVersion, media_type: str, shares: Sequence[Matrix]
) -> tuple[list[EndToEnd], list[bytes]]:
    """Let each client have its share explained; the bodies are written in advance."""
    bodies = [WRITERS[media_type](version, share) for share in shares]

    def run(body: bytes, share: Matrix) -> tuple[EndToEnd, bytes]:
        return run_job(appliance, version.id, media_type, body, len(share))

    with ThreadPoolExecutor(len(shares)) as clients:
        done = list(clients.map(run, bodies, shares))
    return [each for each, _ in done], [result for _, result in done]
