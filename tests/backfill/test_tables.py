"""Tables of every kind: partitioned, inherited, foreign, without a key."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill import ranges
from django_safemigrations.backfill.keyset import fill
from django_safemigrations.backfill.ranges import members_of, split
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.runner import Runner
from tests.backfill.parcels import (
    COUNTER,
    ROWS,
    Clock,
    is_batch,
    left,
    nothing_to_wait_for,
    seeing,
    small_batches,
    stored,
    task,
    touches,
)
from tests.kit.databases import connect
from tests.postgres.sessions import execute, value

pytestmark = pytest.mark.postgres_versions
__all__ = ["nothing_to_wait_for", "small_batches"]


def make(connection: BaseDatabaseWrapper, *statements: str) -> None:
    for statement in (COUNTER, *statements):
        execute(connection, statement)


def watch(connection: BaseDatabaseWrapper, *tables: str) -> None:
    for table in tables:
        execute(
            connection,
            f"CREATE TRIGGER counts AFTER UPDATE ON {table} FOR EACH ROW"
            " EXECUTE FUNCTION count_touches()",
        )


PARTITIONED = (
    "CREATE TABLE parcel (id int, total int, amount int) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF parcel FOR VALUES FROM (0) TO (31)",
    "CREATE TABLE middle PARTITION OF parcel FOR VALUES FROM (31) TO (61) PARTITION BY LIST (id)",
    "CREATE TABLE odd PARTITION OF middle FOR VALUES IN (31, 33, 35)",
    "CREATE TABLE others PARTITION OF middle DEFAULT",
    "CREATE TABLE high PARTITION OF parcel FOR VALUES FROM (61) TO (200)",
    f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n",
)


def relations(means: Runner, **more: Any) -> dict[str, list[str]]:
    found = members_of(means.catalog, task(means.connection, **more))
    return {each.relation.sql: [name for name, _ in each.relation.key] for each in found}


class TestPartitions:
    @pytest.mark.parametrize(
        "key",
        [
            pytest.param("ALTER TABLE parcel ADD PRIMARY KEY (id)", id="of_the_whole"),
            pytest.param("ALTER TABLE low ADD PRIMARY KEY (id)", id="of_one_partition"),
            pytest.param("SELECT 1", id="none"),
        ],
    )
    def test_every_row_is_filled_once_partition_by_partition(self, means: Runner, key: str) -> None:
        make(means.connection, *PARTITIONED, key)
        watch(means.connection, "parcel")
        assert fill(means, task(means.connection), stored(means.connection)) == ROWS
        assert touches(means.connection) == (ROWS, ROWS)
        assert left(means.connection) == 0

    def test_each_is_walked_along_its_own_key(self, means: Runner) -> None:
        make(means.connection, *PARTITIONED, "ALTER TABLE low ADD PRIMARY KEY (id)")
        assert relations(means) == {
            "public.low": ["id"],
            "public.odd": ["ctid"],
            "public.others": ["ctid"],
            "public.high": ["ctid"],
        }

    def test_rows_that_move_between_partitions_meanwhile_are_caught_by_the_proof(
        self, means: Runner
    ) -> None:
        make(means.connection, *PARTITIONED, "ALTER TABLE parcel ADD PRIMARY KEY (id)")
        batches = itertools.count(1)

        def move(sql: str, params: Any) -> None:
            # The first partition is done when the last one's rows come there.
            if is_batch(sql) and "high" in sql and next(batches) == 1:
                with connect() as other:
                    other.execute("DELETE FROM parcel WHERE id < 10")
                    other.execute("UPDATE parcel SET id = id - 91 WHERE id BETWEEN 92 AND 100")

        with seeing(means.connection, move):
            fill(means, task(means.connection), stored(means.connection), clock=Clock())
        assert left(means.connection) == 0

    @pytest.mark.parametrize(
        "statement",
        ["ALTER TABLE parcel DETACH PARTITION high", "DROP TABLE high"],
        ids=["detached", "dropped"],
    )
    def test_a_partition_that_goes_meanwhile_is_no_error(
        self, means: Runner, statement: str
    ) -> None:
        make(means.connection, *PARTITIONED, "ALTER TABLE parcel ADD PRIMARY KEY (id)")
        batches = itertools.count(1)

        def take_away(sql: str, params: Any) -> None:
            if sql.startswith("SELECT set_config(") and next(batches) == 2:
                with connect() as other:
                    other.execute(statement)

        with seeing(means.connection, take_away):
            fill(means, task(means.connection), stored(means.connection), clock=Clock())
        assert left(means.connection) == 0

    def test_a_partition_that_comes_meanwhile_is_filled_too(self, means: Runner) -> None:
        make(means.connection, *PARTITIONED, "ALTER TABLE parcel ADD PRIMARY KEY (id)")
        batches = itertools.count(1)

        def add(sql: str, params: Any) -> None:
            if is_batch(sql) and next(batches) == 2:
                with connect() as other:
                    other.execute(
                        "CREATE TABLE new PARTITION OF parcel FOR VALUES FROM (200) TO (300)"
                    )
                    other.execute("INSERT INTO parcel SELECT n, n FROM generate_series(200, 250) n")

        with seeing(means.connection, add):
            changed = fill(means, task(means.connection), stored(means.connection), clock=Clock())
        assert changed == ROWS + 51
        assert left(means.connection) == 0

    def test_where_the_partition_key_is_written_rows_move_to_their_partition(
        self, means: Runner
    ) -> None:
        make(
            means.connection,
            "CREATE TABLE parcel (id int, total int, amount int, PRIMARY KEY (id, amount))"
            " PARTITION BY LIST (amount)",
            "CREATE TABLE unset PARTITION OF parcel FOR VALUES IN (0)",
            "CREATE TABLE isset PARTITION OF parcel DEFAULT",
            f"INSERT INTO parcel SELECT n, n, 0 FROM generate_series(1, {ROWS}) n",
        )
        assert list(relations(means)) == ["public.parcel"]
        fill(means, task(means.connection), stored(means.connection))
        assert value(means.connection, "SELECT count(*) FROM isset") == ROWS

    def test_a_foreign_partition_is_refused_with_its_name(self, means: Runner) -> None:
        make(
            means.connection,
            *PARTITIONED,
            "CREATE EXTENSION IF NOT EXISTS postgres_fdw",
            "CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE FOREIGN TABLE far PARTITION OF parcel FOR VALUES FROM (200) TO (300)"
            " SERVER away",
        )
        with pytest.raises(UnsupportedChange, match=r"public\.far is a foreign table.*Detach"):
            fill(means, task(means.connection), stored(means.connection))
        assert value(means.connection, "SELECT count(amount) FROM low") == 0


class TestOthers:
    def test_children_of_old_inheritance_are_filled_each_by_its_key(self, means: Runner) -> None:
        make(
            means.connection,
            "CREATE TABLE parcel (id int PRIMARY KEY, total int, amount int)",
            "CREATE TABLE special (extra text) INHERITS (parcel)",
            f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n",
            # The same keys again: a child has no part in its parent's key.
            "INSERT INTO special SELECT n, 1000 + n FROM generate_series(1, 50) n",
        )
        watch(means.connection, "parcel", "special")
        assert relations(means) == {"ONLY public.parcel": ["id"], "public.special": ["ctid"]}
        assert fill(means, task(means.connection), stored(means.connection)) == ROWS + 50
        assert touches(means.connection) == (ROWS + 50, ROWS + 50)
        assert left(means.connection) == 0

    def test_a_view_is_refused(self, means: Runner) -> None:
        make(
            means.connection,
            "CREATE TABLE real (id int PRIMARY KEY, total int, amount int)",
            "INSERT INTO real VALUES (1, 1)",
            "CREATE VIEW parcel AS SELECT * FROM real",
        )
        with pytest.raises(UnsupportedChange, match="is a view"):
            fill(means, task(means.connection), stored(means.connection))

    def test_an_unlogged_table_is_filled(self, means: Runner) -> None:
        """A crash of the server empties it, and then nothing is left to fill."""
        make(
            means.connection,
            "CREATE UNLOGGED TABLE parcel (id int PRIMARY KEY, total int, amount int)",
            f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n",
        )
        assert fill(means, task(means.connection), stored(means.connection)) == ROWS

    def test_a_deferrable_key_is_no_key_to_walk_along(self, means: Runner) -> None:
        make(
            means.connection,
            "CREATE TABLE parcel (id int PRIMARY KEY DEFERRABLE, total int, amount int)",
            f"INSERT INTO parcel SELECT n, n FROM generate_series(1, {ROWS}) n",
        )
        watch(means.connection, "parcel")
        assert list(relations(means).values()) == [["ctid"]]
        assert fill(means, task(means.connection), stored(means.connection)) == ROWS
        assert touches(means.connection) == (ROWS, ROWS)

    def test_a_key_that_calls_different_texts_equal_is_walked_in_its_own_order(
        self, means: Runner
    ) -> None:
        make(
            means.connection,
            "CREATE EXTENSION citext",
            "CREATE TABLE parcel (id citext PRIMARY KEY, total int, amount int)",
            f"INSERT INTO parcel SELECT CASE n % 2 WHEN 0 THEN 'a' ELSE 'B' END || n, n"
            f" FROM generate_series(1, {ROWS}) n",
        )
        watch(means.connection, "parcel")
        assert fill(means, task(means.connection), stored(means.connection)) == ROWS
        assert touches(means.connection) == (ROWS, ROWS)

    def test_without_a_key_a_pass_goes_over_every_page_once(self, means: Runner) -> None:
        """Also when each change moves a row to the end of the table."""
        make(
            means.connection,
            "CREATE TABLE parcel (id int, total int, amount int, note text) WITH (fillfactor = 100)",
            "INSERT INTO parcel SELECT n, n, NULL, repeat('x', 200) FROM generate_series(1, 2000) n",
        )
        watch(means.connection, "parcel")
        assert fill(means, task(means.connection), stored(means.connection)) == 2000
        assert touches(means.connection) == (2000, 2000)


def test_ranges_of_places_hold_every_page(means: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ROWS_A_RANGE", 500)
    make(
        means.connection,
        "CREATE TABLE parcel (id int, total int, amount int)",
        "INSERT INTO parcel SELECT n, n FROM generate_series(1, 5000) n",
        "ANALYZE parcel",
    )
    found = split(means.catalog, members_of(means.catalog, task(means.connection)))
    assert len(found) == 10
    assert found[0].lower is None
    assert [each.lower for each in found[1:]] == [each.upper for each in found[:-1]]
    pages = value(means.connection, "SELECT pg_relation_size('parcel') / 8192")
    assert found[-1].upper == [f"({pages},0)"]
