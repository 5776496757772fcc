"""A renamed column has everything of the old one, also what no model knows of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import models

from django_safemigrations.exceptions import SafeMigrationsError
from tests.kit import schema
from tests.kit.case import Case
from tests.kit.databases import admin
from tests.operations.started import Started, rename, started

pytestmark = pytest.mark.postgres_versions

TABLE = "caseapp_order"


def code(**options: object) -> models.CharField[str, str]:
    return models.CharField(max_length=20, **options)  # type: ignore[arg-type]


def wanted(change: Started) -> dict[str, str]:
    """Return the schema that ALTER TABLE … RENAME COLUMN makes of the database before."""
    with change.connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"ALTER TABLE {TABLE} RENAME COLUMN total TO amount")
        found = schema.fingerprint(change.connection)
        cursor.execute("ROLLBACK")
    return found


# What a DBA did by hand, beside the type of the column.
BY_HAND: dict[str, tuple[str, tuple[str, ...]]] = {
    "an index over expressions, with order, operator class, INCLUDE, WHERE and parameters": (
        "text",
        (
            f'CREATE INDEX "by Hand 5%" ON {TABLE} (lower(total) text_pattern_ops DESC NULLS LAST, number)'
            " INCLUDE (code, total) WITH (fillfactor = 55) WHERE total IS NOT NULL AND total <> '5%'",
            'COMMENT ON INDEX "by Hand 5%" IS $$it\'s 100%$$',
        ),
    ),
    "a unique index with NULLS NOT DISTINCT": (
        "text",
        (f"CREATE UNIQUE INDEX by_hand ON {TABLE} (total, id) NULLS NOT DISTINCT",),
    ),
    "a deferred unique constraint": (
        "text",
        (
            f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand UNIQUE (total, id) DEFERRABLE INITIALLY DEFERRED",
            f"COMMENT ON CONSTRAINT by_hand ON {TABLE} IS 'mine'",
        ),
    ),
    "a check over two columns": (
        "text",
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand CHECK (total <> code || '%%x')",),
    ),
    "a check that is not valid": (
        "text",
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand CHECK (length(total) < 50) NOT VALID",),
    ),
    "a foreign key with actions": (
        "text",
        (
            "CREATE TABLE codes (code text PRIMARY KEY)",
            f"INSERT INTO codes SELECT DISTINCT total FROM {TABLE}",
            f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand FOREIGN KEY (total) REFERENCES codes"
            " ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE",
            f"COMMENT ON CONSTRAINT by_hand ON {TABLE} IS 'mine'",
        ),
    ),
    "a foreign key that is not valid": (
        "text",
        (
            "CREATE TABLE codes (code text PRIMARY KEY)",
            f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand FOREIGN KEY (total) REFERENCES codes NOT VALID",
        ),
    ),
    "a foreign key from another table": (
        "text",
        (
            f"CREATE UNIQUE INDEX by_hand ON {TABLE} (total)",
            "CREATE TABLE crm.other (total text)",
            f"ALTER TABLE crm.other ADD CONSTRAINT here FOREIGN KEY (total) REFERENCES {TABLE} (total)",
        ),
    ),
    "grants, comment, statistics target, storage, compression and options": (
        "text",
        (
            f"GRANT SELECT (total), INSERT (total), REFERENCES (total) ON {TABLE} TO pg_monitor"
            " WITH GRANT OPTION",
            f"GRANT UPDATE (total) ON {TABLE} TO PUBLIC",
            f"COMMENT ON COLUMN {TABLE}.total IS 'it''s 100%'",
            f"ALTER TABLE {TABLE} ALTER total SET STORAGE EXTERNAL",
            f"ALTER TABLE {TABLE} ALTER total SET COMPRESSION pglz",
            f"ALTER TABLE {TABLE} ALTER total SET (n_distinct = 7)",
        ),
    ),
    "a default": ("text", (f"ALTER TABLE {TABLE} ALTER total SET DEFAULT 'a' || upper('5%')",)),
    "a default from a sequence": (
        "integer",
        (
            "CREATE SEQUENCE numbers",
            f"ALTER TABLE {TABLE} ALTER total SET DEFAULT nextval('numbers')",
        ),
    ),
    "replica identity": (
        "text",
        (
            f"CREATE UNIQUE INDEX by_hand ON {TABLE} (total)",
            f"ALTER TABLE {TABLE} REPLICA IDENTITY USING INDEX by_hand",
        ),
    ),
    "a cluster index": (
        "text",
        (f"CREATE INDEX by_hand ON {TABLE} (total)", f"ALTER TABLE {TABLE} CLUSTER ON by_hand"),
    ),
    "a function and a keyword of the column's name": (
        "text",
        (
            "CREATE FUNCTION total(text) RETURNS text IMMUTABLE LANGUAGE SQL RETURN $1",
            f"CREATE INDEX by_hand ON {TABLE} (total(total), (total || 'total'))",
            f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand CHECK (total(total) <> 'total')",
        ),
    ),
    "a not null that is not valid yet": (
        "text",
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand CHECK (total IS NOT NULL) NOT VALID",),
    ),
}


def case(kind: str) -> Case:
    if kind == "integer":
        return rename(models.IntegerField())
    return rename(models.TextField(), values={"total": lambda n: f"t{n}"})


@pytest.fixture
def change(request: pytest.FixtureRequest) -> Iterator[Started]:
    kind, statements = BY_HAND[request.param]
    with started(case(kind), *statements) as found:
        yield found


@pytest.mark.parametrize("change", BY_HAND, indirect=True)
def test_what_a_dba_added_is_there_afterwards_and_after_the_way_back(change: Started) -> None:
    names = wanted(change)
    change.expand()
    change.contract()
    assert schema.diff(schema.fingerprint(change.connection), names) == []
    change.back()
    change.assert_untouched()


@pytest.mark.parametrize("change", BY_HAND, indirect=True)
def test_the_way_back_before_the_contract_leaves_everything_as_it_was(change: Started) -> None:
    change.expand()
    change.back()
    change.assert_untouched()


def test_rows_that_break_a_check_which_is_not_valid_are_named() -> None:
    """PostgreSQL lets such rows be, but refuses every UPDATE of them: the backfill's too."""
    check = f"ALTER TABLE {TABLE} ADD CONSTRAINT by_hand CHECK (number > 1001) NOT VALID"
    with started(case("text"), check) as change:
        with pytest.raises(SafeMigrationsError) as caught:
            change.expand()
        assert "by_hand" in str(caught.value)
        change.run(f"ALTER TABLE {TABLE} DROP CONSTRAINT by_hand")
        change.expand()
        change.contract()


def test_a_statistics_target_is_copied() -> None:
    with started(case("text"), f"ALTER TABLE {TABLE} ALTER total SET STATISTICS 321") as change:
        change.expand()
        change.contract()
        target = (
            "SELECT attstattarget FROM pg_attribute"
            f" WHERE attrelid = '{TABLE}'::regclass AND attname = 'amount'"
        )
        assert change.value(target) == 321


def test_the_planner_knows_the_copied_index_before_the_old_one_goes() -> None:
    with started(case("text"), f"CREATE INDEX by_hand ON {TABLE} (lower(total))") as change:
        change.expand()
        known = f"SELECT count(*) FROM pg_stats WHERE tablename = '{TABLE}' AND attname = 'amount'"
        assert change.value(known) == 1
        copied = (
            "SELECT count(*) FROM pg_stats s JOIN pg_index i ON i.indexrelid = s.tablename::regclass"
            f" WHERE i.indrelid = '{TABLE}'::regclass AND s.tablename LIKE 'dsm%%'"
        )
        assert change.value(copied.replace("%%", "%")) == 1


def test_the_default_moves_in_the_contract_and_not_before() -> None:
    """With a default on both columns, a value that old code writes would be lost."""
    default = (
        "SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_attrdef d"
        f" ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = '{TABLE}'::regclass"
        " AND a.attname = '{}'"
    )
    with started(
        rename(models.IntegerField()), f"ALTER TABLE {TABLE} ALTER total SET DEFAULT 7"
    ) as change:
        change.expand()
        assert change.value(default.format("total")) == "7"
        assert change.value(default.format("amount")) is None
        change.run(f"INSERT INTO {TABLE} (number, code, total) VALUES (-1, 'old', 8)")
        change.run(f"INSERT INTO {TABLE} (number, code, amount) VALUES (-1, 'new', 9)")
        change.run(f"INSERT INTO {TABLE} (number, code) VALUES (-1, 'neither')")
        rows = change.rows(f"SELECT code, total, amount FROM {TABLE} WHERE number = -1 ORDER BY 1")
        assert rows == [("neither", 7, 7), ("new", 9, 9), ("old", 8, 8)]
        change.contract()
        assert change.value(default.format("amount")) == "7"


def test_a_second_role_keeps_its_grants_on_the_new_column_during_the_overlap() -> None:
    role = "kit_reader"
    admin().execute(f"DROP ROLE IF EXISTS {role}")
    admin().execute(f"CREATE ROLE {role}")
    try:
        with started(case("text"), f"GRANT SELECT (total) ON {TABLE} TO {role}") as change:
            change.expand()
            may = f"SELECT has_column_privilege('{role}', '{TABLE}', '{{}}', 'SELECT')"
            assert [change.value(may.format(n)) for n in ("total", "amount")] == [True, True]
    finally:
        admin().execute(f"DROP ROLE {role}")


def test_no_helper_is_left_after_the_contract() -> None:
    with started(rename(code(db_index=True))) as change:
        change.expand()
        assert [name for name in change.objects() if "dsm_" in name]
        change.contract()
        assert [name for name in change.objects() if "dsm_" in name] == []
