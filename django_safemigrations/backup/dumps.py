"""A backup by pg_dump: written aside, read back, and only then called by its name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backup.restoring import restore_command
from django_safemigrations.backup.rights import refuse_unreadable
from django_safemigrations.backup.risk import AtRisk, tables_at_risk
from django_safemigrations.backup.taken import BackupTaken, taken
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.byte_sizes import in_words
from django_safemigrations.exceptions import BackupFailed, ProgramFailed
from django_safemigrations.postgres.catalog import Catalog
from django_safemigrations.postgres.names import short_hash
from django_safemigrations.postgres.programs import (
    Programs,
    connection_parameters,
    environment,
    find_programs,
    run_program,
)

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

PARTIAL = ".partial"
LOCK = "lock"
PRIVATE_UMASK = 0o077
LOCK_WAIT = "120s"
LONGEST_NAME = 40
MANIFEST = "safemigrations.json"

TABLES = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relkind::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 2
"""
# Rows of a partitioned table, or of one with children, are those of its descendants.
FAMILY = """
WITH RECURSIVE family (oid) AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE format('%%I.%%I', n.nspname, c.relname) = ANY (%s)
  UNION
  SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.oid
)
SELECT oid::bigint FROM family
"""
STILL_THERE = "SELECT oid::bigint FROM pg_class WHERE oid = ANY (%s::oid[])"


@dataclass(frozen=True)
class Expected:
    """A table that a dump has to have.

    Attributes:
        oid: its OID, by which it is found in the dump whatever it is called.
        name: schema and name, quoted.
        has_rows: whether its rows have to be there, too.
    """

    oid: int
    name: str
    has_rows: bool


def dump(
    connection: BaseDatabaseWrapper,
    settings: BackupSettings,
    *,
    at_risk: Sequence[AtRisk],
    progress: Callable[[str], None],
    clock: Callable[[], datetime],
) -> BackupTaken:
    """Dump a database, or the tables at risk, and verify the dump.

    Args:
        connection: the database.
        settings: where to, and how.
        at_risk: what the plan takes away.
        progress: told what is being done.
        clock: the time.

    Raises:
        BackupFailed: there is no dump, or one that can't be relied on; it is removed.
        ProgramMissing: there is no pg_dump that is new enough.

    Locks: ACCESS SHARE on the tables until the dump ends: reads and writes go on, and DDL on
    them waits.
    """
    catalog = Catalog(connection)
    version = int(connection.pg_version) // 10_000  # type: ignore[attr-defined]
    programs = find_programs(["pg_dump", "pg_restore"], version, settings.programs)
    only = tables_at_risk(at_risk) if settings.tables == "at_risk" else None
    expected = _expected(catalog, only)
    refuse_unreadable(catalog)
    base = _private_directory(settings.directory)
    remove_partial(base, progress)
    started = clock()
    database = str(catalog.value("SELECT current_database()"))
    name = dump_name(database, started)
    with _partial(base / f"{name}{PARTIAL}") as partial:
        target = partial / name
        parameters = connection_parameters(connection)
        command = [programs.path("pg_dump"), "--format=directory", f"--jobs={settings.jobs}"]
        role = connection.settings_dict["OPTIONS"].get("assume_role")
        command += [f"--role={role}"] if role else []
        command += ["--no-password", f"--lock-wait-timeout={LOCK_WAIT}", "--verbose"]
        if only is not None:
            # All definitions, so that it can be restored by itself. Inside of double quotes nothing
            # else is special in a pattern.
            others = [table.name for table in expected if not table.has_rows]
            command += ["--no-blobs", *(f"--exclude-table-data={name}" for name in others)]
        progress(f"pg_dump of {database} into {base / name}")
        with _explained(base, "pg_dump"):
            run_program(
                [*command, f"--file={target}"],
                environment(parameters),
                on_line=lambda line: _tell(line, progress),
                umask=PRIVATE_UMASK,
            )
        gone = {table.oid for table in expected} - {
            oid for (oid,) in catalog.rows(STILL_THERE, [[table.oid for table in expected]])
        }
        wanted = [table for table in expected if table.oid not in gone]
        verify_dump(programs, target, wanted, settings.verify, progress)
        size = sum(path.stat().st_size for path in target.iterdir())
        final = base / name
        restore = restore_command(
            catalog, parameters, programs, final, settings.jobs, only_rows=only is not None
        )
        seconds = (clock() - started).total_seconds()
        counted = len(wanted) if only is None else sum(table.has_rows for table in wanted)
        number = f"{counted} table{'s' if counted != 1 else ''}"
        summary = f"pg_dump of {number}, {in_words(size)}, in {final}"
        result = taken(
            "pg_dump",
            started,
            summary,
            (summary, "To restore it into a new database, type:", f"  {restore}"),
            database=database,
            directory=str(final),
            bytes=size,
            tables=counted,
            scope=settings.tables if only is not None else "all",
            verified=settings.verify,
            seconds=round(seconds, 1),
            programs=programs.major,
            server=version,
            restore=restore,
        )
        _finish(target, final, result.details)
    return result


def dump_name(database: str, when: datetime) -> str:
    """Return what a dump is called: its database as far as it fits a path, the time, and a hash."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in database)
    stamp = when.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    unique = short_hash(database, when.isoformat(), str(os.getpid()))
    return f"{plain[:LONGEST_NAME]}-{stamp}-{unique}"


def verify_dump(
    programs: Programs,
    directory: Path,
    expected: Sequence[Expected],
    how: str,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Read a dump back: every table is in its table of contents, with its rows.

    Args:
        programs: with pg_restore.
        directory: the dump.
        expected: what has to be in it.
        how: "list", or "read" to read the rows of every table, too.
        progress: told what is being done.

    Raises:
        BackupFailed: something is missing or can't be read.
    """
    env = {key: value for key, value in os.environ.items() if key != "PGPASSWORD"}
    env["LC_ALL"] = "C"
    progress(f"pg_restore --list of {directory.name}")
    try:
        listed = run_program([programs.path("pg_restore"), "--list", str(directory)], env).stdout
        if how == "read":
            progress(f"reading all of {directory.name} back")
            command = [programs.path("pg_restore"), "--file=/dev/null", str(directory)]
            run_program(command, env)
    except ProgramFailed as error:
        raise BackupFailed(f"The dump can't be read back, and was removed: {error}") from error
    tables, data = listed_tables(listed)
    missing = [
        table.name
        for table in expected
        if table.oid not in tables or (table.has_rows and table.oid not in data)
    ]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise BackupFailed(
            f"The dump lacks {', '.join(missing[:5])}{more}, and was removed. Nothing may run on it."
        )


def listed_tables(listed: str) -> tuple[set[int], set[int]]:
    """Return the OIDs of the tables, and of those with rows, in what pg_restore --list prints.

    Names are not unique there, since they are not quoted; OIDs are.
    """
    tables: set[int] = set()
    data: set[int] = set()
    for line in listed.splitlines():
        number, _, rest = line.partition("; ")
        words = rest.split(" ")
        if not number.isdecimal() or len(words) < 4 or words[2] != "TABLE":
            continue
        if words[3] == "DATA":
            data.add(int(words[1]))
        elif words[0] == "1259":
            # The OID of pg_class, which never changes.
            tables.add(int(words[1]))
    return tables, data


def remove_partial(base: Path, progress: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Remove dumps that were cut short, unless their process still writes them."""
    removed = []
    for path in sorted(base.glob(f"*{PARTIAL}")):
        if _is_written(path):
            continue
        shutil.rmtree(path, ignore_errors=True)
        progress(f"Removed a dump that was cut short: {path}")
        removed.append(path)
    return removed


def _is_written(path: Path) -> bool:
    """Whether a process writes a dump there; where there are no locks, for a day."""
    try:
        lock = (path / LOCK).open("rb")
    except FileNotFoundError:
        # Its process was ended before it could take the lock, or is just about to.
        return _age(path) < 60
    except OSError:
        return True
    with lock:
        if fcntl is None:
            return _age(path) < 86_400
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return datetime.now(UTC).timestamp() - path.stat().st_mtime
    return 0.0


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Make a directory that is removed with the block, or by the next run if we are killed."""
    path.mkdir(mode=0o700)
    try:
        descriptor = os.open(path / LOCK, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            if fcntl is not None:
                # The kernel gives it back when this process is gone, however it went.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _private_directory(name: str) -> Path:
    base = Path(name).expanduser().absolute()
    try:
        if not base.is_dir():
            base.parent.mkdir(parents=True, exist_ok=True)
            base.mkdir(mode=0o700, exist_ok=True)
            # It is often inside a checkout, and belongs into no commit.
            _write(base / ".gitignore", "*\n")
    except OSError as error:
        raise BackupFailed(
            f"No backup was taken: {base} can't be created ({error.strerror}). Create it, or set "
            'BACKUP["DIRECTORY"] to one that this user may write to.'
        ) from error
    if not os.access(base, os.W_OK | os.X_OK):
        raise BackupFailed(
            f"No backup was taken: this user may not write to {base}. Let it, or set "
            'BACKUP["DIRECTORY"] to another one.'
        )
    return base


def _expected(catalog: Catalog, only: Sequence[str] | None) -> list[Expected]:
    found = catalog.rows(TABLES)
    family = {oid for oid, _, _ in found}
    if only is not None:
        family = {oid for (oid,) in catalog.rows(FAMILY, [list(only)])}
    return [Expected(oid, name, kind == "r" and oid in family) for oid, name, kind in found]


def _tell(line: str, progress: Callable[[str], None]) -> None:
    if "dumping contents of table" in line:
        progress(line)


@contextlib.contextmanager
def _explained(base: Path, name: str) -> Iterator[None]:
    try:
        yield
    except ProgramFailed as error:
        free = ""
        with contextlib.suppress(OSError):
            free = f" {in_words(shutil.disk_usage(base).free)} are free in {base}."
        raise BackupFailed(f"No backup was taken.{free} {error}") from error


def _finish(target: Path, final: Path, details: Any) -> None:
    """Give a dump its name, when everything of it is on the disk."""
    try:
        _write(target / MANIFEST, json.dumps(details, indent=2, sort_keys=True) + "\n")
        for path in target.iterdir():
            path.chmod(0o600)
        target.chmod(0o700)
        target.rename(final)
        for directory in (final, final.parent):
            descriptor = os.open(directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise BackupFailed(f"No backup was taken: {final}: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
