"""A second, empty copy beside a copy: to see what plain Django would make of the same schema."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.postgres.programs import connection_parameters, find_programs
from django_safemigrations.rehearsal.copies.databases import copy_database
from django_safemigrations.rehearsal.copies.dumping import Copying
from django_safemigrations.rehearsal.copies.entries import entry_for
from django_safemigrations.rehearsal.copies.original import look_at
from django_safemigrations.rehearsal.copies.sessions import connect
from django_safemigrations.rehearsal.copies.workspaces import workspace
from django_safemigrations.rehearsal_settings import RehearsalSettings


@contextlib.contextmanager
def schema_only(
    copy: BaseDatabaseWrapper,
    settings: RehearsalSettings,
    *,
    started: datetime,
    progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Make a database with the schema of a copy and no rows, beside it; dropped with the block.

    Args:
        copy: Django's connection to the copy.
        settings: where programs are, and where dumps may be put.
        started: when the rehearsal began.
        progress: told what happens.

    Yields:
        an entry of DATABASES; holds a password.

    Raises:
        ProgramMissing, ProgramFailed: pg_dump or pg_restore.
        psycopg.Error: the server does not let us.
    """
    parameters = connection_parameters(copy)
    with connect(parameters) as session:
        original = look_at(session, parameters)
    programs = find_programs(["pg_dump", "pg_restore"], original.major, settings.programs)
    with (
        workspace(settings.directory) as place,
        copy_database(
            parameters, original, started=started, keep=lambda: False, progress=progress
        ) as empty,
    ):
        # As Django reaches the copy: what its entry leaves out, libpq takes from the environment.
        copying = Copying(programs, place.dump, 1, dict(os.environ), progress)
        copying.dump(parameters, "--schema-only")
        copying.restore(empty.parameters)
        yield entry_for(copy, empty.parameters)
