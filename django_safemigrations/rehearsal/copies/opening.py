"""Opens a copy of a database for a rehearsal, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from django_safemigrations.exceptions import CopyFailed, CopyRefused, ProgramFailed
from django_safemigrations.postgres.programs import connection_parameters
from django_safemigrations.postgres.session import refuse_transaction_pooling
from django_safemigrations.rehearsal.copies.databases import clean_up_databases
from django_safemigrations.rehearsal.copies.entries import entry_for
from django_safemigrations.rehearsal.copies.original import look_at
from django_safemigrations.rehearsal.copies.places import server_parameters, wants_embedded
from django_safemigrations.rehearsal.copies.sessions import connect, place_of, value
from django_safemigrations.rehearsal.copies.sources import SOURCES, Made, Making
from django_safemigrations.rehearsal.copies.workspaces import clean_up_workspaces
from django_safemigrations.rehearsal.results import CopyFacts
from django_safemigrations.rehearsal_settings import RehearsalSettings


@dataclass(frozen=True)
class OpenCopy:
    """A copy that can be used.

    Attributes:
        database: an entry of DATABASES; holds a password.
        facts: what the report says of it.
        rows: rows copied and rows that there are, by quoted schema and name of the table; only
            where a sample was copied.
    """

    database: dict[str, Any] = field(repr=False)
    facts: CopyFacts
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@contextlib.contextmanager
def open_copy(
    connection: BaseDatabaseWrapper,
    settings: RehearsalSettings,
    *,
    progress: Callable[[str], None],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[OpenCopy]:
    """Make a copy of a database, as the settings say; it is dropped with the block.

    Production is read, under ACCESS SHARE locks, and never written to. What earlier rehearsals
    that were killed have left is removed first.

    Args:
        connection: Django's, to the database; sessions of our own are opened beside it.
        settings: where the copy comes from and where it is put.
        progress: told what happens.
        clock: the time.
        monotonic: a clock in seconds.

    Raises:
        CopyRefused, ProgramMissing: the copy can't be made as things are; nothing was done.
        PooledConnection: the connection leads to a pooler in transaction mode.
        CopyFailed: it went wrong halfway; what was made is gone.
    """
    began = monotonic()
    with contextlib.ExitStack() as stack:
        try:
            if settings.source in ("dump", "sample"):
                # What pg_dump sets in its session would reach the application through a pooler.
                refuse_transaction_pooling(connection)
            parameters = connection_parameters(connection)
            clean_up_crashed(connection, settings, progress=progress)
            with connect(parameters) as session:
                original = look_at(session, parameters)
            making = Making(parameters, original, settings, clock(), progress, monotonic)
            made = stack.enter_context(SOURCES[settings.source](making))
            anonymize(made, settings, progress)
            opened = _opened(connection, making, made, monotonic() - began)
        except (psycopg.Error, DatabaseError, ProgramFailed, OSError) as error:
            raise _failed(error) from error
        making.ready.set()
        yield opened


def clean_up_crashed(
    connection: BaseDatabaseWrapper,
    settings: RehearsalSettings,
    *,
    progress: Callable[[str], None],
) -> tuple[str, ...]:
    """Remove what rehearsals that were killed have left: directories, servers, databases.

    Returns:
        names and paths of what was removed.
    """
    removed = clean_up_workspaces(settings.directory, progress)
    if settings.source != "existing" and not wants_embedded(settings):
        try:
            server = server_parameters(connection_parameters(connection), settings)
            removed += clean_up_databases(server, progress)
        except (psycopg.Error, CopyRefused) as error:
            progress(f"Copies that were left could not be looked for: {str(error).strip()}")
    return tuple(removed)


def anonymize(made: Made, settings: RehearsalSettings, progress: Callable[[str], None]) -> None:
    """Let the project take personal data out of a copy, before anything reads it.

    Raises:
        CopyRefused: the setting leads nowhere.
        CopyFailed: it raised.
    """
    if settings.anonymize is None:
        return
    function = settings.anonymize
    if isinstance(function, str):
        try:
            function = import_string(function)
        except ImportError as error:
            raise CopyRefused(
                f"SAFE_MIGRATIONS['REHEARSAL']['ANONYMIZE'] can't be imported: {error}"
            ) from None
    name = getattr(function, "__qualname__", repr(function))
    progress(f"Anonymising the copy with {name}.")
    try:
        with connect(made.parameters, autocommit=False) as session:
            function(session)
    except Exception as error:
        raise CopyFailed(
            f"{name}, the ANONYMIZE of SAFE_MIGRATIONS['REHEARSAL'], raised "
            f"{type(error).__name__}: {error}\nNothing has read the copy"
            + ("." if settings.source == "existing" else ", and it is dropped.")
        ) from error


def _opened(
    connection: BaseDatabaseWrapper, making: Making, made: Made, seconds: float
) -> OpenCopy:
    with connect(made.parameters) as session:
        version = value(session, "SHOW server_version")
        size = value(session, "SELECT pg_database_size(current_database())")
    copied = sum(some for some, _ in made.rows.values())
    total = sum(of for _, of in made.rows.values())
    facts = CopyFacts(
        kind=making.settings.source,
        source=making.original.described,
        place=f"{made.parameters.get('dbname', '')} on {made.label or place_of(made.parameters)}",
        server_version=str(version),
        size_bytes=int(size),
        seconds=seconds,
        sampled=copied / total if total else 1.0,
        notes=made.notes,
    )
    return OpenCopy(entry_for(connection, made.parameters), facts, made.rows)


def _failed(error: BaseException) -> CopyFailed:
    return CopyFailed(
        f"The copy could not be made: {str(error).strip()}\n"
        "Production was only read, and what was made of the copy is removed. Mend the cause and "
        "run the command again."
    )
