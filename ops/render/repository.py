"""The commit: whole, and where Render can fetch it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.verify.report import FailedError

#: Seconds for git's own answers, and for the remote's.
LOCAL_SECONDS, REMOTE_SECONDS = 20.0, 30.0
#: Changed files that are named.
NAMED = 5
#: Keeps git from asking for a password, which nobody might be there to give.
UNASKED = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10"}


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder under git."""

    root: Path

    def git(self, *words: str, seconds: float = LOCAL_SECONDS) -> str | None:
        """Run git; returns what it prints, None if it fails."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**UNASKED, **os.environ},
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.rstrip("\n") if done.returncode == 0 else None

    def head(self) -> str | None:
        """Return the commit that is checked out."""
        return self.git("rev-parse", "HEAD")


def check_tree(repository: Repository) -> str:
    """See that the files here are those of the commit. Raises FailedError."""
    status, head = repository.git("status", "--porcelain"), repository.head()
    if status is None or head is None:
        raise FailedError(f"{repository.root} has no commit.", "Deploy from a clone: git clone ADDRESS.")
    if changed := [line[3:] for line in status.splitlines()]:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise FailedError(
            f"{len(changed)} files differ from the commit: {', '.join(changed[:NAMED])}{more}",
            "Render builds the commit: git commit them, or git stash -u.",
        )
    return f"clean at {head[:12]}"


def check_pushed(repository: Repository) -> str:
    """See that the remote has the commit, or had it when it last answered. Raises FailedError."""
    head, branch = repository.head(), repository.git("symbolic-ref", "--short", "HEAD")
    if head is None or branch is None:
        raise FailedError("No branch with a commit is checked out.", "git switch BRANCH.")
    remote, merged = (repository.git("config", f"branch.{branch}.{what}") for what in ("remote", "merge"))
    if not remote or not merged or repository.git("remote", "get-url", remote) is None:
        name = (repository.git("remote") or "origin").splitlines()[0]
        raise FailedError(f"{branch} has no remote branch.", f"git push -u {name} {branch}")
    theirs = merged.removeprefix("refs/heads/")
    answer = repository.git(
        "ls-remote", "--exit-code", remote, f"refs/heads/{theirs}", seconds=REMOTE_SECONDS
    )
    there = answer.split()[0] if answer else f"refs/remotes/{remote}/{theirs}"
    has_it = repository.git("merge-base", "--is-ancestor", head, there) is not None
    told = f"{remote}/{theirs} is at {there[:12]}, which {'has' if has_it else 'has not'} {head[:12]}"
    if answer is None:
        had = "had" if has_it else "did not have"
        told = f"{remote} does not answer; {remote}/{theirs} {had} {head[:12]} when it was last seen"
    if not has_it:
        raise FailedError(f"{told}.", f"git push {remote} HEAD:{theirs}")
    return told
