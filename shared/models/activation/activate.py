"""Activates versions in child processes, and decides whether each is ready or refused."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from shared.build import ROOT
from shared.child_environment import child_environment
from shared.memory import ran_out_of_memory
from shared.models.activation.records import ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.version import ModelVersion

#: A child's limit of wall time, in times its limit of processor time: others may use the processors.
CLOCK_TIMES = 5
#: One thread and one heap for a child's libraries: the cap counts reserved memory even if it is unused.
_LEAN = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "TQDM_DISABLE": "1"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one activation: MB of memory beside the libraries, processor seconds."""

    memory_mb: int
    seconds: int


@dataclass(slots=True)
class _Findings:
    """The findings that the children of one activation printed, as stages.py writes them."""

    step: str = "inspection"
    contract: Mapping[str, Any] | None = None
    methods: dict[ExplanationKind, MethodRecord] = field(default_factory=dict)
    refused: str | None = None
    #: Why there are no tables against the background, where shap may explain instead.
    shap: str | None = None
    out_of_memory: bool = False
    #: A fault outside of the model, such as a full disk, which may be gone at another start.
    broken: str | None = None
    #: How the last child failed; None if it came to its last step.
    failure: str | None = None
    #: Whether the next start is to try again.
    transient: bool = False

    def add(self, line: bytes) -> None:
        words = orjson.loads(line)
        self.step = words.get("step", self.step)
        self.contract = words.get("contract", self.contract)
        self.refused = words.get("refused", self.refused)
        self.shap = words.get("shap", self.shap)
        self.out_of_memory |= "out_of_memory" in words
        self.broken = words.get("broken", self.broken)
        if "method" in words:
            self.methods[ExplanationKind(words["method"])] = MethodRecord(**words["record"])


@dataclass(slots=True)
class _Children:
    """Starts children for one version, one after the other."""

    version: ModelVersion
    compiled_dir: Path
    limits: Limits
    findings: _Findings = field(default_factory=_Findings)

    def run(self, *stages: str) -> str | None:
        """Run some stages in a child; return how it failed, or None. Raises OSError."""
        command = [sys.executable, "-m", "shared.models.activation.stages"]
        command += [str(self.version.folder.absolute()), str(self.compiled_dir.absolute())]
        command += [str(self.limits.memory_mb), str(self.limits.seconds), *stages]
        found, late = self.findings, False
        found.step, found.failure, found.out_of_memory = "inspection", None, False
        with subprocess.Popen(  # noqa: S603  # this Python and our module, no shell
            command,
            cwd=ROOT,
            env=child_environment() | _LEAN,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            try:
                output, errors = child.communicate(timeout=self.limits.seconds * CLOCK_TIMES)
            except subprocess.TimeoutExpired:
                late = True
                child.kill()
                output, errors = child.communicate()
            except BaseException:  # an interrupted start leaves no child behind
                child.kill()
                raise
        for line in output.splitlines():
            if line.startswith(b"{"):  # libraries print, too
                with contextlib.suppress(orjson.JSONDecodeError):  # a kill may truncate the last line
                    found.add(line)
        if found.refused is None and found.step != "end":
            found.failure = self._failure(child.returncode, errors.decode(errors="replace"), late=late)
        return found.failure

    def _failure(self, code: int, errors: str, *, late: bool) -> str:
        found, step, limits = self.findings, self.findings.step, self.limits
        if found.out_of_memory or ran_out_of_memory(errors):
            return (
                f"its {step} needs more than {limits.memory_mb} MB of memory (ACTIVATION_MEMORY_MB): use fewer or "
                f"shallower trees, or raise the setting where there is more memory{_damaged(step)}"
            )
        found.transient = found.broken is not None or (-code == signal.SIGKILL and not late)
        if found.broken is not None:
            return f"its {step} failed: {found.broken}. The next start tries again"
        if found.transient:
            return f"its {step} was killed, probably because the machine ran out of memory. The next start tries again"
        if late or -code == signal.SIGXCPU:
            return (
                f"its {step} did not end within {limits.seconds} s of processor time (ACTIVATION_SECONDS): use fewer "
                "or shallower trees, or raise the setting"
            )
        last = (errors.strip().splitlines() or ["no message"])[-1][:200]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its {step} failed with {how} ({last})"


def _damaged(step: str) -> str:
    """Return another possible cause where a model was not even loaded."""
    return "; or the file is damaged: save the model again" if step == "inspection" else ""


def activate_version(version: ModelVersion, compiled_dir: Path, limits: Limits, key: str) -> VersionRecord:
    """Inspect, compile and verify one version in children; its tables are in `compiled_dir`.

    Raises OSError if a child cannot be started.
    """
    began = time.monotonic()
    children = _Children(version, compiled_dir, limits)
    children.run("values", "interactions", "interventional")
    found = children.findings
    if ExplanationKind.TREE_PATH_DEPENDENT in found.methods:
        if found.failure is not None:
            _try_alone(children, "interactions", ExplanationKind.INTERACTIONS)
            _try_alone(children, "interventional", ExplanationKind.INTERVENTIONAL)
        if found.shap is not None:
            _verify_shap(children)
    return _record(found, key, round(time.monotonic() - began, 2))


def _try_alone(children: _Children, stage: str, kind: ExplanationKind) -> None:
    """Try a stage alone if it failed or was not reached: others used part of the limits."""
    found = children.findings
    if kind in found.methods or found.shap is not None:
        return
    failure = children.run(stage)
    if failure is not None and kind not in found.methods:
        found.methods[kind] = MethodRecord(None, failure)


def _verify_shap(children: _Children) -> None:
    """Verify shap's interventional values, for which there are no tables."""
    found = children.findings
    children.run("shap")
    record = found.methods.get(ExplanationKind.INTERVENTIONAL) or MethodRecord(None, found.failure)
    reason = "; ".join(filter(None, (found.shap, record.reason)))
    found.methods[ExplanationKind.INTERVENTIONAL] = replace(record, reason=reason)


def _record(found: _Findings, key: str, seconds: float) -> VersionRecord:
    """Refuse the version if no engine explains it."""
    methods, reason = found.methods, found.refused
    if ExplanationKind.TREE_PATH_DEPENDENT not in methods:
        reason = reason or found.failure
    elif not any(one.engine for one in methods.values()):
        reason = "; ".join(dict.fromkeys(one.reason or "" for one in methods.values()))
    state = State.READY if reason is None else State.REFUSED
    key = "" if found.transient else key  # so that the next start tries again
    return VersionRecord(key, state, reason, found.contract, methods if reason is None else {}, seconds)
