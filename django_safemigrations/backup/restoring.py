"""The command that restores a dump into a new database, as it is typed; never with a password."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.programs import Programs

# PostgreSQL 15 to 18 call the ICU locale differently.
LOCALE = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
FROM pg_database d WHERE datname = current_database()
"""
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def restore_command(
    catalog: Catalog,
    parameters: Mapping[str, Any],
    programs: Programs,
    directory: Path,
    jobs: int,
    *,
    only_rows: bool = False,
) -> str:
    """Return the command that makes a new database of a dump.

    Args:
        catalog: of the database that was dumped: the new one gets its encoding and locale.
        parameters: libpq's; host, port, user and service are taken over.
        programs: with createdb and pg_restore.
        directory: the dump.
        jobs: sessions to restore with.
        only_rows: leave out indexes and constraints, as foreign keys to rows that are not there.
    """
    database = str(catalog.value("SELECT current_database()"))
    plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in database)
    name = f"{plain[:50].lower()}_restored"
    where = [
        f"--{option}={parameters[key]}"
        for option, key in (("host", "host"), ("port", "port"), ("username", "user"))
        if parameters.get(key)
    ]
    ((encoding, collate, ctype, provider, locale),) = catalog.rows(LOCALE)
    created = [f"--encoding={encoding}", f"--lc-collate={collate}", f"--lc-ctype={ctype}"]
    if provider in PROVIDERS and provider != "c" and locale:
        created.append(f"--locale-provider={PROVIDERS[provider]}")
        created.append(f"--{'icu' if provider == 'i' else 'builtin'}-locale={locale}")
    create = [programs.path("createdb"), *where, "--template=template0", *created, name]
    restore = [
        programs.path("pg_restore"),
        *where,
        f"--dbname={name}",
        f"--jobs={jobs}",
        "--exit-on-error",
        *(["--section=pre-data", "--section=data"] if only_rows else []),
        str(directory),
    ]
    service = (
        f"PGSERVICE={shlex.quote(str(parameters['service']))} " if "service" in parameters else ""
    )
    return f"{service}{shlex.join(create)} && {service}{shlex.join(restore)}"
