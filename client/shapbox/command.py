"""The command `shapbox`: explain a file of rows, list models and jobs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shapbox.client import Job, Shapbox
from shapbox.errors import RefusedError, RowsError, ShapboxError
from shapbox.exchange import DEFAULT_URL, VERSION
from shapbox.rows import media_type_of, parquet_library

_PARQUET = ".parquet"
#: Seconds for which requests are repeated: those of a long job, and those that a person waits for.
_PATIENCE, _SHORT_PATIENCE = 120.0, 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if it failed, 2 for wrong arguments, or 130 after Ctrl-C."""
    wanted = _parser().parse_args(arguments)
    try:
        patience = _PATIENCE if wanted.command == "explain" else _SHORT_PATIENCE
        with Shapbox(wanted.url, wanted.key, patience=patience) as box:
            run = {"explain": _explain, "models": _models, "jobs": _jobs}[wanted.command]
            run(box, wanted)
    except (ShapboxError, OSError, ValueError) as fault:
        sys.stderr.write(f"shapbox: {fault}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nshapbox: interrupted\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "shapbox", description="Exact SHAP values of tree models, from a Shapbox appliance."
    )
    parser.add_argument("--version", action="version", version=f"shapbox {VERSION}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", help=f"the appliance's address (SHAPBOX_URL, or {DEFAULT_URL})")
    common.add_argument("--key", help="the API key; better set SHAPBOX_API_KEY, which others cannot see")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    explain = commands.add_parser("explain", parents=[common], help="explain the rows of a file")
    explain.add_argument("rows", type=Path, help="a CSV, NPY, NDJSON (also packed: .gz) or Parquet file")
    explain.add_argument("-m", "--model", help="NAME or NAME@VERSION")
    explain.add_argument("--method", help="tree_path_dependent (the default) or interventional")
    explain.add_argument(
        "-o", "--output", type=Path, required=True, help="the file to write: .csv, .npy, .ndjson or .parquet"
    )
    explain.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    commands.add_parser("models", parents=[common], help="list the models")
    jobs = commands.add_parser("jobs", parents=[common], help="list the jobs, newest first")
    jobs.add_argument("--status", choices=["queued", "running", "completed", "failed", "cancelled"])
    return parser


def _explain(box: Shapbox, wanted: argparse.Namespace) -> None:
    output: Path = wanted.output
    if not output.parent.is_dir():
        raise RowsError(f"There is no folder {output.parent} to write {output.name} to.")
    library = parquet_library() if output.suffix.lower() == _PARQUET else None
    if library is None:
        media_type_of(output)  # a wrong name is told before the rows are sent
    job = box.submit(wanted.rows, wanted.model, wanted.method, progress=not wanted.quiet)
    with _cancelled_by_ctrl_c(job):
        job.wait(progress=not wanted.quiet)
    if library:
        part = output.with_name(f"{output.name}.part")
        try:
            frame = box.job(job.id).result().to_frame(library)
            (frame.write_parquet if library == "polars" else frame.to_parquet)(part)
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    else:
        job.save(output, progress=not wanted.quiet)
    if not wanted.quiet:
        sys.stderr.write(
            f"{job.document['rows']} rows of {job.document['model']} in {output}, job {job.id}\n"
        )


@contextlib.contextmanager
def _cancelled_by_ctrl_c(job: Job) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(RefusedError):  # it has ended
            job.cancel()
        raise


def _models(box: Shapbox, _: argparse.Namespace) -> None:
    lines = [("MODEL", "STATE", "FEATURES", "OUTPUTS", "METHODS")]
    for model in box.models():
        methods = [name for name, engine in model["engines"].items() if engine] or [model["reason"] or ""]
        counts = [str(len(model[name] or [])) for name in ("features", "outputs")]
        lines.append((f"{model['name']}@{model['version']}", model["state"], *counts, ", ".join(methods)))
    _print(lines)


def _jobs(box: Shapbox, wanted: argparse.Namespace) -> None:
    lines = [("JOB", "STATUS", "MODEL", "ROWS", "DONE", "CREATED")]
    for job in box.jobs(wanted.status):
        found = job.document
        done = f"{found['batches']['completed'] / max(1, found['batches']['total']):.0%}"
        lines.append((job.id, job.status, found["model"], str(found["rows"]), done, found["created_at"]))
    _print(lines)


def _print(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines)]  # noqa: B905  # all are equally long
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths))  # noqa: B905  # the same
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
