"""Copies a database with pg_dump and pg_restore: everything, from one snapshot, by many sessions."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from django_safemigrations.postgres.programs import Programs, environment, run_program
from django_safemigrations.rehearsal.copies.sessions import Parameters

MOST_JOBS = 4
SAY_EVERY = 5.0
LOCK_WAIT = "60s"

# The copy belongs to who makes it: the roles of production need not exist there, and what runs in
# it runs as its owner. A subscription would begin to replicate; a copy has none.
RESTORED = (
    "--no-owner",
    "--no-privileges",
    "--no-tablespaces",
    "--no-publications",
    "--no-subscriptions",
    "--no-security-labels",
)


@dataclass(frozen=True)
class Copying:
    """How pg_dump and pg_restore are run.

    Attributes:
        programs: where they are.
        directory: where the dump is put; private.
        jobs: how many sessions work at once.
        target_env: the environment that pg_restore starts with, before its connection is added.
        progress: told what happens.
        monotonic: a clock in seconds.
    """

    programs: Programs
    directory: Path
    jobs: int
    target_env: Mapping[str, str]
    progress: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic

    def dump(self, source: Parameters, *more: str) -> None:
        """Dump a database into the directory.

        It reads under ACCESS SHARE locks, which block nobody but DDL, for as long as it takes.

        Args:
            source: libpq's parameters.
            more: arguments.

        Raises:
            ProgramFailed: pg_dump failed.
        """
        command = [self.programs.path("pg_dump"), "--format=directory", f"--jobs={self.jobs}"]
        # It is read once and deleted: neither worth compressing nor worth waiting for the disk.
        command += ["--compress=0", "--no-sync", f"--file={self.directory}", "--no-password"]
        command += [f"--lock-wait-timeout={LOCK_WAIT}", "--verbose", *more]
        run_program(command, environment(source), on_line=self._said("pg_dump"))

    def restore(self, target: Parameters, *more: str) -> None:
        """Restore the dump into a database.

        Args:
            target: libpq's parameters.
            more: arguments.

        Raises:
            ProgramFailed: pg_restore failed; it stops at the first error.
        """
        command = [self.programs.path("pg_restore"), f"--jobs={self.jobs}", "--exit-on-error"]
        command += [*RESTORED, "--no-password", "--verbose", *more]
        # Here, and not in the environment alone: nothing may win over it.
        name = make_conninfo(dbname=target["dbname"])
        command += [f"--dbname={name}", str(self.directory)]
        env = environment(target, self.target_env)
        run_program(command, env, on_line=self._said("pg_restore"))

    def remove(self) -> None:
        """Delete the dump."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _said(self, program: str) -> Callable[[str], None]:
        began = last = self.monotonic()

        def said(line: str) -> None:
            nonlocal last
            if self.monotonic() - last >= SAY_EVERY:
                last = self.monotonic()
                self.progress(f"{last - began:.0f} s: {line}")

        return said


def jobs_by_default() -> int:
    """Return how many sessions copy at once: one a processor, at most 4."""
    return min(MOST_JOBS, os.cpu_count() or 1)
