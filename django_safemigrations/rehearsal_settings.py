"""SAFE_MIGRATIONS["REHEARSAL"]: where the copy for a rehearsal comes from, and where it is put."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django_safemigrations.setting_checks import (
    Problem,
    callable_like,
    count,
    each,
    name_like,
    one_of,
    or_none,
    path_like,
    whole,
    yes_or_no,
)

SOURCES = ("dump", "template", "existing", "sample")
ENVIRONMENT = "env:"
"""What stands before the name of an environment variable that holds a connection string."""


@dataclass(frozen=True)
class RehearsalSettings:
    """The values in force of SAFE_MIGRATIONS["REHEARSAL"].

    Attributes:
        source: "dump" and restore, clone a "template", use an "existing" copy, or copy a "sample".
        server: where the copy is made: "embedded", "same", an alias of DATABASES, or "env:NAME";
            None for an embedded one of production's version.
        copy: the existing copy: an alias of DATABASES, or "env:NAME".
        template: the database on that server that is cloned.
        sample_rows: rows of each table that a sample begins with; rows they refer to come on top.
        sample_whole: tables of which a sample holds every row.
        jobs: how many sessions copy at once; None for one a processor, at most 4.
        anonymize: a callable or its dotted path; called with a psycopg connection to the copy.
        keep_copy: whether the copy is left behind, to be looked at.
        directory: where dumps and embedded servers are put; None for the system's temporary one.
        programs: the directory of pg_dump and pg_restore; None looks for them.
        load: clients that work on the copy while the plan runs; 0 for none.
        reports: the directory that reports are written to; made with mode 0700.
    """

    source: str = "dump"
    server: str | None = None
    copy: str | None = None
    template: str | None = None
    sample_rows: int = 10_000
    sample_whole: tuple[str, ...] = ()
    jobs: int | None = None
    anonymize: str | Callable[..., Any] | None = None
    keep_copy: bool = False
    directory: str | None = None
    programs: str | None = None
    load: int = 0
    reports: str = ".safemigrations/rehearsals"


def _address(key: str, value: object) -> list[Problem]:
    hint = 'Write an alias of DATABASES, or "env:NAME" for a variable with a connection string.'
    if not isinstance(value, str) or not value or value == ENVIRONMENT:
        return [Problem(key, f"{value!r} is no place of a database.", hint)]
    if not value.startswith(ENVIRONMENT) and ("://" in value or "=" in value):
        # Not shown: it may hold a password.
        return [Problem(key, "a connection string does not belong into settings.", hint)]
    return []


def _tables(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(name, str) for name in value):
        return []
    return [Problem(key, f"{value!r} is not a list of tables.", 'Write ["shop_currency"].')]


REHEARSAL_CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "SOURCE": one_of(SOURCES),
    "SERVER": or_none(_address),
    "COPY": or_none(_address),
    "TEMPLATE": or_none(name_like("golden")),
    "SAMPLE_ROWS": count,
    "SAMPLE_WHOLE": _tables,
    "JOBS": or_none(count),
    "ANONYMIZE": or_none(callable_like("shop.privacy.anonymize")),
    "KEEP_COPY": yes_or_no,
    "DIRECTORY": or_none(path_like("/srv/scratch")),
    "PROGRAMS": or_none(path_like("/usr/lib/postgresql/18/bin")),
    "LOAD": whole,
    "REPORTS": path_like("/srv/rehearsals"),
}
NEEDED = {"template": "TEMPLATE", "existing": "COPY"}


def check_rehearsal(key: str, value: object) -> list[Problem]:
    """Refuse unknown keys, unusable values, and a source without what it needs."""
    problems = each(key, value, REHEARSAL_CHECKS, '{"SOURCE": "dump"}')
    if not isinstance(value, Mapping):
        return problems
    needed = NEEDED.get(str(value.get("SOURCE")))
    if needed is not None and not value.get(needed):
        said = f"{value['SOURCE']!r} needs {needed}."
        problems.append(Problem(f"{key}['SOURCE']", said, f"Give {key} a {needed} as well."))
    return problems


def read_rehearsal(raw: Mapping[str, Any]) -> RehearsalSettings:
    """Read a value that was checked."""
    values: dict[str, Any] = {key.lower(): value for key, value in raw.items()}
    if "sample_whole" in values:
        values["sample_whole"] = tuple(values["sample_whole"])
    for key in ("directory", "programs", "reports"):
        if values.get(key) is not None:
            values[key] = str(values[key])
    return RehearsalSettings(**values)
