"""Sizes of tables as they are read from a database: all of them, and nothing of any row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections

from django_safemigrations.lint.stats import (
    read_stats,
)
from django_safemigrations.management.lint_files import exported_stats
from tests.lint.test_command import refused, run


@pytest.fixture
def tables(transactional_db: None) -> Iterator[None]:
    """A filled table, one never analysed, a partitioned one, and one in another schema."""
    with connection.cursor() as cursor:
        cursor.execute("""
            CREATE SCHEMA depot;
            CREATE TABLE l4_filled (id int PRIMARY KEY, secret text);
            INSERT INTO l4_filled SELECT i, 'secret ' || i FROM generate_series(1, 1000) i;
            ANALYZE l4_filled;
            CREATE TABLE l4_fresh (id int);
            INSERT INTO l4_fresh VALUES (1);
            CREATE TABLE l4_empty (id int);
            CREATE TABLE depot.l4_filled (id int);
            INSERT INTO depot.l4_filled SELECT generate_series(1, 10);
            ANALYZE depot.l4_filled;
            CREATE TABLE l4_parts (id int) PARTITION BY RANGE (id);
            CREATE TABLE l4_part1 PARTITION OF l4_parts FOR VALUES FROM (0) TO (100);
            CREATE TABLE l4_part2 PARTITION OF l4_parts FOR VALUES FROM (100) TO (200);
            INSERT INTO l4_parts SELECT generate_series(0, 149);
            ANALYZE l4_part1; ANALYZE l4_part2;
        """)
    yield
    with connection.cursor() as cursor:
        cursor.execute("""
            DROP SCHEMA depot CASCADE;
            DROP TABLE l4_filled, l4_fresh, l4_empty, l4_parts;
        """)


@pytest.mark.postgres_versions
def test_the_export_holds_sizes_of_all_tables_by_schema(tables: None, tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    code, printed = run("--export-stats", str(path))
    assert (code, printed) == (0, f"The sizes of the tables of 'default' are in {path}.\n")
    exported = read_stats(str(path))
    assert exported.search_path == ("public",)
    assert exported.age(datetime.now(UTC)) == 0
    rows = {name: size.rows for name, size in exported.tables.items()}
    assert rows["public.l4_filled"] == 1000
    assert rows["depot.l4_filled"] == 10
    assert rows["public.l4_fresh"] is None
    assert rows["public.l4_empty"] == 0
    assert (rows["public.l4_part1"], rows["public.l4_part2"]) == (100, 50)
    assert rows["public.l4_parts"] == 150
    filled = exported.tables["public.l4_filled"]
    assert filled.bytes > 8192
    assert filled.index_bytes > 8192
    assert not any(name.startswith(("pg_", "information_schema")) for name in rows)


def test_the_export_holds_no_data_of_any_row(tables: None) -> None:
    text = exported_stats("default")
    assert "secret" not in text
    sizes = json.loads(text)["tables"]["public.l4_filled"]
    assert list(sizes) == ["rows", "bytes", "index_bytes", "writes_per_second"]


def test_the_export_goes_to_standard_output_without_a_file(tables: None) -> None:
    code, printed = run("--export-stats")
    assert code == 0
    assert "public.l4_filled" in json.loads(printed)["tables"]


def test_the_export_reads_in_a_read_only_transaction_and_leaves_the_session_as_it_was(
    tables: None,
) -> None:
    seen: list[str] = []

    def watch(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        seen.append(str(sql))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        before = cursor.fetchone()
    with connection.execute_wrapper(watch):
        exported_stats("default")
    assert "transaction_read_only" in seen[0]
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == before
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)


def test_the_rate_of_writes_is_known_once_statistics_have_been_reset(tables: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
        cursor.execute("INSERT INTO l4_empty SELECT generate_series(1, 100)")
        cursor.execute("SELECT pg_stat_force_next_flush()")
    rate = json.loads(exported_stats("default"))["tables"]["public.l4_empty"]["writes_per_second"]
    assert rate is not None
    assert rate > 0


def test_a_locked_table_is_said_and_not_waited_for_long(
    tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_safemigrations.postgres import table_sizes

    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE l4_filled IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(table_sizes.TableLocked):
            table_sizes.read_sizes(connection, wait=20)
    finally:
        other.close()


def test_an_unknown_database_is_wrong_usage() -> None:
    error = refused("--export-stats", "--database", "defalt")
    assert error.returncode == 2
    assert "Did you mean 'default'?" in str(error)
