"""The four ways to come by a copy; each is a context that ends with the copy dropped, if it made it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

import psycopg
from psycopg import sql

from django_safemigrations.byte_sizes import in_words
from django_safemigrations.exceptions import CopyRefused
from django_safemigrations.postgres.programs import Programs, find_programs
from django_safemigrations.rehearsal.copies.databases import CopyDatabase, copy_database
from django_safemigrations.rehearsal.copies.dumping import Copying, jobs_by_default
from django_safemigrations.rehearsal.copies.liveness import Same, in_common, in_recovery
from django_safemigrations.rehearsal.copies.original import (
    Original,
    require_extensions,
    require_readable,
)
from django_safemigrations.rehearsal.copies.places import (
    COPYING,
    PRODUCTIONS,
    Place,
    is_productions,
    place_for,
    server_parameters,
)
from django_safemigrations.rehearsal.copies.sampling import copy_sample
from django_safemigrations.rehearsal.copies.scratch_server import SUPERUSER, as_its_account
from django_safemigrations.rehearsal.copies.sessions import (
    Parameters,
    connect,
    identifier,
    parameters_of,
    place_of,
    value,
)
from django_safemigrations.rehearsal.copies.workspaces import Workspace, workspace
from django_safemigrations.rehearsal_settings import RehearsalSettings

TEMPLATE = """
SELECT pg_database_size(oid),
       (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.pid <> pg_backend_pid())
FROM pg_database d WHERE datname = %s
"""
# A copy must not reach other systems with production's passwords.
MAPPINGS = "SELECT usename, srvname FROM pg_user_mappings"


@dataclass(frozen=True)
class Making:
    """What a copy is made of.

    Attributes:
        source: libpq's parameters for the original.
        original: what is known of it.
        settings: where the copy comes from and goes to.
        started: when the rehearsal began.
        progress: told what happens.
        monotonic: a clock in seconds.
        ready: set when the copy can be used.
    """

    source: Parameters
    original: Original
    settings: RehearsalSettings
    started: datetime
    progress: Callable[[str], None]
    monotonic: Callable[[], float]
    ready: Event = field(default_factory=Event)

    def kept(self) -> bool:
        """Return whether what was made is left behind; not before it could be used."""
        return self.settings.keep_copy and self.ready.is_set()


@dataclass(frozen=True)
class Made:
    """A copy.

    Attributes:
        parameters: libpq's.
        label: what people call its server.
        notes: what is worth knowing of it.
        rows: rows copied and rows that there are, by table, where a sample was copied.
    """

    parameters: dict[str, Any]
    label: str
    notes: tuple[str, ...] = ()
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@contextlib.contextmanager
def dumped(making: Making) -> Iterator[Made]:
    """Copy everything with pg_dump and pg_restore."""
    with _restoring(making) as (copying, place, copy):
        making.progress(
            f"Copying {making.original.described} ({in_words(making.original.size)}) to "
            f"{place.label}, with {copying.jobs} sessions."
        )
        statistics = copying.programs.major >= 18 and making.original.major >= 18
        copying.dump(making.source, *(["--statistics"] if statistics else []))
        copying.restore(copy.parameters)
        copying.remove()
        notes = _finish(making, copy, analyze=not statistics)
        place.settle(making.original)
        yield Made(copy.parameters, place.label, place.notes + notes)


@contextlib.contextmanager
def sampled(making: Making) -> Iterator[Made]:
    """Copy the schema, and of each table some rows and all that they refer to."""
    with _restoring(making) as (copying, place, copy):
        making.progress(
            f"Copying the schema of {making.original.described} and "
            f"{making.settings.sample_rows} rows of each table to {place.label}."
        )
        rows, notes = copy_sample(making.source, copy.parameters, copying, making.settings)
        copying.remove()
        notes += _finish(making, copy, analyze=True)
        place.settle(making.original)
        yield Made(copy.parameters, place.label, place.notes + notes, rows)


@contextlib.contextmanager
def cloned(making: Making) -> Iterator[Made]:
    """Clone a database of the copy's server that nobody is connected to."""
    settings = making.settings
    assert settings.template is not None
    server = server_parameters(making.source, settings)
    label = place_of(server)
    template = settings.template
    with connect(server) as session:
        row = session.execute(TEMPLATE, [template]).fetchone()
        if row is None:
            raise CopyRefused(f"There is no database {template!r} on {label} to clone.")
        size, sessions = row
        live = is_productions(making.source, server, settings)
        if live and template == making.original.name:
            raise CopyRefused(
                f"The template {template!r} on {label} is the live database: it can't be cloned "
                "while anybody is connected. Make a golden copy of it, and name that."
            )
        if sessions:
            raise CopyRefused(
                f"{template!r} on {label} can't be cloned while anybody is connected to it, and "
                f"there {'is 1 session' if sessions == 1 else f'are {sessions} sessions'}. End "
                "what is connected, and keep others out with\n"
                f'  ALTER DATABASE "{template}" ALLOW_CONNECTIONS false;'
            )
    making.progress(f"Cloning {template} on {label} ({in_words(size)}).")
    with copy_database(
        server,
        making.original,
        template=template,
        template_size=size,
        started=making.started,
        keep=making.kept,
        progress=making.progress,
    ) as copy:
        notes = [f"cloned from {template}, which is as old as it is"]
        notes += [PRODUCTIONS] if live else []
        notes += _finish(making, copy, analyze=False)
        yield Made(copy.parameters, label, tuple(notes))
        if making.kept():
            making.progress(f"The copy is kept: {copy.name} on {label}.")


@contextlib.contextmanager
def existing(making: Making) -> Iterator[Made]:
    """Use a copy that somebody else made; it is changed, and not dropped."""
    address = making.settings.copy
    assert address is not None
    parameters = parameters_of(address, "COPY")
    label = place_of(parameters)
    what = f"SAFE_MIGRATIONS['REHEARSAL']['COPY'], {address!r},"
    same = in_common(making.source, parameters)
    if same is Same.DATABASE:
        raise CopyRefused(
            f"{what} is the live database itself: a lock that was taken on one side is there on "
            "the other. Nothing was changed. Let it lead to a copy."
        )
    with connect(parameters) as session:
        name = str(value(session, "SELECT current_database()"))
        if in_recovery(session):
            raise CopyRefused(
                f"{what} leads to a standby, which can't be written to. Promote a clone of it, or "
                "restore a snapshot, and name that."
            )
        if value(session, "SHOW transaction_read_only") == "on":
            raise CopyRefused(
                f"{what} is read-only (default_transaction_read_only): a rehearsal has to write."
            )
    notes = [f"{name} was there already, and keeps what the rehearsal left in it"]
    if same is Same.SERVER:
        notes.append(PRODUCTIONS)
    given = {**parameters, "dbname": name}
    yield Made(given, label, (*notes, *_version_note(given, making)))


SOURCES: dict[str, Callable[[Making], AbstractContextManager[Made]]] = {
    "dump": dumped,
    "template": cloned,
    "existing": existing,
    "sample": sampled,
}


@contextlib.contextmanager
def _restoring(making: Making) -> Iterator[tuple[Copying, Place, CopyDatabase]]:
    """Prepare an empty database for a copy, after everything was checked that can be."""
    settings, original = making.settings, making.original
    with contextlib.ExitStack() as stack:
        with connect(making.source) as session:
            require_readable(session, original)
        space = stack.enter_context(workspace(settings.directory))
        place = stack.enter_context(
            place_for(making.source, original, settings, space, making.progress)
        )
        with connect(place.parameters) as session:
            notes = require_extensions(session, original, place.label)
        programs = _programs(place, original, settings)
        copy = stack.enter_context(
            copy_database(
                place.parameters,
                original,
                started=making.started,
                keep=making.kept,
                progress=making.progress,
            )
        )
        copying = Copying(
            programs,
            space.dump,
            settings.jobs or jobs_by_default(),
            place.base,
            making.progress,
            making.monotonic,
        )
        stack.callback(_say_where, making, place, copy, space)
        yield copying, _noted(place, notes), copy


def _noted(place: Place, notes: tuple[str, ...]) -> Place:
    return Place(place.parameters, place.base, place.label, place.embedded, place.notes + notes)


def _programs(place: Place, original: Original, settings: RehearsalSettings) -> Programs:
    if place.embedded is not None:
        return place.embedded.programs
    return find_programs(COPYING, original.major, settings.programs)


def _finish(making: Making, copy: CopyDatabase, *, analyze: bool) -> tuple[str, ...]:
    """Give a copy the settings and statistics of the original, and take passwords out of it."""
    notes = []
    with connect(copy.parameters) as session:
        for setting in making.original.own_settings:
            key, _, given = setting.partition("=")
            try:
                _take_over(session, copy.name, key, given)
            except psycopg.Error as error:
                notes.append(f"{key} of production's database was not taken over: {error}")
        for user, server in session.execute(MAPPINGS).fetchall():
            session.execute(
                sql.SQL("DROP USER MAPPING FOR {} SERVER {}").format(
                    sql.SQL("PUBLIC") if user == "public" else identifier(user), identifier(server)
                )
            )
            notes.append(f"foreign tables of {server} can't be read: its passwords were not copied")
        if analyze:
            session.execute("ANALYZE")
        # Every row counts as new: autovacuum would be at work while the plan is tried.
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT pg_stat_reset()")
    return (*notes, *_version_note(copy.parameters, making))


def _take_over(session: psycopg.Connection[Any], name: str, key: str, given: str) -> None:
    # Names of schemas are a list, and set_config reads it as it is stored.
    with session.transaction():
        session.execute("SELECT set_config(%s, %s, true)", [key, given])
        session.execute(
            sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(
                identifier(name), identifier(*key.split("."))
            )
        )


def _version_note(parameters: Parameters, making: Making) -> tuple[str, ...]:
    with connect(parameters) as session:
        major = session.info.server_version // 10000
    if major == making.original.major:
        return ()
    return (
        f"the copy is on PostgreSQL {major}, production on {making.original.major}: "
        "locks and rewrites may differ",
    )


def _say_where(making: Making, place: Place, copy: CopyDatabase, space: Workspace) -> None:
    if not making.kept():
        return
    if place.embedded is None:
        making.progress(f"The copy is kept: {copy.name} on {place.label}.")
        return
    space.keep(place.embedded.password)
    programs = place.embedded.programs
    making.progress(
        f"The copy is kept: {copy.name}, in {space.path}. Start its server, and connect to it, with\n"
        f"  {as_its_account()}{programs.path('pg_ctl')} -D {space.data} "
        f"-o '-k {space.path} -c listen_addresses=' start\n"
        f"  PGPASSFILE={space.passwords} {programs.path('psql')} -h {space.path} "
        f"-U {SUPERUSER} {copy.name}"
    )
