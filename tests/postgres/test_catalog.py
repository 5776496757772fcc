"""What the catalog says of tables whose names are as awkward as PostgreSQL allows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table, literal, quote
from django_safemigrations.postgres.names import copy_name, cut, is_copy_name, sync_name
from tests.kit.databases import scratch_database
from tests.postgres.sessions import execute, holding, pid_of, value

pytestmark = pytest.mark.postgres_versions

NAME_OF_63_BYTES = "ä" * 30 + "abc"
ODD = [
    pytest.param("parcel", "parcel", id="plain"),
    pytest.param("Parcel", "Parcel", id="mixed_case"),
    pytest.param("with space", "with space", id="space"),
    pytest.param('quo"ted', 'quo""ted', id="quote"),
    pytest.param("100%s %(of)s 5%", "100%s %(of)s 5%", id="percent"),
    pytest.param("it's", "it's", id="apostrophe"),
    pytest.param("dotted.name", "dotted.name", id="dot"),
    pytest.param("select", "select", id="keyword"),
    pytest.param(NAME_OF_63_BYTES, NAME_OF_63_BYTES, id="63_bytes"),
]
ODD_NAMES = [pytest.param(case.values[0], id=case.id) for case in ODD]


@pytest.fixture(scope="module")
def shared(database_access: None) -> Iterator[BaseDatabaseWrapper]:
    """One database for all tests that leave nothing behind."""
    with scratch_database() as connection:
        yield connection


@pytest.fixture
def catalog(shared: BaseDatabaseWrapper) -> Iterator[Catalog]:
    """A catalog in a transaction that is rolled back."""
    with transaction.atomic():
        yield Catalog(shared)
        transaction.set_rollback(True)


def create(
    catalog: Catalog, name: str = "parcel", columns: str = "id int", schema: str = "public"
) -> Table:
    qualified = f"{quote(schema)}.{quote(name)}"
    execute(catalog.connection, f"CREATE TABLE {qualified} ({columns})")
    table = catalog.find_table(qualified if schema == "public" else f'{schema}"."{name}')
    assert table is not None
    return table


def run(catalog: Catalog, sql: str) -> None:
    execute(catalog.connection, sql)


class TestTables:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_table_is_found_under_any_name(self, catalog: Catalog, name: str) -> None:
        run(catalog, f"CREATE TABLE {quote(name)} (id int)")
        # Django quotes db_table as it is, and so names with quotes are none that it could use.
        table = catalog.find_table(f'"public".{quote(name)}' if '"' in name else name)
        assert table is not None
        assert (table.schema, table.name, table.kind) == ("public", name, "r")
        assert catalog.is_empty(table)
        run(catalog, f"INSERT INTO {table.qualified} VALUES (1)")
        assert not catalog.is_empty(table)

    @pytest.mark.parametrize(
        "db_table", ['Mixed Schema"."Mixed Table', '"Mixed Schema"."Mixed Table"']
    )
    def test_both_forms_of_a_qualified_name_are_found(
        self, catalog: Catalog, db_table: str
    ) -> None:
        run(catalog, 'CREATE SCHEMA "Mixed Schema"')
        run(catalog, 'CREATE TABLE "Mixed Schema"."Mixed Table" (id int)')
        run(catalog, 'CREATE TABLE "Mixed Table" (other int)')
        table = catalog.table(db_table)
        assert (table.schema, table.name) == ("Mixed Schema", "Mixed Table")
        assert catalog.column(table, "id") is not None
        assert catalog.column(table, "other") is None

    def test_a_name_without_schema_is_found_along_the_search_path(self, catalog: Catalog) -> None:
        run(catalog, "CREATE SCHEMA tenant")
        run(catalog, "CREATE TABLE parcel (id int)")
        run(catalog, "CREATE TABLE tenant.parcel (id int)")
        run(catalog, "SET search_path = tenant, public")
        assert catalog.table("parcel").schema == "tenant"
        run(catalog, "SET search_path = public")
        assert catalog.table("parcel").schema == "public"

    def test_a_table_that_is_missing_is_named(self, catalog: Catalog) -> None:
        assert catalog.find_table("Nowhere") is None
        with pytest.raises(UnsupportedChange, match='"Nowhere" does not exist'):
            catalog.table("Nowhere")

    def test_kinds_are_told_apart(self, catalog: Catalog) -> None:
        run(catalog, "CREATE TABLE parts (id int) PARTITION BY RANGE (id)")
        run(catalog, "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)")
        run(catalog, "CREATE VIEW seen AS SELECT 1 AS id")
        assert [catalog.table(n).kind for n in ("parts", "part", "seen")] == ["p", "r", "v"]
        assert [catalog.table(n).is_partition for n in ("parts", "part")] == [False, True]


class TestColumns:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_a_column_is_found_under_any_name(self, catalog: Catalog, name: str) -> None:
        table = create(catalog, columns=f"id int, {quote(name)} varchar(7) NOT NULL DEFAULT '5%'")
        column = catalog.column(table, name)
        assert column is not None
        assert (column.name, column.type) == (name, "character varying(7)")
        assert column.not_null
        assert column.default == "'5%'::character varying"
        assert catalog.not_null_is_proven(table, name)

    def test_a_dropped_column_and_a_system_column_are_none(self, catalog: Catalog) -> None:
        table = create(catalog, columns="id int, gone int")
        run(catalog, "ALTER TABLE parcel DROP COLUMN gone")
        assert catalog.column(table, "gone") is None
        assert catalog.column(table, "ctid") is None

    def test_everything_that_a_copy_needs_is_read(self, catalog: Catalog) -> None:
        table = create(catalog, columns="id int, code text COLLATE \"C\" DEFAULT 'a' || 'b'")
        for statement in (
            "COMMENT ON COLUMN parcel.code IS 'it''s 100% mine'",
            "ALTER TABLE parcel ALTER code SET STATISTICS 321",
            "ALTER TABLE parcel ALTER code SET STORAGE EXTERNAL",
            "ALTER TABLE parcel ALTER code SET COMPRESSION pglz",
            "ALTER TABLE parcel ALTER code SET (n_distinct = 5, n_distinct_inherited = -0.5)",
        ):
            run(catalog, statement)
        code = catalog.column(table, "code")
        assert code is not None
        assert code.collation == 'pg_catalog."C"'
        assert code.deterministic
        assert code.comment == "it's 100% mine"
        assert code.statistics == 321
        assert code.storage == "EXTERNAL"
        assert code.compression == "pglz"
        assert code.options == ("n_distinct=5", "n_distinct_inherited=-0.5")
        assert code.default == "('a'::text || 'b'::text)"

    def test_what_is_not_set_is_none(self, catalog: Catalog) -> None:
        code = catalog.column(create(catalog, columns="code text"), "code")
        assert code is not None
        assert (code.collation, code.comment, code.statistics, code.storage) == (None,) * 4
        assert (code.compression, code.default, code.options) == (None, None, ())
        assert not code.not_null

    def test_a_statistics_target_of_zero_is_one(self, catalog: Catalog) -> None:
        table = create(catalog, columns="code text")
        run(catalog, "ALTER TABLE parcel ALTER code SET STATISTICS 0")
        code = catalog.column(table, "code")
        assert code is not None
        assert code.statistics == 0

    def test_identity_and_generated_columns_are_told_apart(self, catalog: Catalog) -> None:
        table = create(
            catalog,
            columns="id int GENERATED BY DEFAULT AS IDENTITY, twice int GENERATED ALWAYS AS (2) STORED",
        )
        identity, twice = catalog.column(table, "id"), catalog.column(table, "twice")
        assert identity is not None
        assert twice is not None
        assert (identity.identity, identity.generated) == ("d", "")
        assert (twice.identity, twice.generated, twice.default) == ("", "s", None)

    def test_types_of_other_schemas_are_qualified(self, catalog: Catalog) -> None:
        run(catalog, 'CREATE SCHEMA "Kinds"')
        run(catalog, "CREATE TYPE \"Kinds\".\"Size\" AS ENUM ('s', 'm')")
        code = catalog.column(create(catalog, columns='code "Kinds"."Size"'), "code")
        assert code is not None
        assert code.type == '"Kinds"."Size"'
        assert code.type_schema == "Kinds"

    def test_a_column_s_own_grants_are_read_with_awkward_roles(self, catalog: Catalog) -> None:
        role = f'Role "{pid_of(catalog.connection)}" 5%'
        table = create(catalog, columns="id int, code text")
        run(catalog, f"CREATE ROLE {quote(role)}")
        run(catalog, f"GRANT SELECT (code) ON parcel TO {quote(role)} WITH GRANT OPTION")
        run(catalog, "GRANT UPDATE (code) ON parcel TO PUBLIC")
        assert catalog.column_grants(table, "code") == [
            ("SELECT", quote(role), True),
            ("UPDATE", "PUBLIC", False),
        ]
        assert catalog.column_grants(table, "id") == []


class TestKeys:
    def test_a_primary_key_comes_in_its_own_order(self, catalog: Catalog) -> None:
        table = create(catalog, columns='a int, "B" uuid, c varchar(3), PRIMARY KEY (c, "B")')
        assert catalog.primary_key(table) == [("c", "character varying(3)"), ("B", "uuid")]

    def test_a_unique_index_over_not_null_columns_serves_as_a_key(self, catalog: Catalog) -> None:
        table = create(catalog, columns="a int, b int NOT NULL, c int NOT NULL")
        run(catalog, "CREATE UNIQUE INDEX one ON parcel (a)")  # NULLs repeat
        run(catalog, "CREATE UNIQUE INDEX two ON parcel (b) WHERE b > 0")  # not every row
        run(catalog, "CREATE UNIQUE INDEX three ON parcel ((c + 1))")  # no column
        assert catalog.primary_key(table) == []
        run(catalog, "CREATE UNIQUE INDEX four ON parcel (c, b) INCLUDE (a)")
        assert catalog.primary_key(table) == [("c", "integer"), ("b", "integer")]

    def test_a_deferrable_key_is_none(self, catalog: Catalog) -> None:
        table = create(catalog, columns="a int NOT NULL UNIQUE DEFERRABLE")
        assert catalog.primary_key(table) == []

    def test_a_few_keys_are_named(self, catalog: Catalog) -> None:
        table = create(catalog, columns='"Id" int, "5%" text, PRIMARY KEY ("Id", "5%")')
        run(catalog, "INSERT INTO parcel SELECT n, 'x' FROM generate_series(1, 7) n")
        assert catalog.some_keys(table, '"Id" = 3') == " (Id, 5% = 3, x)"
        assert catalog.some_keys(table, '"Id" < 7').endswith("; 5, x, …)")
        assert catalog.some_keys(create(catalog, "bare"), "true") == ""


class TestIndexes:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_an_index_is_read_under_any_name_of_its_own_table_and_column(
        self, catalog: Catalog, name: str
    ) -> None:
        run(catalog, 'CREATE SCHEMA "Odd 5%"')
        qualified = f'"Odd 5%".{quote(name)}'
        run(catalog, f"CREATE TABLE {qualified} ({quote(name)} text)")
        index = cut("i" + name)
        run(
            catalog,
            f"CREATE UNIQUE INDEX {quote(index)} ON {qualified} (lower({quote(name)}) DESC)"
            f" INCLUDE ({quote(name)}) WHERE {quote(name)} <> '5%'",
        )
        table = catalog.find_table(f'"Odd 5%".{quote(name)}')
        assert table is not None
        [found] = catalog.indexes(table, name)
        assert found.name == index
        assert found.schema == "Odd 5%"
        assert found.tail.startswith("btree (lower(")
        assert found.tail.endswith("<> '5%'::text)")
        assert found.valid
        assert found.unique
        assert len(found.keys) == 1
        assert found == catalog.index(table, index)

    @pytest.mark.parametrize(
        "definition",
        [
            "(code)",
            "(id, code)",
            "(upper(code))",
            "(id) INCLUDE (code)",
            "(id) WHERE code IS NOT NULL",
            "(id, (id + length(code)))",
        ],
    )
    def test_an_index_is_found_by_every_column_it_uses(
        self, catalog: Catalog, definition: str
    ) -> None:
        table = create(catalog, columns="id int, code text, other int")
        run(catalog, f"CREATE INDEX parcel_code ON parcel {definition}")
        assert [i.name for i in catalog.indexes(table, "code")] == ["parcel_code"]
        assert catalog.indexes(table, "other") == []

    def test_constraints_are_told_from_indexes(self, catalog: Catalog) -> None:
        table = create(
            catalog,
            columns="id int PRIMARY KEY, a int UNIQUE, b int, c int,"
            " CONSTRAINT later UNIQUE (b) DEFERRABLE INITIALLY DEFERRED,"
            " CONSTRAINT apart EXCLUDE USING btree (c WITH =)",
        )
        run(catalog, "CREATE UNIQUE INDEX free ON parcel (a)")
        run(catalog, "COMMENT ON INDEX later IS 'an index'")
        run(catalog, "COMMENT ON CONSTRAINT later ON parcel IS 'a constraint'")
        found = {i.name: i for i in catalog.indexes(table)}
        kinds = {name: i.constraint_type for name, i in found.items()}
        assert kinds == {
            "parcel_pkey": "p",
            "parcel_a_key": "u",
            "later": "u",
            "apart": "x",
            "free": None,
        }
        later = found["later"]
        assert (later.deferrable, later.deferred, later.immediate) == (True, True, False)
        assert (later.comment, later.constraint_comment) == ("an index", "a constraint")
        assert found["parcel_pkey"].primary

    def test_nulls_not_distinct_cluster_and_replica_identity_are_read(
        self, catalog: Catalog
    ) -> None:
        table = create(catalog, columns="id int NOT NULL, code text")
        run(catalog, "CREATE UNIQUE INDEX one ON parcel (code) NULLS NOT DISTINCT")
        run(catalog, "CREATE UNIQUE INDEX two ON parcel (id)")
        run(catalog, "ALTER TABLE parcel CLUSTER ON one")
        run(catalog, "ALTER TABLE parcel REPLICA IDENTITY USING INDEX two")
        one, two = catalog.indexes(table)
        assert (one.nulls_distinct, one.clustered, one.replica_identity) == (False, True, False)
        assert (two.nulls_distinct, two.clustered, two.replica_identity) == (True, False, True)

    def test_an_index_of_a_partitioned_table_is_read(self, catalog: Catalog) -> None:
        run(catalog, "CREATE TABLE parts (id int, code text) PARTITION BY RANGE (id)")
        run(catalog, "CREATE INDEX whole ON parts (code)")
        run(catalog, "CREATE INDEX alone ON ONLY parts (id)")
        names = [i.name for i in catalog.indexes(catalog.table("parts"))]
        assert sorted(names) == ["alone", "whole"]


class TestConstraints:
    def test_checks_are_found_by_the_columns_they_use(self, catalog: Catalog) -> None:
        table = create(catalog, columns='id int, "To%tal" int, other int')
        run(catalog, 'ALTER TABLE parcel ADD CONSTRAINT "Co%st" CHECK ("To%tal" % 2 = id)')
        run(catalog, 'ALTER TABLE parcel ADD CONSTRAINT later CHECK ("To%tal" > 0) NOT VALID')
        run(catalog, "ALTER TABLE parcel ADD CONSTRAINT another CHECK (other > 0)")
        run(catalog, "COMMENT ON CONSTRAINT later ON parcel IS 'soon'")
        one, two = catalog.checks(table, "To%tal")
        assert (one.name, one.validated, one.comment) == ("Co%st", True, None)
        assert (two.name, two.validated, two.comment) == ("later", False, "soon")
        assert len(catalog.checks(table)) == 3
        assert catalog.constraint_exists(table.oid, "Co%st") == (True, True)
        assert catalog.constraint_exists(table.oid, "later") == (True, False)
        assert catalog.constraint_exists(table.oid, "never") == (False, False)

    def test_foreign_keys_from_and_to_a_column_are_found(self, catalog: Catalog) -> None:
        run(catalog, 'CREATE SCHEMA "Mixed"')
        owner = create(catalog, "Owner", "a int, b int, c int UNIQUE, UNIQUE (a, b)", "Mixed")
        parcel = create(catalog, columns='x int, y int, "Z" int')
        run(
            catalog,
            'ALTER TABLE parcel ADD CONSTRAINT pair FOREIGN KEY (y, x) REFERENCES "Mixed"."Owner" (a, b)'
            " MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL (y) DEFERRABLE INITIALLY DEFERRED",
        )
        run(
            catalog,
            'ALTER TABLE parcel ADD CONSTRAINT one FOREIGN KEY ("Z") REFERENCES "Mixed"."Owner" (c) NOT VALID',
        )
        [both] = catalog.foreign_keys(parcel, "x")
        assert [both] == catalog.foreign_keys(owner, "a")
        assert both.columns == ("y", "x")
        assert both.to_columns == ("a", "b")
        assert both.to_table == '"Mixed"."Owner"'
        assert (both.match, both.on_update, both.on_delete) == ("f", "c", "n")
        assert both.on_delete_columns == ("y",)
        assert (both.deferrable, both.deferred, both.validated) == (True, True, True)
        [one] = catalog.foreign_keys(parcel, "Z")
        assert not one.validated
        assert [one] == catalog.foreign_keys(owner, "c")

    def test_not_null_is_proven_only_when_it_is_validated(self, catalog: Catalog) -> None:
        table = create(catalog, columns="a int NOT NULL, b int, c int")
        assert catalog.not_null_is_proven(table, "a")
        assert not catalog.not_null_is_proven(table, "b")
        assert not catalog.not_null_is_proven(table, "nowhere")
        run(catalog, "ALTER TABLE parcel ADD CONSTRAINT c CHECK (c IS NOT NULL)")
        assert not catalog.not_null_is_proven(table, "c")


DEPENDENTS = {
    "a_view": ("CREATE VIEW seen AS SELECT code FROM parcel", "view seen"),
    "a_view_that_uses_it_in_where": (
        "CREATE VIEW seen AS SELECT id FROM parcel WHERE code = 'x'",
        "view seen",
    ),
    "a_materialized_view": (
        "CREATE MATERIALIZED VIEW seen AS SELECT code FROM parcel",
        "materialized view seen",
    ),
    "a_rule": (
        "CREATE RULE rewrites AS ON UPDATE TO parcel WHERE new.code = 'x' DO INSTEAD NOTHING",
        "parcel",
    ),
    "a_trigger_with_when": (
        "CREATE TRIGGER watch BEFORE UPDATE ON parcel FOR EACH ROW WHEN (new.code = 'x')"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger watch",
    ),
    "a_trigger_with_update_of": (
        "CREATE TRIGGER watch BEFORE UPDATE OF code ON parcel FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger watch",
    ),
    "a_policy": ("CREATE POLICY own ON parcel USING (code = current_user)", "policy own"),
    "a_generated_column": (
        "ALTER TABLE parcel ADD COLUMN big text GENERATED ALWAYS AS (upper(code)) STORED",
        "column big",
    ),
    "extended_statistics": (
        "CREATE STATISTICS pair ON id, code FROM parcel",
        "statistics object pair",
    ),
    "statistics_on_an_expression": (
        "CREATE STATISTICS pair ON (upper(code)) FROM parcel",
        "statistics object pair",
    ),
    "a_publication_with_a_column_list": (
        "CREATE PUBLICATION out FOR TABLE parcel (id, code)",
        "publication",
    ),
    "a_publication_with_a_where": (
        "CREATE PUBLICATION out FOR TABLE parcel WHERE (code = 'x')",
        "publication",
    ),
    "a_function_with_a_parsed_body": (
        "CREATE FUNCTION counted() RETURNS bigint LANGUAGE SQL"
        " BEGIN ATOMIC SELECT count(code) FROM parcel; END",
        "function counted()",
    ),
    "an_owned_sequence": ("CREATE SEQUENCE numbers OWNED BY parcel.code", "sequence numbers"),
}


class TestDependents:
    @pytest.fixture
    def parcel(self, catalog: Catalog) -> Table:
        table = create(
            catalog, columns="id int PRIMARY KEY, code text DEFAULT 'x' UNIQUE, other int"
        )
        run(catalog, "ALTER TABLE parcel ADD CHECK (code <> ''), REPLICA IDENTITY FULL")
        run(catalog, "CREATE INDEX parcel_upper ON parcel (upper(code))")
        return table

    def test_indexes_constraints_and_the_default_are_no_dependents(
        self, catalog: Catalog, parcel: Table
    ) -> None:
        assert catalog.other_dependents(parcel, "code") == []

    @pytest.mark.parametrize("kind", DEPENDENTS)
    def test_whatever_else_uses_the_column_is_named(
        self, catalog: Catalog, parcel: Table, kind: str
    ) -> None:
        statement, said = DEPENDENTS[kind]
        run(catalog, statement)
        found = catalog.other_dependents(parcel, "code")
        assert len(found) == 1, found
        assert said in found[0]
        assert catalog.other_dependents(parcel, "other") == []


class TestBuilds:
    def test_the_leftover_of_a_failed_build_is_neither_valid_nor_being_built(
        self, database: BaseDatabaseWrapper
    ) -> None:
        catalog = Catalog(database)
        table = create(catalog, columns="id int PRIMARY KEY, code text")
        run(catalog, "INSERT INTO parcel VALUES (1, 'x'), (2, 'x')")
        with pytest.raises(Exception, match="could not create unique index"):
            run(catalog, "CREATE UNIQUE INDEX CONCURRENTLY left_over ON parcel (code)")
        left_over = catalog.index(table, "left_over")
        assert left_over is not None
        assert (left_over.valid, left_over.being_built) == (False, False)


class TestNames:
    def test_names_of_copies_are_never_cut_by_postgresql(self) -> None:
        for name in (NAME_OF_63_BYTES, "x" * 63, "short"):
            copied = copy_name(name, ["total"], ["amount"])
            assert len(copied.encode()) <= 63
            assert is_copy_name(copied)
            assert not is_copy_name(name)

    def test_copies_of_different_originals_and_directions_differ(self) -> None:
        long = "x" * 62
        names = {
            copy_name(long + "a", ["total"], ["amount"]),
            copy_name(long + "b", ["total"], ["amount"]),
            copy_name(long + "a", ["amount"], ["total"]),
            copy_name(long + "a", ["total", "amount"], []),
        }
        assert len(names) == 4

    def test_the_sync_function_is_the_same_in_both_directions(self) -> None:
        assert sync_name("parcel", ["a", "b"]) == sync_name("parcel", ["b", "a"])
        assert sync_name("parcel", ["a", "b"]) != sync_name("parcels", ["a", "b"])

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_quoted_names_and_literals_come_back_as_they_were(
        self, database: BaseDatabaseWrapper, name: str
    ) -> None:
        assert value(database, f"SELECT {literal(name)}") == name
        with holding(f"CREATE TEMP TABLE {quote(name)} ()") as session:
            row = session.execute(
                "SELECT relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'"
            ).fetchone()
            assert row == (name,)


class TestPages:
    """A look that costs one query, for tables that nobody has written to yet."""

    def test_a_table_that_was_never_written_to_has_none(self, catalog: Catalog) -> None:
        run(catalog, 'CREATE TABLE "Unwritten" (a int)')
        assert not catalog.has_pages("Unwritten")

    def test_a_table_with_a_row_has_some(self, catalog: Catalog) -> None:
        run(catalog, "CREATE TABLE written (a int)")
        run(catalog, "INSERT INTO written VALUES (1)")
        assert catalog.has_pages("written")

    def test_a_partitioned_table_may_have_some(self, catalog: Catalog) -> None:
        run(catalog, "CREATE TABLE parted (a int) PARTITION BY HASH (a)")
        assert catalog.has_pages("parted")

    def test_a_table_that_is_not_there_has_none(self, catalog: Catalog) -> None:
        assert not catalog.has_pages("nowhere")
