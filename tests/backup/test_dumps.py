"""A dump is complete, private, readable, and restored by the command that is printed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from pytest_django import DjangoDbBlocker

from django_safemigrations.backup.dumps import dump, dump_name, listed_tables, remove_partial
from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.backup.taking import intended, take_backup
from django_safemigrations.backup_settings import BackupSettings
from django_safemigrations.exceptions import BackupFailed
from django_safemigrations.postgres.programs import run_program
from tests.kit.databases import admin, connect, drop_database, scratch_database
from tests.kit.forks import fork, wait_for
from tests.kit.kill import wait_until

SECRET = "geheim-8d1f"
HOSTILE = ('na"me', "semi;colon", "new\nline", "Größe $1", "a.b", "-- x", "*", "per%cent")
SILENT: Any = lambda line: None  # noqa: E731


@pytest.fixture
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    """A database with tables of hostile names, rows, a sequence and a large object."""
    with django_db_blocker.unblock(), scratch_database() as connection:
        connection.settings_dict["PASSWORD"] = SECRET
        with connection.cursor() as cursor:
            cursor.execute('CREATE SCHEMA "Sche""ma"')
            cursor.execute("CREATE TABLE item (id bigserial PRIMARY KEY, note text)")
            cursor.execute(
                "INSERT INTO item (note) SELECT repeat('x', 200) || n FROM generate_series(1, 2000) n"
            )
            cursor.execute("CREATE TABLE part (id int) PARTITION BY RANGE (id)")
            cursor.execute("CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10)")
            cursor.execute("INSERT INTO part VALUES (1), (2)")
            for name in HOSTILE:
                table = sql.Identifier('Sche"ma', name).as_string(None)
                cursor.connection.execute(f"CREATE TABLE {table} (n int)".encode())
                cursor.connection.execute(f"INSERT INTO {table} VALUES (7)".encode())
        yield connection


@pytest.fixture
def settings(tmp_path: Path) -> BackupSettings:
    return BackupSettings(directory=str(tmp_path / "backups"))


def now() -> datetime:
    return datetime.now(UTC)


def take(
    database: BaseDatabaseWrapper, settings: BackupSettings, at_risk: tuple[AtRisk, ...] = ()
) -> Any:
    return take_backup(database, settings, at_risk=at_risk, progress=SILENT, clock=now)


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}


def dumping(database: BaseDatabaseWrapper) -> bool:
    """Whether a session of pg_dump waits for a table."""
    return (
        admin()
        .execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            " AND application_name = 'django_safemigrations' AND wait_event_type = 'Lock'",
            [database.settings_dict["NAME"]],
        )
        .fetchone()
    ) != (0,)


def rows(name: str) -> dict[str, Any]:
    with connect(name) as session:
        tables = session.execute(
            "SELECT format('%I.%I', n.nspname, relname) FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = relnamespace WHERE relkind = 'r' AND n.nspname !~ '^pg_'"
            " AND n.nspname <> 'information_schema' ORDER BY 1"
        ).fetchall()
        return {
            table: session.execute(
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t".encode()
            ).fetchone()
            for (table,) in tables
        }


def rows_restored(database: BaseDatabaseWrapper, taken: Any) -> dict[str, Any]:
    """Type the printed command, and return the rows of the database that it makes."""
    restored = f"{database.settings_dict['NAME']}_restored"
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    try:
        done = subprocess.run(
            taken.details["restore"], shell=True, env=plain, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return rows(restored)
    finally:
        drop_database(restored)


@pytest.mark.postgres_versions
def test_the_printed_command_restores_all_of_it(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    taken = take(database, settings)
    directory = Path(taken.details["directory"])
    assert modes(directory.parent) <= {0o600, 0o700}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert taken.details["tables"] == len(HOSTILE) + 3
    assert [path.name for path in directory.parent.iterdir() if path.is_dir()] == [directory.name]
    command = taken.describe[-1].strip()
    assert command == taken.details["restore"]
    before = rows(str(database.settings_dict["NAME"]))
    assert rows_restored(database, taken) == before


def test_no_secret_is_told(database: BaseDatabaseWrapper, settings: BackupSettings) -> None:
    lines: list[str] = []
    seen: set[str] = set()

    def progress(line: str) -> None:
        lines.append(line)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(settings.directory) in text:
                seen.add(text)

    taken = dump(database, settings, at_risk=(), progress=progress, clock=now)
    assert any("pg_dump" in text for text in seen)
    written = [path.read_bytes() for path in Path(settings.directory).rglob("*") if path.is_file()]
    told = [*lines, *seen, repr(taken), *(each.decode(errors="replace") for each in written)]
    assert not [each for each in told if SECRET in each]


def test_only_the_tables_at_risk_are_dumped_if_that_is_asked_for(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    names = ['"Sche""ma"."na""me"', '"Sche""ma"."*"', '"Sche""ma"."a.b"', "public.item"]
    risks = tuple(AtRisk("shop", "0002", "0", "dropped", name, (), "Drop it") for name in names)
    risks = (*risks, AtRisk("shop", "0002", "0", "dropped", "public.part", (), "Drop it"))
    taken = take(database, replace(settings, tables="at_risk"), risks)
    assert taken.details["tables"] == 5
    assert taken.details["scope"] == "at_risk"
    before = rows(str(database.settings_dict["NAME"]))
    restored = rows_restored(database, taken)
    assert {name for name, (count, _) in restored.items() if count} == {*names, "public.part_1"}
    assert {name: before[name] for name in names} == {name: restored[name] for name in names}
    unknown = (*risks, AtRisk("shop", "0003", "0", "may be overwritten", "", (), "RunPython"))
    everything = take(database, replace(settings, tables="at_risk"), unknown)
    assert everything.details["tables"] == len(HOSTILE) + 3


def test_a_table_that_may_not_be_read_is_named_with_what_to_grant(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    role = f"dsm_reader_{os.getpid()}"
    admin().execute(f'CREATE ROLE "{role}" LOGIN'.encode())
    try:
        with database.cursor() as cursor:
            cursor.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public, "Sche""ma" TO "{role}"')
            cursor.execute(f'GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
            cursor.execute(f'GRANT USAGE ON SCHEMA "Sche""ma" TO "{role}"')
            cursor.execute(f'REVOKE SELECT ON item FROM "{role}"')
        other = database.copy()
        other.settings_dict["USER"] = role
        try:
            with pytest.raises(BackupFailed) as raised:
                take(other, settings)
            assert f'GRANT SELECT ON TABLE public.item TO "{role}";' in str(raised.value)
            assert f'GRANT pg_read_all_data TO "{role}"' in str(raised.value)
            assert not Path(settings.directory).exists()
            with database.cursor() as cursor:
                cursor.execute(f'GRANT SELECT ON TABLE public.item TO "{role}"')
            take(other, settings)
            with database.cursor() as cursor:
                cursor.execute("ALTER TABLE item ENABLE ROW LEVEL SECURITY")
            with pytest.raises(BackupFailed, match="BYPASSRLS"):
                take(other, settings)
        finally:
            other.close()
    finally:
        with database.cursor() as cursor:
            cursor.execute(f'DROP OWNED BY "{role}"')
        admin().execute(f'DROP ROLE "{role}"'.encode())


def test_a_dump_that_is_garbled_is_no_backup(
    database: BaseDatabaseWrapper, settings: BackupSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_safemigrations.backup import dumps

    real = dumps.verify_dump

    def garble(programs: Any, directory: Path, *more: Any) -> None:
        largest = max(directory.glob("*.dat*"), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 0xFF
        largest.write_bytes(content)
        real(programs, directory, *more)

    monkeypatch.setattr(dumps, "verify_dump", garble)
    with pytest.raises(BackupFailed, match="can't be read back, and was removed"):
        take(database, settings)
    assert [path for path in Path(settings.directory).iterdir() if path.is_dir()] == []


def test_a_dump_that_lacks_a_table_is_no_backup(
    database: BaseDatabaseWrapper, settings: BackupSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_safemigrations.backup import dumps

    real = run_program

    def without(command: list[str], *args: Any, **more: Any) -> Any:
        if "--format=directory" in command:
            command = [*command, "--exclude-table=item"]
        return real(command, *args, **more)

    monkeypatch.setattr(dumps, "run_program", without)
    with pytest.raises(BackupFailed, match=r"lacks public\.item, and was removed"):
        take(database, settings)


def test_a_full_disk_leaves_nothing_and_says_how_much_is_free(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    def child() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(BackupFailed, match=r"are free in .*pg_dump failed"):
            take(connections["default"], settings)

    ended = wait_for(*fork(child))
    assert (ended.signal, ended.error) == (0, "")
    assert [path for path in Path(settings.directory).iterdir() if path.is_dir()] == []


def test_a_dump_that_was_killed_is_removed_by_the_next_one(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    base = Path(settings.directory)
    with connect(str(database.settings_dict["NAME"])) as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")

        def child() -> None:
            take(connections["default"], settings)

        pid, pipe = fork(child)
        wait_until(lambda: dumping(database), lambda: "pg_dump is not there")
        (partial,) = base.glob("*.partial")
        assert remove_partial(base) == []
        os.kill(pid, 9)
        wait_for(pid, pipe)
        wait_until(lambda: not dumping(database), lambda: "pg_dump lives on")
        session.execute("ROLLBACK")
    assert partial.exists()
    taken = take(database, settings)
    assert [path for path in base.iterdir() if path.is_dir()] == [Path(taken.details["directory"])]


def test_the_name_of_a_dump_fits_a_path_whatever_the_database_is_called() -> None:
    when = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    name = dump_name("../Grö ße/" + "x" * 100, when)
    assert "/" not in name
    assert name.startswith("___Gr__e_xxx") is False
    assert name.isascii()
    assert "-20260301T123000Z-" in name
    assert len(name) < 100


def test_tables_are_found_by_oid_in_what_pg_restore_lists() -> None:
    listed = (
        ";\n; Archive created at 2026\n;\n217; 1259 16386 TABLE public a TABLE DATA owner\n"
        "3456; 0 16386 TABLE DATA public a owner\n218; 1259 16390 SEQUENCE public s owner\n"
        '3457; 2606 16400 CONSTRAINT public a a_pkey owner\n219; 1259 16401 TABLE Sche"ma DATA o\n'
    )
    assert listed_tables(listed) == ({16386, 16401}, {16386})


def test_what_would_be_done_is_said_beforehand(settings: BackupSettings) -> None:
    assert str(settings.directory) in intended(settings)
    assert "restore point" in intended(replace(settings, strategy="restore_point"))
    assert "--backup-id" in intended(replace(settings, strategy="attested"))
    assert "snap" in intended(replace(settings, strategy="command", command=("snap",)))


def test_a_directory_that_can_not_be_made_is_an_error(
    database: BaseDatabaseWrapper, settings: BackupSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupFailed, match="can't be created"):
        take(database, replace(settings, directory=str(tmp_path / "file" / "below")))


def test_an_existing_directory_keeps_its_mode(
    database: BaseDatabaseWrapper, settings: BackupSettings
) -> None:
    base = Path(settings.directory)
    base.mkdir(mode=0o755)
    base.chmod(0o755)
    taken = take(database, settings)
    assert stat.S_IMODE(base.stat().st_mode) == 0o755
    assert stat.S_IMODE(Path(taken.details["directory"]).stat().st_mode) == 0o700
    shutil.rmtree(base)
