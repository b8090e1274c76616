"""The report of a soak as Markdown: what happened, the table of memory, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.lab.soak.growth import Course
from ops.lab.soak.history import MINUTES, WORKERS, History
from ops.lab.soak.verdict import Verdict


def report(history: History, verdict: Verdict, faults: Sequence[str] = ()) -> str:
    """Return the report; `faults` says in words what went wrong first."""
    parts = [_happened(history), _table(verdict)]
    parts += ["\n".join(f"- {remark}" for remark in verdict.remarks)] if verdict.remarks else []
    parts.append(_verdict(verdict))
    parts += ["\n".join(f"    {fault}" for fault in faults)] if faults else []
    return "\n\n".join(parts) + "\n"


def _happened(history: History) -> str:
    counts, facts = history.counts, history.facts
    rate = counts.get("rows_done", 0) / max(history.seconds, 1.0)
    recycles = _named(counts, "recycles_")
    return (
        f"{facts[MINUTES]:g} minutes, {facts[WORKERS]:.0f} workers, working set by {history.source}. "
        f"{counts.get('jobs_done', 0):,} jobs with {counts.get('rows_done', 0):,} rows ({rate:,.0f} a second) and "
        f"{counts.get('one_row_answers', 0):,} single rows were explained, {counts.get('values_checked', 0):,} values "
        f"compared with XGBoost's own: {counts.get('values_wrong', 0)} results wrong, "
        f"{counts.get('jobs_failed', 0)} jobs failed, {counts.get('calls_broken', 0)} calls broken, "
        f"{counts.get('requests_refused', 0)} requests refused for a moment. Recycled workers: {recycles}. "
        f"Kills by the kernel: {counts.get('oom_kills', 'not known')}."
    )


def _named(counts: Mapping[str, int], begin: str) -> str:
    named = {name.removeprefix(begin): count for name, count in counts.items() if name.startswith(begin)}
    return ", ".join(f"{count} ({name})" for name, count in sorted(named.items()) if count) or "none"


def _table(verdict: Verdict) -> str:
    lines = [
        "| MB | after warm-up | middle | end | peak | growth an hour | runs |",
        "|---|---|---|---|---|---|---|",
        *(_line(course, str(course.runs)) for course in verdict.processes),
        _line(verdict.whole, ""),
    ]
    return "\n".join(lines)


def _line(course: Course, runs: str) -> str:
    growth = "not known" if course.growth is None else f"{course.growth:+.1f}"
    medians = [_cell(value) for value in (course.warm, course.middle, course.end, course.peak)]
    return f"| {course.name} | {' | '.join(medians)} | {growth} | {runs} |"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _verdict(verdict: Verdict) -> str:
    if verdict.passed:
        return "Passed."
    return "Not passed: " + "; ".join(verdict.faults) + "."
