"""A PostgreSQL server of our own for one rehearsal, which ends when we do."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from django_safemigrations.exceptions import CopyFailed, CopyRefused
from django_safemigrations.postgres.programs import (
    Programs,
    end_group,
    run_program,
    start,
    without_libpq,
)
from django_safemigrations.rehearsal.copies.sessions import MAINTENANCE, connect, value
from django_safemigrations.rehearsal.copies.workspaces import Workspace

SUPERUSER = "postgres"
PORT = "5432"  # only names the socket's file: it listens on no network address
LONGEST_SOCKET = 100
ACCOUNTS = ("postgres", "nobody")
START_PATIENCE = 60.0

# The data is gone with the rehearsal: nothing has to reach the disk.
ALWAYS: Mapping[str, str] = {
    "fsync": "off",
    "listen_addresses": "",
    "port": PORT,
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "log_min_messages": "warning",
}
# No WAL for the rows of tables that are made in the same transaction.
# https://www.postgresql.org/docs/current/populate.html
LOADING: Mapping[str, str] = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "maintenance_work_mem": "256MB",
    "checkpoint_timeout": "1h",
}
# What decides how much WAL a statement writes, which way it takes and what it means is as in
# production.
AS_IN_PRODUCTION = (
    "wal_level",
    "full_page_writes",
    "wal_compression",
    "wal_log_hints",
    "work_mem",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers_per_gather",
    "random_page_cost",
    "jit",
    "max_locks_per_transaction",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "default_text_search_config",
)


@dataclass
class ScratchServer:
    """A server in a workspace; its superuser has a random password.

    Attributes:
        programs: of its version.
        workspace: where its data and socket are.
    """

    programs: Programs
    workspace: Workspace
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """libpq's parameters for its maintenance database."""
        return {
            "host": str(self.workspace.path),
            "port": PORT,
            "user": SUPERUSER,
            "password": self.password,
            "dbname": MAINTENANCE,
        }

    @property
    def environment(self) -> dict[str, str]:
        """What its programs run in: nothing that would lead libpq elsewhere."""
        return {**without_libpq(os.environ), "LC_ALL": "C"}

    def initialise(self) -> None:
        """Make its data directory.

        Raises:
            CopyRefused: this account or place can't run a server.
            ProgramFailed: initdb failed.
        """
        if len(str(self.workspace.path)) > LONGEST_SOCKET - len(".s.PGSQL.5432"):
            raise CopyRefused(
                f"{self.workspace.path} is too long a path for the socket of a server. Set "
                "SAFE_MIGRATIONS['REHEARSAL']['DIRECTORY'] to a shorter one."
            )
        identity = _identity()
        if identity:
            self._require_way_in()
        self.programs = self._reachable()
        secret = self.workspace.path / "pwfile"
        descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.password)
        self.workspace.data.mkdir(mode=0o700)
        if identity:
            for path in (self.workspace.path, self.workspace.data, secret):
                os.chown(path, identity["user"], identity["group"])
        command = [self.programs.path("initdb"), "-D", str(self.workspace.data)]
        command += ["-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        command += ["--encoding=UTF8", "--no-locale", "--no-instructions"]
        run_program(command, self.environment, cwd="/", **identity)
        secret.unlink()

    def start(self, settings: Mapping[str, str]) -> None:
        """Start it and wait until it answers.

        Args:
            settings: on top of those that it always has.

        Raises:
            CopyFailed: it does not answer.
        """
        command = [self.programs.path("postgres"), "-D", str(self.workspace.data)]
        wanted = {**ALWAYS, **settings, "unix_socket_directories": str(self.workspace.path)}
        for key, given in wanted.items():
            command += ["-c", f"{key}={given}"]
        with (self.workspace.path / "server.log").open("ab") as log:
            # SIGINT is a fast shutdown: that is what happens when this process is gone.
            self._process = start(
                command,
                self.environment,
                signal.SIGINT,
                stdout=log,
                stderr=log,
                cwd="/",
                **_identity(),
            )
        deadline = time.monotonic() + START_PATIENCE
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                raise CopyFailed(f"The embedded server did not start:\n{self._log()}")
            try:
                self._check_that_it_is_ours()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise CopyFailed(
                        f"The embedded server does not answer ({error}):\n{self._log()}"
                    ) from None
            else:
                return

    def stop(self) -> None:
        """Stop it; without a word if it is gone already."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            end_group(process, signal.SIGQUIT)

    def _check_that_it_is_ours(self) -> None:
        with connect(self.parameters) as session:
            directory = value(session, "SELECT current_setting('data_directory', true)")
            if directory is None or Path(directory).resolve() != self.workspace.data.resolve():
                raise CopyRefused(
                    "The connection to the embedded server leads to another one. Look for PG* "
                    "variables in the environment (PGSERVICE, PGHOSTADDR) and unset them."
                )

    def _require_way_in(self) -> None:
        for parent in self.workspace.path.parents:
            if not parent.stat().st_mode & 0o001:
                raise CopyRefused(
                    f"PostgreSQL does not run as root, and other accounts can't reach "
                    f"{self.workspace.path}: {parent} is closed to them. Run the command as "
                    "another user, or set SAFE_MIGRATIONS['REHEARSAL']['DIRECTORY'] to an open one."
                )

    def _reachable(self) -> Programs:
        """Return programs that the server's account can run; copied if root's are closed to it."""
        if not _identity() or all(
            parent.stat().st_mode & 0o001
            for parent in (self.programs.directory, *self.programs.directory.parents)
        ):
            return self.programs
        install = self.programs.directory.parent
        package = install.parent
        copied = self.workspace.path / "programs" / package.name / install.name
        # The programs find their libraries by relative paths: the layout is kept.
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(
                libraries, copied.parent.parent / libraries.name, symlinks=True, dirs_exist_ok=True
            )
        shutil.copytree(install, copied, symlinks=True)
        return Programs(copied / self.programs.directory.name, self.programs.major)

    def _log(self) -> str:
        path = self.workspace.path / "server.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else "(no log)"


@contextlib.contextmanager
def scratch_server(
    programs: Programs, workspace: Workspace, progress: Callable[[str], None]
) -> Iterator[ScratchServer]:
    """Run a server of our own while the block runs.

    Raises:
        CopyRefused, CopyFailed, ProgramFailed: it can't be run here.
    """
    server = ScratchServer(programs, workspace)
    progress(f"Starting an embedded PostgreSQL {programs.major} in {workspace.path}.")
    server.initialise()
    try:
        server.start(LOADING)
        yield server
    finally:
        server.stop()


def as_its_account() -> str:
    """Return what stands before a command that the server's account has to run; mostly nothing."""
    identity = _identity()
    if not identity:
        return ""
    return f"setpriv --reuid={identity['user']} --regid={identity['group']} --clear-groups "


def _identity() -> dict[str, Any]:
    """Return who the server runs as: PostgreSQL refuses root, so root lends it to an account."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd  # not on every system

    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise CopyRefused(
        "PostgreSQL does not run as root, and there is neither an account 'postgres' nor 'nobody'. "
        "Run the command as another user, or set SAFE_MIGRATIONS['REHEARSAL']['SERVER']."
    )
