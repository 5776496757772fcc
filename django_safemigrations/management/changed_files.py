"""Asks git which files have changed since a commit: also uncommitted and untracked ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from django_safemigrations.exceptions import SafeMigrationsError


class NoChanges(SafeMigrationsError):
    """Git can't say what has changed; the message says why, and what to type."""


def changed_files(ref: str, directory: Path) -> frozenset[Path]:
    """Return the files that differ from where the current branch left a commit's history.

    Compared is the working tree, whatever is staged or committed, with the last common ancestor
    of HEAD and `ref` (as ``git diff ref...HEAD`` does), so that what others have added to `ref`
    since doesn't count. New and renamed files count, deleted ones don't, and neither do files
    that git ignores.

    Args:
        ref: a branch, tag or commit.
        directory: somewhere in the checkout.

    Raises:
        NoChanges: git isn't installed, `directory` is in no checkout, or `ref` isn't known.
    """
    try:
        root = Path(_git(directory, "rev-parse", "--show-toplevel").rstrip("\n"))
    except _GitFailed as error:
        raise NoChanges(
            f"--since asks git, which does not know {directory} as a checkout: {error}"
        ) from error
    try:
        commit = _git(root, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except _GitFailed as error:
        raise NoChanges(
            f"Git knows no commit {ref!r}. Fetch it first, or name another one; "
            "git branch --all lists the branches."
        ) from error
    try:
        base = _git(root, "merge-base", commit.strip(), "HEAD").strip()
    except _GitFailed as error:
        raise NoChanges(
            f"{ref!r} and HEAD have no common ancestor here. In a shallow clone, fetch more of the "
            "history: git fetch --unshallow (GitHub Actions: fetch-depth: 0)."
        ) from error
    changed = _git(
        root, "diff", "--name-only", "--no-relative", "--diff-filter=d", "-M", "-z", base, "--"
    )
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return frozenset((root / name).resolve() for name in _names(changed + untracked))


def _names(listed: str) -> Iterator[str]:
    return (name for name in listed.split("\0") if name)


class _GitFailed(Exception):
    """What git wrote to its standard error."""


def _git(directory: Path, *arguments: str) -> str:
    """Run git and return what it prints; names of files may hold any byte."""
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            cwd=directory,
            capture_output=True,
            check=False,
            # Messages are only passed on, but dates and such should not depend on the user.
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except OSError as error:
        raise NoChanges(
            f"--since asks git, which can't be run: {error.strerror}. Install git, or name the "
            "files to lint as arguments."
        ) from error
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().splitlines()
        raise _GitFailed(said[0] if said else f"exit code {done.returncode}")
    return os.fsdecode(done.stdout)
