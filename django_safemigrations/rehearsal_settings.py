"""SAFE_MIGRATIONS["REHEARSAL"]: where the copy for a rehearsal comes from, and where it is put."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_safemigrations.setting_checks import Problem, count, nearest, one_of

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


def _or_none(
    check: Callable[[str, object], list[Problem]],
) -> Callable[[str, object], list[Problem]]:
    return lambda key, value: [] if value is None else check(key, value)


def _yes_or_no(key: str, value: object) -> list[Problem]:
    if isinstance(value, bool):
        return []
    return [Problem(key, f"{value!r} is neither True nor False.", "Write True or False.")]


def _address(key: str, value: object) -> list[Problem]:
    hint = 'Write an alias of DATABASES, or "env:NAME" for a variable with a connection string.'
    if not isinstance(value, str) or not value or value == ENVIRONMENT:
        return [Problem(key, f"{value!r} is no place of a database.", hint)]
    if not value.startswith(ENVIRONMENT) and ("://" in value or "=" in value):
        # Not shown: it may hold a password.
        return [Problem(key, "a connection string does not belong into settings.", hint)]
    return []


def _name(key: str, value: object) -> list[Problem]:
    if isinstance(value, str) and value:
        return []
    return [Problem(key, f"{value!r} is not a name.", 'Write "golden", for example.')]


def _tables(key: str, value: object) -> list[Problem]:
    if isinstance(value, list | tuple | set) and all(isinstance(name, str) for name in value):
        return []
    return [Problem(key, f"{value!r} is not a list of tables.", 'Write ["shop_currency"].')]


def _callable(key: str, value: object) -> list[Problem]:
    # What a dotted path leads to is seen when a copy was made: importing here would be early.
    if callable(value) or (isinstance(value, str) and "." in value.strip(".")):
        return []
    return [
        Problem(
            key, f"{value!r} is not a dotted path.", 'Write "shop.privacy.anonymize", for example.'
        )
    ]


def _clients(key: str, value: object) -> list[Problem]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return []
    return [Problem(key, f"{value!r} is not a number of clients.", "Write 4, or 0 for none.")]


def _path(key: str, value: object) -> list[Problem]:
    if isinstance(value, str | Path) and str(value):
        return []
    return [Problem(key, f"{value!r} is not a path.", 'Write "/var/tmp", for example.')]


REHEARSAL_CHECKS: dict[str, Callable[[str, object], list[Problem]]] = {
    "SOURCE": one_of(SOURCES),
    "SERVER": _or_none(_address),
    "COPY": _or_none(_address),
    "TEMPLATE": _or_none(_name),
    "SAMPLE_ROWS": count,
    "SAMPLE_WHOLE": _tables,
    "JOBS": _or_none(count),
    "ANONYMIZE": _or_none(_callable),
    "KEEP_COPY": _yes_or_no,
    "DIRECTORY": _or_none(_path),
    "PROGRAMS": _or_none(_path),
    "LOAD": _clients,
    "REPORTS": _path,
}
NEEDED = {"template": "TEMPLATE", "existing": "COPY"}


def check_rehearsal(key: str, value: object) -> list[Problem]:
    """Refuse unknown keys, unusable values, and a source without what it needs."""
    if not isinstance(value, Mapping):
        return [Problem(key, f"{value!r} is not a dict.", 'Write {"SOURCE": "dump"}, for example.')]
    problems = []
    for name, given in value.items():
        where = f"{key}[{name!r}]"
        if name not in REHEARSAL_CHECKS:
            hint = nearest(str(name).upper(), list(REHEARSAL_CHECKS))
            problems.append(Problem(where, f"there is no such key in {key}.", hint))
        else:
            problems += REHEARSAL_CHECKS[name](where, given)
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
