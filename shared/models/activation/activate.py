"""Activates versions in child processes, and tells from how each ended whether a version is ready or refused."""

from __future__ import annotations

import contextlib
import os
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
from shared.models.activation.records import ExplanationKind, MethodRecord, State, VersionRecord
from shared.models.version import ModelVersion

#: A child may take so many times its limit by the clock, since others may have the processors.
CLOCK_TIMES = 5
#: What native code and Python say before they end for want of memory.
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory")
#: A child's libraries use one thread and one heap: the cap counts what they reserve, also where they do not use it.
_LEAN = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "TQDM_DISABLE": "1"}


#: What a child is given of the environment, by how names begin: it reads an untrusted file, and needs no keys.
_KEPT = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "PYTHON", "LD_", "OPENBLAS_", "GLIBC_")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one activation may take: MB of memory beside the libraries, and seconds of one processor."""

    memory_mb: int
    seconds: int


@dataclass(slots=True)
class _Said:
    """What the children of one activation have printed, and how the last of them ended before its last step."""

    step: str = "inspection"
    contract: Mapping[str, Any] | None = None
    methods: dict[ExplanationKind, MethodRecord] = field(default_factory=dict)
    refused: str | None = None
    shap: str | None = None
    out_of_memory: bool = False
    ending: str | None = None
    #: What broke outside of the model, such as a disk that is full: another start may see none of it.
    broken: str | None = None
    passing: bool = False

    def hear(self, line: bytes) -> None:
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
    said: _Said = field(default_factory=_Said)

    def run(self, *stages: str) -> str | None:
        """Let a child do some stages; return how it ended, if that was before its last step. Raises OSError."""
        command = [sys.executable, "-m", "shared.models.activation.stages"]
        command += [str(self.version.folder.absolute()), str(self.compiled_dir.absolute())]
        command += [str(self.limits.memory_mb), str(self.limits.seconds), *stages]
        said, late = self.said, False
        said.step, said.ending, said.out_of_memory = "inspection", None, False
        with subprocess.Popen(  # noqa: S603  # this very Python and a module of ours, no shell
            command,
            cwd=ROOT,
            env=child_environment(os.environ),  # noqa: TID251  # passed on to a child
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
            except BaseException:  # a start that is interrupted leaves nothing behind
                child.kill()
                raise
        for line in output.splitlines():
            if line.startswith(b"{"):  # libraries may print, too
                with contextlib.suppress(orjson.JSONDecodeError):  # a kill may cut the last line off
                    said.hear(line)
        if said.refused is None and said.step != "end":
            said.ending = self._ending(child.returncode, errors.decode(errors="replace"), late=late)
        return said.ending

    def _ending(self, code: int, errors: str, *, late: bool) -> str:
        step, limits = self.said.step, self.limits
        if self.said.out_of_memory or any(word in errors for word in _OUT_OF_MEMORY):
            return (
                f"its {step} needs more than {limits.memory_mb} MB of memory (ACTIVATION_MEMORY_MB): use fewer or "
                f"shallower trees, or raise the setting where there is more memory{_damaged(step)}"
            )
        self.said.passing = self.said.broken is not None or (-code == signal.SIGKILL and not late)
        if self.said.broken is not None:
            return f"its {step} failed: {self.said.broken}. The next start tries again"
        if self.said.passing:
            return f"its {step} was killed, probably since the machine ran out of memory. The next start tries again"
        if late or -code == signal.SIGXCPU:
            return (
                f"its {step} did not end within {limits.seconds} s of processor time (ACTIVATION_SECONDS): use fewer "
                "or shallower trees, or raise the setting"
            )
        last = (errors.strip().splitlines() or ["no message"])[-1][:200]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its {step} broke off with {how} ({last})"


def _damaged(step: str) -> str:
    """Say what else may be wrong where a model was not even loaded."""
    return "; or the file is damaged: save the model again" if step == "inspection" else ""


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment, without keys, tokens and addresses."""
    return {name: value for name, value in environment.items() if name.startswith(_KEPT)} | _LEAN


def activate_version(version: ModelVersion, compiled_dir: Path, limits: Limits, key: str) -> VersionRecord:
    """Inspect, compile and verify one version in child processes; what was compiled is in `compiled_dir`.

    Raises OSError if a child cannot be started.
    """
    began = time.monotonic()
    children = _Children(version, compiled_dir, limits)
    children.run("values", "interactions", "interventional")
    said = children.said
    if ExplanationKind.TREE_PATH_DEPENDENT in said.methods:
        if said.ending is not None:
            _try_alone(children, "interactions", ExplanationKind.INTERACTIONS)
            _try_alone(children, "interventional", ExplanationKind.INTERVENTIONAL)
        if said.shap is not None:
            _verify_shap(children)
    return _record(said, key, round(time.monotonic() - began, 2))


def _try_alone(children: _Children, stage: str, explanation: ExplanationKind) -> None:
    """Try a stage that was not reached or ended its child once more alone: what came before left less of the limits."""
    said = children.said
    if explanation in said.methods or said.shap is not None:
        return
    reason = children.run(stage)
    if reason is not None and explanation not in said.methods:
        said.methods[explanation] = MethodRecord(None, reason)


def _verify_shap(children: _Children) -> None:
    """Find out whether shap gives the interventional values for which there are no tables."""
    said = children.said
    children.run("shap")
    record = said.methods.get(ExplanationKind.INTERVENTIONAL) or MethodRecord(None, said.ending)
    reason = "; ".join(filter(None, (said.shap, record.reason)))
    said.methods[ExplanationKind.INTERVENTIONAL] = replace(record, reason=reason)


def _record(said: _Said, key: str, seconds: float) -> VersionRecord:
    """Refuse the version if nothing explains it."""
    methods, reason = said.methods, said.refused
    if ExplanationKind.TREE_PATH_DEPENDENT not in methods:
        reason = reason or said.ending
    elif not any(one.engine for one in methods.values()):
        reason = "; ".join(dict.fromkeys(one.reason or "" for one in methods.values()))
    state = State.READY if reason is None else State.REFUSED
    key = "" if said.passing else key  # so that the next start tries again
    return VersionRecord(key, state, reason, said.contract, methods if reason is None else {}, seconds)
