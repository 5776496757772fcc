"""A backup by a command of the user's: a snapshot API, a backup server, whatever there is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.backup.taken import BackupTaken, taken
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed, ProgramFailed
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.programs import (
    connection_parameters,
    end_group,
    scrubbed,
    start,
)

KEPT = 4_000
"""Bytes of its output that are kept: the last ones."""


def run_command(
    connection: BaseDatabaseWrapper,
    settings: BackupSettings,
    *,
    at_risk: Sequence[AtRisk],
    progress: Callable[[str], None],
    clock: Callable[[], datetime],
) -> BackupTaken:
    """Run BACKUP["COMMAND"]; it has taken a backup if it ends with 0.

    It finds in its environment which database is meant: SAFEMIGRATIONS_DATABASE, _ALIAS, _HOST,
    _PORT, _USER, and the tables at risk in SAFEMIGRATIONS_TABLES, a line each. A password is not
    among them.

    Raises:
        BackupFailed: it could not be started, took too long, or ended with another status; with
            the last of its output.
    """
    name = Path(settings.command[0]).name
    parameters = connection_parameters(connection)
    secrets = _secrets(str(parameters.get("password") or ""))
    facts = {
        "DATABASE": Catalog(connection).value("SELECT current_database()"),
        "ALIAS": connection.alias,
        "HOST": parameters.get("host", ""),
        "PORT": parameters.get("port", ""),
        "USER": parameters.get("user", ""),
        "TABLES": "\n".join(dict.fromkeys(each.table for each in at_risk if each.table)),
    }
    env = {key: value for key, value in os.environ.items() if value not in secrets}
    env |= {f"SAFEMIGRATIONS_{key}": str(value) for key, value in facts.items()}
    started = clock()
    progress(f"Running {name} for a backup")
    with tempfile.TemporaryFile() as output:
        status = _run(settings, env, output, name, secrets)
        said = _tail(output, secrets)
    if status:
        ended = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise BackupFailed(f"No backup was taken: {name} ended with {ended}.{_shown(said)}")
    seconds = (clock() - started).total_seconds()
    summary = f"{name} ended with 0 after {seconds:.0f} s"
    lines = said.strip().splitlines()
    return taken(
        "command",
        started,
        summary,
        (summary, *(f"  {line}" for line in lines[-5:])),
        command=name,
        status=status,
        output=said,
        seconds=round(seconds, 1),
        database=str(facts["DATABASE"]),
    )


def _run(
    settings: BackupSettings,
    env: dict[str, str],
    output: IO[bytes],
    name: str,
    secrets: Sequence[str],
) -> int:
    try:
        process = start(settings.command, env, stdout=output, stderr=subprocess.STDOUT)
    except ProgramFailed as error:
        raise BackupFailed(f"No backup was taken: {error}") from error
    try:
        return process.wait(settings.command_timeout)
    except subprocess.TimeoutExpired:
        end_group(process)
        raise BackupFailed(
            f"No backup was taken: {name} did not end within {settings.command_timeout:g} s "
            f'(BACKUP["COMMAND_TIMEOUT"]).{_shown(_tail(output, secrets))}'
        ) from None
    finally:
        end_group(process)


def _tail(output: IO[bytes], secrets: Sequence[str]) -> str:
    # More than is kept is read, so that a secret is not cut in two and shown in half.
    longest = max(map(len, secrets), default=0) * 4
    with contextlib.suppress(OSError):
        output.seek(0, os.SEEK_END)
        output.seek(max(0, output.tell() - KEPT - longest))
    text = output.read().decode(errors="replace").replace("\0", "")
    return scrubbed(text, secrets)[-KEPT:]


def _secrets(password: str) -> tuple[str, ...]:
    found = [password, quote(password, safe=""), os.environ.get("PGPASSWORD", "")]
    return tuple(sorted({each for each in found if each}, key=len, reverse=True))


def _shown(said: str) -> str:
    lines = said.strip().splitlines()[-12:]
    return " It wrote:\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
