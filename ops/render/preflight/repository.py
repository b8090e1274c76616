"""The commit: whole, and where Render can fetch it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.render.preflight.finding import Finding

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

    def remote(self) -> str | None:
        """Return the address of the remote that this branch is pushed to, else of origin."""
        branch = self.git("symbolic-ref", "--short", "HEAD") or ""
        name = self.git("config", f"branch.{branch}.remote") or "origin"
        return self.git("remote", "get-url", name)


def check_tree(repository: Repository) -> Finding:
    """Look whether what is here is what the commit holds."""
    status = repository.git("status", "--porcelain")
    if status is None or repository.head() is None:
        return Finding.failed(
            "tree", f"{repository.root} has no commit", "Deploy from a clone: git clone ADDRESS."
        )
    changed = [line[3:] for line in status.splitlines()]
    if changed:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        seen = f"{len(changed)} files differ from the commit: {', '.join(changed[:NAMED])}{more}"
        return Finding.failed("tree", seen, "Render builds the commit: git commit them, or git stash -u.")
    return Finding.passed("tree", f"clean at {(repository.head() or '')[:12]}")


def check_pushed(repository: Repository) -> Finding:
    """Check that the remote has the commit, or had it when it last answered."""
    head, branch = repository.head(), repository.git("symbolic-ref", "--short", "HEAD")
    if head is None or branch is None:
        return Finding.failed("pushed", "no branch with a commit is checked out", "git switch BRANCH.")
    remote, merged = (repository.git("config", f"branch.{branch}.{what}") for what in ("remote", "merge"))
    if not remote or not merged or repository.git("remote", "get-url", remote) is None:
        name = (repository.git("remote") or "origin").splitlines()[0]
        return Finding.failed("pushed", f"{branch} has no remote branch", f"git push -u {name} {branch}")
    return _compare(repository, head, remote, merged.removeprefix("refs/heads/"))


def _compare(repository: Repository, head: str, remote: str, branch: str) -> Finding:
    upstream = f"{remote}/{branch}"
    answer = repository.git(
        "ls-remote", "--exit-code", remote, f"refs/heads/{branch}", seconds=REMOTE_SECONDS
    )
    if answer is None:
        return _last_seen(repository, head, upstream, remote)
    there = answer.split()[0]
    if there == head:
        return Finding.passed("pushed", f"{upstream} is at {head[:12]}")
    if repository.git("merge-base", "--is-ancestor", head, there) is not None:
        return Finding.passed("pushed", f"{upstream} has {head[:12]}, and newer commits")
    return Finding.failed(
        "pushed", f"{upstream} is at {there[:12]}, not at {head[:12]}", f"git push {remote} HEAD:{branch}"
    )


def _last_seen(repository: Repository, head: str, upstream: str, remote: str) -> Finding:
    """Judge by what the remote was when it answered last."""
    had_it = repository.git("merge-base", "--is-ancestor", head, f"refs/remotes/{upstream}") is not None
    if had_it:
        return Finding.passed(
            "pushed", f"{remote} does not answer; {upstream} had {head[:12]} when it was last seen"
        )
    return Finding.failed(
        "pushed",
        f"{remote} does not answer or has no such branch, and {upstream} had no {head[:12]} when it was last seen",
        f"git push {remote}, once it can be reached.",
    )
