"""The server on which the copy is made: one of our own, or one that the settings name."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from django_safemigrations.byte_sizes import in_words
from django_safemigrations.exceptions import CopyRefused, ProgramMissing
from django_safemigrations.postgres.programs import Programs, find_programs, without_libpq
from django_safemigrations.rehearsal.copies.liveness import Same, in_common, in_recovery
from django_safemigrations.rehearsal.copies.original import Original
from django_safemigrations.rehearsal.copies.scratch_server import (
    AS_IN_PRODUCTION,
    ScratchServer,
    scratch_server,
)
from django_safemigrations.rehearsal.copies.sessions import (
    MAINTENANCE,
    Parameters,
    Session,
    connect,
    identifier,
    parameters_of,
    place_of,
    value,
)
from django_safemigrations.rehearsal.copies.workspaces import Workspace, base_directory
from django_safemigrations.rehearsal_settings import RehearsalSettings

COPYING = ("pg_dump", "pg_restore")
SERVING = ("postgres", "initdb")
ROOM = 1.1
OVERHEAD = 200 * 1024 * 1024

PRODUCTIONS = "the copy was on production's own server"
SERVER = "SAFE_MIGRATIONS['REHEARSAL']['SERVER']"
WAYS = (
    f"Set {SERVER} to the alias of another PostgreSQL server in DATABASES, or to "
    '"env:NAME" for an environment variable with its connection string; or to "same", if the '
    "copy may be made on production's own server."
)


@dataclass(frozen=True)
class Place:
    """A server on which a copy can be made.

    Attributes:
        parameters: libpq's, for a database of it that stays.
        base: the environment for programs, before a connection is added.
        label: what people call it.
        embedded: the server, if it is one of ours.
        notes: what is worth knowing of it.
    """

    parameters: Parameters
    base: Mapping[str, str]
    label: str
    embedded: ScratchServer | None = None
    notes: tuple[str, ...] = ()

    def settle(self, original: Original) -> None:
        """Make a server of ours behave as production's, now that it is filled."""
        if self.embedded is not None:
            self.embedded.stop()
            self.embedded.start(
                {
                    key: original.settings[key]
                    for key in AS_IN_PRODUCTION
                    if key in original.settings
                }
            )


def wants_embedded(settings: RehearsalSettings) -> bool:
    """Return whether the copy is made on a server of our own."""
    if settings.source in ("existing", "template") and settings.server is None:
        return False
    return settings.server in (None, "embedded")


@contextlib.contextmanager
def place_for(
    source: Parameters,
    original: Original,
    settings: RehearsalSettings,
    workspace: Workspace,
    progress: Callable[[str], None],
) -> Iterator[Place]:
    """Find or start the server for a copy.

    Raises:
        CopyRefused: there is none that will do; says what to configure.
        CopyFailed, ProgramFailed: a server of our own does not start.
    """
    if not wants_embedded(settings):
        place = _named(source, original, settings)
        _require_room(original, settings, workspace.path, ("dump",))
        yield place
        return
    programs = _server_programs(original, settings)
    _require_room(original, settings, workspace.path, ("dump", "copy"))
    with scratch_server(programs, workspace, progress) as server:
        with connect(server.parameters) as session:
            _make_roles(session, original)
        notes = ("nothing waits for the disk on the copy's server (fsync is off)",)
        label = f"an embedded PostgreSQL {programs.major}"
        yield Place(server.parameters, without_libpq(os.environ), label, server, notes)


def server_parameters(source: Parameters, settings: RehearsalSettings) -> dict[str, Any]:
    """Return libpq's parameters for the server that the settings name.

    Raises:
        CopyRefused: they name none, or one that is not there.
    """
    if settings.server is None:
        raise CopyRefused(f"No server is named for the copy. {WAYS}")
    if settings.server == "same":
        return dict(source)
    given = parameters_of(settings.server, "SERVER")
    return {"dbname": MAINTENANCE, **given}


def _named(source: Parameters, original: Original, settings: RehearsalSettings) -> Place:
    parameters = server_parameters(source, settings)
    label = place_of(parameters)
    try:
        with connect(parameters) as session:
            _require_fit(session, original, label)
        same = is_productions(source, parameters, settings)
    except psycopg.OperationalError as error:
        raise CopyRefused(
            f"{label}, the server for the copy ({SERVER}), can't be used: {str(error).strip()}"
        ) from None
    return Place(parameters, os.environ, label, None, (PRODUCTIONS,) if same else ())


def is_productions(source: Parameters, server: Parameters, settings: RehearsalSettings) -> bool:
    """Return whether the server for copies is production's own.

    Raises:
        CopyRefused: it is, and the settings don't say so.
        psycopg.Error: one of them can't be connected to.
    """
    same = in_common(source, server) is not Same.NOTHING
    if same and settings.server != "same":
        raise CopyRefused(
            f"{SERVER} is {settings.server!r}, but that is production's own server "
            f"({place_of(server)}): copying there takes its disk, memory and processors. Name "
            f'another one; or, if that is meant, set {SERVER} to "same".'
        )
    return same


def _require_fit(session: Session, original: Original, label: str) -> None:
    major = session.info.server_version // 10000
    if major < original.major:
        raise CopyRefused(
            f"{label} is PostgreSQL {major}, older than production's {original.major}: a dump does "
            f"not go back. Name a server of version {original.major} in {SERVER}."
        )
    if in_recovery(session):
        raise CopyRefused(f"{label} is a standby, and takes no writes. {WAYS}")
    if not value(
        session, "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    ):
        user = session.info.user
        raise CopyRefused(
            f"{user} may not create databases on {label}. Let a superuser of it type:\n"
            f'  ALTER ROLE "{user}" CREATEDB;'
        )


def _server_programs(original: Original, settings: RehearsalSettings) -> Programs:
    try:
        programs = find_programs((*SERVING, *COPYING), original.major, settings.programs)
    except ProgramMissing:
        programs = None
    if programs is not None and (programs.major == original.major or settings.server == "embedded"):
        return programs
    there = (
        f"only PostgreSQL {programs.major}, whose locks and rewrites may differ (set {SERVER} to "
        '"embedded" to use it all the same)'
        if programs is not None
        else "none that is new enough"
    )
    raise CopyRefused(
        f"Production is PostgreSQL {original.major}, and of the servers that could be run here for "
        f"a copy there is {there}. Install one of version {original.major} (on Debian and Ubuntu: "
        f"apt install postgresql-{original.major}; version 18: pip install "
        f"'django-safemigrations[rehearsal]'). {WAYS}"
    )


def _require_room(
    original: Original, settings: RehearsalSettings, path: Path, what: tuple[str, ...]
) -> None:
    needed = OVERHEAD
    if settings.source != "sample":
        needed += int(original.size * len(what) * ROOM)
    free = shutil.disk_usage(path).free
    if free < needed:
        raise CopyRefused(
            f"{original.described} has {in_words(original.size)}; about {in_words(needed)} are "
            f"needed for {' and '.join(what)} in {base_directory(settings.directory)}, where "
            f"{in_words(free)} are free. Make room, set "
            "SAFE_MIGRATIONS['REHEARSAL']['DIRECTORY'] to a larger disk, name another server in "
            f"{SERVER}, or copy a part: 'SOURCE': \"sample\"."
        )


def _make_roles(session: Session, original: Original) -> None:
    """Make production's roles, so that policies and a migration's GRANTs can name them."""
    known = {row[0] for row in session.execute("SELECT rolname FROM pg_roles")}
    for role in original.roles:
        if role not in known:
            session.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(identifier(role)))
