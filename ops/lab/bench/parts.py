"""The parts of `python -m ops.lab.bench`: each gives text for the page and faults in values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ops.lab.bench import against_background, engines, over_http
from ops.lab.bench.engine_report import engine_table, verdict, wrong_values
from ops.lab.bench.errors import SHAPES, error_table, measure_errors
from ops.lab.bench.interactions import interaction_lines, measure_interactions
from ops.lab.bench.over_http_report import over_http_report, wrong_results
from ops.lab.bench.shared_tables import measure_shared_tables, shared_table
from ops.lab.bench.trained import Shape
from ops.lab.reference import EXACT
from shared.treeshap.library import Library

type Say = Callable[[str], None]

#: Minutes that all parts may take.
MINUTES = 20.0
#: The share of the time that the engines' table gets; what runs over HTTP and the errors take what they take.
ENGINES_SHARE = 0.6
#: The models whose interactions are measured, and the seconds for each and number of rows.
PAIR_SHAPES, PAIR_SECONDS = tuple(Shape(depth, 100, 30) for depth in (3, 4, 6, 8)), 2.0
#: The sizes of the quick form: enough to see that everything works.
QUICK_SHAPE = Shape(2, 3, 4)
QUICK_ENGINES = engines.Plan((2,), (3,), (4,), (1, 50), 1.0, 0.0)
QUICK_BACKGROUND = against_background.Plan((QUICK_SHAPE,), (10,), (1, 20), 0.2)
QUICK_HTTP = over_http.Plan(QUICK_SHAPE, 1, 3, 2, 2_000, 1_000, 500, 500, 1)


@dataclass(frozen=True, slots=True)
class Effort:
    """The time of all parts together; whether it is the quick form; whether peers take part."""

    minutes: float = MINUTES
    quick: bool = False
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Measured:
    """A part's text in Markdown, and values that were wrong, in words."""

    text: str
    wrong: list[str]


def measure_engines(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure the kernels beside XGBoost and the other libraries."""
    usual = engines.Plan(seconds=effort.minutes * 60 * ENGINES_SHARE)
    plan = replace(QUICK_ENGINES if effort.quick else usual, peers=effort.peers)
    lines = list(engines.measure_engines(plan, library, say))
    return Measured(f"{engine_table(lines)}\n\n{verdict(lines)}", wrong_values(lines))


def measure_interventional(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure values against a background."""
    plan = replace(QUICK_BACKGROUND if effort.quick else against_background.Plan(), peers=effort.peers)
    lines = list(against_background.measure_against_background(plan, library, say))
    return Measured(against_background.background_table(lines), against_background.wrong_values(lines))


def measure_pairs(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure interactions, which no other library gives exactly and in bearable time."""
    shapes = [QUICK_SHAPE] if effort.quick else PAIR_SHAPES
    say(f"interactions of {len(shapes)} models")
    found = list(measure_interactions(shapes, library, 0.1 if effort.quick else PAIR_SECONDS))
    wrong = [f"{each.shape}: {each.distance:.1e} apart" for each in found if not each.distance <= EXACT]
    return Measured("\n".join(interaction_lines(found)), wrong)


def measure_truth(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure the errors of the kernels and of XGBoost."""
    shapes = [QUICK_SHAPE] if effort.quick else SHAPES
    return Measured(error_table(list(measure_errors(library, say, shapes))), [])


def measure_memory(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure what processes have of their own beside a large compiled model."""
    del library
    say("memory beside a large compiled model")
    found = measure_shared_tables(QUICK_SHAPE, 1_000) if effort.quick else measure_shared_tables()
    return Measured(shared_table(found), [])


def measure_service(effort: Effort, library: Library, say: Say) -> Measured:
    """Measure the whole appliance and its peers over HTTP."""
    del library
    plan = replace(QUICK_HTTP if effort.quick else over_http.Plan(), peers=effort.peers)
    found = over_http.measure_over_http(plan, say)
    return Measured(over_http_report(found), wrong_results(found.bulk))


#: In the order in which all of them run. A part added here belongs to `make bench` and to docs/benchmarks.md, where a
#: pair of markers with its name must stand.
PARTS: Mapping[str, Callable[[Effort, Library, Say], Measured]] = {
    "engines": measure_engines,
    "interventional": measure_interventional,
    "interactions": measure_pairs,
    "errors": measure_truth,
    "memory": measure_memory,
    "service": measure_service,
}
