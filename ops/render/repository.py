"""The commit: whole, and where Render can fetch it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ops.verify.report import FailedError

#: Seconds for git's answer, which may be the remote's.
SECONDS = 30.0
#: Changed files that are named.
NAMED = 5
#: Keeps git from asking for a password, which nobody might be there to give, and from waiting for a remote that says
#: nothing, or less than 1 KB/s: git's own helpers go on after git has been stopped.
UNASKED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10",
    "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
    "GIT_HTTP_LOW_SPEED_TIME": "20",
}


def git(root: Path, *words: str) -> str | None:
    """Run git in a folder; returns what it prints, None if it fails."""
    command, environment = ["git", "-C", str(root), *words], {**UNASKED, **os.environ}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").rstrip("\n")


def check_tree(root: Path) -> str:
    """See that the files here are those of the commit. Raises FailedError."""
    status, head = git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD")
    if status is None or head is None:
        raise FailedError(f"{root} has no commit.", "Deploy from a clone: git clone ADDRESS.")
    if changed := [line[3:] for line in status.splitlines()]:
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        raise FailedError(
            f"{len(changed)} files differ from the commit: {', '.join(changed[:NAMED])}{more}",
            "Render builds the commit: git commit them, or git stash -u.",
        )
    return f"clean at {head[:12]}"


def check_pushed(root: Path) -> str:
    """See that the remote has the commit, or had it when it last answered. Raises FailedError."""
    head, branch = git(root, "rev-parse", "HEAD"), git(root, "symbolic-ref", "--short", "HEAD")
    if head is None or branch is None:
        raise FailedError("No branch with a commit is checked out.", "git switch BRANCH.")
    remote, merged = (git(root, "config", f"branch.{branch}.{what}") for what in ("remote", "merge"))
    if not remote or not merged or git(root, "remote", "get-url", remote) is None:
        raise FailedError(f"{branch} has no remote branch.", f"git push -u origin {branch}")
    theirs = merged.removeprefix("refs/heads/")
    answer = git(root, "ls-remote", "--exit-code", remote, merged)
    there = answer.split()[0] if answer else f"refs/remotes/{remote}/{theirs}"
    has_it = git(root, "merge-base", "--is-ancestor", head, there) is not None
    told = f"{remote}/{theirs} {'has' if has_it else 'does not have'} {head[:12]}"
    if answer is None:
        told = f"{remote} does not answer; when it last did, {told}"
    if not has_it:
        raise FailedError(f"{told}.", f"git push {remote} HEAD:{theirs}")
    return told
