"""RunInBatches: what users say in Django's terms or in SQL is done to every row, once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Exists, F, OuterRef, Q, Subquery, Value
from django.db.models.functions import Concat, Lower

from django_safemigrations.backfill import walk
from django_safemigrations.backfill.report import reporting_to
from django_safemigrations.exceptions import BackfillFailed, DataDiffers, UnsupportedChange
from django_safemigrations.models import BackfillProgress
from django_safemigrations.operations import (
    BatchSQL,
    DeleteRows,
    InsertRows,
    RunInBatches,
    UpdateRows,
    row_function,
)
from tests.backfill.shop import Shop

pytestmark = pytest.mark.postgres_versions

ROWS = 100


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are many."""
    monkeypatch.setattr(walk, "FIRST_BATCH", 16)
    monkeypatch.setattr(walk, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 16)


@pytest.fixture
def shop(database: BaseDatabaseWrapper) -> Shop:
    """Customers, and a hundred orders of theirs."""
    shop = Shop(database)
    shop.create(
        "Customer",
        {
            "id": models.BigAutoField(primary_key=True),
            "name": models.CharField(max_length=50),
            "active": models.BooleanField(default=True),
        },
    )
    shop.create(
        "Order",
        {
            "id": models.BigAutoField(primary_key=True),
            "title": models.CharField(max_length=50),
            "slug": models.CharField(max_length=60, null=True),
            "count": models.IntegerField(default=0),
            "data": models.JSONField(default=dict),
            "customer": models.ForeignKey("shop.Customer", models.CASCADE),
        },
    )
    shop.run(
        "INSERT INTO shop_customer (name, active) SELECT 'C' || n, n > 5"
        " FROM generate_series(1, 10) n"
    )
    shop.run(
        "INSERT INTO shop_order (title, count, data, customer_id)"
        " SELECT '100% Title ' || n, 0, '{}', 1 + n % 10 FROM generate_series(1, 100) n"
    )
    return shop


def test_an_update_of_expressions_reaches_every_row(shop: Shop) -> None:
    shop.do(RunInBatches("order", UpdateRows({"slug": Lower(F("title")), "count": 3})))
    assert shop.value("SELECT count(*) FROM shop_order WHERE slug = lower(title)") == ROWS
    assert shop.value("SELECT sum(count) FROM shop_order") == 3 * ROWS


class TestUpdates:
    def test_it_works_in_batches_each_committed_with_its_progress(self, shop: Shop) -> None:
        shop.run(
            "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO seen VALUES (txid_current()); RETURN NULL; END $$"
        )
        shop.run("CREATE TABLE seen (x bigint)")
        shop.run(
            "CREATE TRIGGER nap AFTER UPDATE ON shop_order FOR EACH STATEMENT"
            " EXECUTE FUNCTION nap()"
        )
        shop.do(RunInBatches("order", UpdateRows({"count": 1})))
        assert shop.value("SELECT count(DISTINCT x) FROM seen") >= ROWS // 16
        row = BackfillProgress.objects.get()
        assert (row.state, row.rows_done) == ("finished", ROWS)

    def test_a_change_that_is_no_fixed_point_is_made_once_a_row(self, shop: Shop) -> None:
        operation = RunInBatches("order", UpdateRows({"count": F("count") + 1}))
        shop.do(operation)
        # A later operation of the migration failed, and the command was run again.
        shop.do(operation)
        assert shop.rows("SELECT DISTINCT count FROM shop_order") == [(1,)]

    def test_a_condition_on_other_tables_is_met(self, shop: Shop) -> None:
        where = Q(customer__active=True, data={})
        shop.do(RunInBatches("order", UpdateRows({"count": 7}, where)))
        found = shop.rows(
            "SELECT c.active, min(o.count), max(o.count) FROM shop_order o"
            " JOIN shop_customer c ON c.id = o.customer_id GROUP BY 1 ORDER BY 1"
        )
        assert found == [(False, 0, 0), (True, 7, 7)]

    def test_subqueries_are_given_by_functions_of_the_historical_apps(self, shop: Shop) -> None:
        def values(apps: Any) -> dict[str, Any]:
            customers = apps.get_model("shop", "Customer").objects.filter(pk=OuterRef("customer"))
            return {"slug": Concat(Subquery(customers.values("name")), Value("-"), F("title"))}

        def where(apps: Any) -> Any:
            customers = apps.get_model("shop", "Customer").objects.filter(active=True)
            orders = apps.get_model("shop", "Order").objects
            return orders.filter(Exists(customers.filter(pk=OuterRef("customer"))), slug=None)

        shop.do(RunInBatches("order", UpdateRows(values, where)))
        assert shop.value("SELECT count(*) FROM shop_order WHERE slug IS NULL") == 50
        found = shop.value("SELECT slug FROM shop_order WHERE id = 7")
        assert found == "C8-100% Title 7"

    def test_values_may_hold_what_the_statement_is_written_with(self, shop: Shop) -> None:
        text = "{batch} {table} %s %% 'quoted' \\ \"x\""
        shop.do(RunInBatches("order", UpdateRows({"slug": text, "data": {"a": [text]}})))
        assert shop.rows("SELECT DISTINCT slug, data->'a'->>0 FROM shop_order") == [(text, text)]

    def test_rows_without_a_match_cost_nothing_and_are_no_error(self, shop: Shop) -> None:
        shop.do(RunInBatches("order", UpdateRows({"count": 9}, Q(pk__in=[]))))
        assert shop.value("SELECT max(count) FROM shop_order") == 0

    def test_rows_of_a_slice_are_refused(self, shop: Shop) -> None:
        operation = RunInBatches(
            "order", UpdateRows({"count": 9}, lambda apps: shop.model("Order").objects.all()[:5])
        )
        with pytest.raises(UnsupportedChange, match="a slice or a union"):
            shop.do(operation)

    def test_rows_of_another_model_are_refused(self, shop: Shop) -> None:
        operation = RunInBatches(
            "order", UpdateRows({"count": 9}, lambda apps: shop.model("Customer").objects.all())
        )
        with pytest.raises(UnsupportedChange, match=r"shop\.Customer.*shop\.Order"):
            shop.do(operation)

    def test_until_none_is_left_rows_that_came_behind_the_walk_are_found(self, shop: Shop) -> None:
        # Each row that is filled brings another one to the beginning of the table, up to ten.
        shop.run(
            "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF new.id BETWEEN 90 AND 99 THEN INSERT INTO shop_order"
            "  (id, title, count, data, customer_id) VALUES (-new.id, 'late', 0, '{}', 1);"
            " END IF; RETURN NULL; END $$"
        )
        shop.run(
            "CREATE TRIGGER more AFTER UPDATE ON shop_order FOR EACH ROW EXECUTE FUNCTION more()"
        )
        change = UpdateRows({"slug": F("title")}, Q(slug=None), until_none_left=True)
        shop.do(RunInBatches("order", change))
        assert shop.value("SELECT count(*) FROM shop_order") == ROWS + 10
        assert shop.value("SELECT count(*) FROM shop_order WHERE slug IS NULL") == 0

    def test_without_a_condition_there_is_nothing_that_could_be_left(self) -> None:
        with pytest.raises(ValueError, match="until_none_left"):
            UpdateRows({"count": 1}, until_none_left=True)

    def test_without_values_there_is_nothing_to_write(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            UpdateRows({})

    def test_an_expression_that_fails_on_some_rows_names_them_and_fills_the_others(
        self, shop: Shop
    ) -> None:
        shop.run("UPDATE shop_order SET title = '0' WHERE id IN (40, 41, 77)")
        operation = RunInBatches(
            "order",
            BatchSQL(
                "UPDATE shop_order SET count = 100 / CASE WHEN title = '0' THEN 0 ELSE 1 END"
                " WHERE {batch}"
            ),
        )
        with pytest.raises(BackfillFailed, match="id = 40: division by zero") as caught:
            shop.do(operation)
        assert "id = 77" in str(caught.value)
        assert shop.value("SELECT count(*) FROM shop_order WHERE count = 100") == ROWS - 3
        shop.run("UPDATE shop_order SET title = 'mended', count = 0 WHERE title = '0'")
        shop.run("UPDATE shop_order SET count = 5 WHERE id = 1")
        shop.do(operation)
        assert shop.value("SELECT count(*) FROM shop_order WHERE count = 100") == ROWS - 1
        assert shop.value("SELECT count FROM shop_order WHERE id = 1") == 5


class TestDeletes:
    def test_rows_are_deleted_in_batches(self, shop: Shop) -> None:
        shop.do(RunInBatches("order", DeleteRows(Q(customer__active=False))))
        assert shop.value("SELECT count(*) FROM shop_order") == 50

    def test_rows_that_others_refer_to_are_named(self, shop: Shop) -> None:
        shop.run("INSERT INTO shop_customer (name, active) VALUES ('lonely', false)")
        with pytest.raises(BackfillFailed, match=r"id = 1: .*foreign key"):
            shop.do(RunInBatches("customer", DeleteRows(Q(active=False))))
        assert shop.value("SELECT count(*) FROM shop_customer WHERE name = 'lonely'") == 0
        assert shop.value("SELECT count(*) FROM shop_customer") == 10


class TestInserts:
    @pytest.fixture(autouse=True)
    def archive(self, shop: Shop) -> None:
        """A table to insert into."""
        shop.create(
            "Entry",
            {
                "id": models.BigAutoField(primary_key=True),
                "order": models.OneToOneField("shop.Order", models.CASCADE),
                "text": models.CharField(max_length=80),
                "note": models.TextField(),
                "made": models.DateTimeField(auto_now_add=True),
                "kind": models.CharField(max_length=10, default="copy"),
            },
        )

    def test_rows_are_made_from_rows_with_the_defaults_of_fields_not_named(
        self, shop: Shop
    ) -> None:
        change = InsertRows("Entry", {"order": F("pk"), "text": Lower("title")}, Q(id__lte=60))
        shop.do(RunInBatches("order", change))
        found = shop.rows("SELECT count(*), count(made), min(kind), min(note) FROM shop_entry")
        assert found == [(60, 60, "copy", "")]
        assert shop.value("SELECT text FROM shop_entry WHERE order_id = 9") == "100% title 9"

    def test_those_that_are_there_are_left_as_they_are(self, shop: Shop) -> None:
        shop.run(
            "INSERT INTO shop_entry (order_id, text, note, made, kind)"
            " VALUES (3, 'mine', '', now(), 'own')"
        )
        shop.do(RunInBatches("order", InsertRows("shop.Entry", {"order": F("pk"), "text": "x"})))
        assert shop.value("SELECT count(*) FROM shop_entry") == ROWS
        assert shop.value("SELECT text FROM shop_entry WHERE order_id = 3") == "mine"

    def test_the_way_back_may_be_of_another_kind(self, shop: Shop) -> None:
        operation = RunInBatches(
            "order",
            InsertRows("Entry", {"order": F("pk"), "text": "x"}),
            backwards=BatchSQL(
                "DELETE FROM shop_entry e USING {table} o WHERE e.order_id = o.id AND {batch:o}"
            ),
        )
        shop.do(operation)
        shop.undo(operation)
        assert shop.value("SELECT count(*) FROM shop_entry") == 0


class TestSql:
    def test_other_tables_and_aliases_are_named_as_in_any_statement(self, shop: Shop) -> None:
        sql = """
            UPDATE shop_order AS o SET slug = c.name || '%' || o.id, data = '{"batch": 1}'
            FROM shop_customer c WHERE c.id = o.customer_id AND {batch:o};
        """
        shop.do(RunInBatches("order", BatchSQL(sql)))
        assert shop.value("SELECT slug FROM shop_order WHERE id = 12") == "C3%12"

    def test_parameters_are_quoted_and_are_never_taken_for_places(self, shop: Shop) -> None:
        sql = "UPDATE shop_order SET slug = %s WHERE {batch} AND title LIKE '100%%' AND count < %s"
        shop.do(RunInBatches("order", BatchSQL(sql, ["{batch:x}'--", 5])))
        assert shop.rows("SELECT DISTINCT slug FROM shop_order") == [("{batch:x}'--",)]

    def test_a_statement_for_the_whole_table_is_refused_when_it_is_written(self) -> None:
        with pytest.raises(ValueError, match=r"Put \{batch\} into its WHERE"):
            BatchSQL("UPDATE shop_order SET slug = ''")

    def test_a_condition_proves_the_end(self, shop: Shop) -> None:
        change = BatchSQL(
            "UPDATE shop_order SET slug = 'x' WHERE {batch} AND slug IS NULL", where="slug IS NULL"
        )
        shop.do(RunInBatches("order", change))
        assert shop.value("SELECT count(*) FROM shop_order WHERE slug = 'x'") == ROWS


class TestAnewAndBack:
    def test_it_is_undone_and_done_anew(self, shop: Shop) -> None:
        operation = RunInBatches(
            "order",
            UpdateRows({"count": F("count") + 1}),
            backwards=UpdateRows({"count": F("count") - 1}),
        )
        for _ in range(2):
            shop.do(operation)
            assert shop.rows("SELECT DISTINCT count FROM shop_order") == [(1,)]
            shop.undo(operation)
            assert shop.rows("SELECT DISTINCT count FROM shop_order") == [(0,)]

    def test_it_is_done_anew_when_nothing_had_to_be_undone(self, shop: Shop) -> None:
        operation = RunInBatches("order", UpdateRows({"count": F("count") + 1}), RunInBatches.noop)
        shop.do(operation)
        shop.undo(operation)
        shop.do(operation)
        assert shop.rows("SELECT DISTINCT count FROM shop_order") == [(2,)]

    def test_without_a_way_back_it_is_irreversible(self, shop: Shop) -> None:
        operation = RunInBatches("order", UpdateRows({"count": 1}))
        assert not operation.reversible
        with pytest.raises(NotImplementedError):
            shop.undo(operation)

    def test_an_edited_operation_goes_on_where_it_was_stopped(self, shop: Shop) -> None:
        shop.run("ALTER TABLE shop_order ADD CHECK (id <> 60 OR count < 100)")
        with pytest.raises(BackfillFailed, match="id = 60"):
            shop.do(RunInBatches("order", UpdateRows({"count": F("count") + 100})))
        assert shop.value("SELECT sum(count) FROM shop_order") == 100 * (ROWS - 1)
        shop.do(RunInBatches("order", UpdateRows({"count": F("count") + 99})))
        assert shop.value("SELECT count FROM shop_order WHERE id = 60") == 99
        assert shop.value("SELECT sum(count) FROM shop_order") == 100 * (ROWS - 1) + 99


class TestShapes:
    def partitioned(self, shop: Shop, key: str = "PRIMARY KEY (id, day)") -> None:
        shop.create(
            "Visit",
            {
                "pk": models.CompositePrimaryKey("id", "day"),
                "id": models.IntegerField(),
                "day": models.IntegerField(),
                "hits": models.IntegerField(default=0),
            },
        )
        shop.run("DROP TABLE shop_visit")
        shop.run(
            f"CREATE TABLE shop_visit (id int NOT NULL, day int NOT NULL, hits int, {key})"
            " PARTITION BY LIST (day)"
        )
        for day in range(3):
            shop.run(f"CREATE TABLE shop_visit_{day} PARTITION OF shop_visit FOR VALUES IN ({day})")
        shop.run("INSERT INTO shop_visit SELECT n, n % 3, 0 FROM generate_series(1, 100) n")

    @pytest.mark.parametrize(
        "change",
        [
            UpdateRows({"hits": F("hits") + 1}),
            pytest.param(
                BatchSQL("UPDATE shop_visit SET hits = hits + 1 WHERE {batch}"),
                marks=pytest.mark.exhaustive,
            ),
            BatchSQL("UPDATE {table} v SET hits = v.hits + 1 WHERE {batch:v}"),
        ],
    )
    def test_partitions_are_walked_each_row_once(self, shop: Shop, change: Any) -> None:
        self.partitioned(shop)
        shop.do(RunInBatches("visit", change))
        assert shop.rows("SELECT DISTINCT hits FROM shop_visit") == [(1,)]

    def test_rows_move_between_partitions(self, shop: Shop) -> None:
        self.partitioned(shop)
        change = UpdateRows({"day": 2}, Q(day=1), until_none_left=True)
        shop.do(RunInBatches("visit", change))
        assert shop.rows("SELECT DISTINCT day FROM shop_visit ORDER BY 1") == [(0,), (2,)]

    def test_rows_are_found_by_a_composite_key(self, shop: Shop) -> None:
        self.partitioned(shop)
        shop.do(RunInBatches("visit", DeleteRows(Q(day=1))))
        assert shop.rows("SELECT DISTINCT day FROM shop_visit ORDER BY 1") == [(0,), (2,)]

    def test_without_a_key_a_condition_tells_which_rows_are_done(self, shop: Shop) -> None:
        shop.run("ALTER TABLE shop_order DROP CONSTRAINT shop_order_pkey CASCADE")
        with pytest.raises(UnsupportedChange, match="no primary key"):
            shop.do(RunInBatches("order", UpdateRows({"count": F("count") + 1})))
        change = UpdateRows({"count": F("count") + 1}, Q(count=0), until_none_left=True)
        shop.do(RunInBatches("order", change))
        assert shop.rows("SELECT DISTINCT count FROM shop_order") == [(1,)]

    def test_a_childs_inherited_columns_are_written_in_the_parents_table(self, shop: Shop) -> None:
        shop.create(
            "Gift",
            {
                "order_ptr": models.OneToOneField(
                    "shop.Order", models.CASCADE, parent_link=True, primary_key=True
                ),
                "paper": models.CharField(max_length=10, default=""),
            },
            bases=("shop.order",),
        )
        shop.run("INSERT INTO shop_gift SELECT id, 'red' FROM shop_order WHERE id > 50")
        shop.do(RunInBatches("gift", UpdateRows({"count": 4}, Q(paper="red", order_ptr__gt=60))))
        assert shop.value("SELECT count(*) FROM shop_order WHERE count = 4") == 40
        assert shop.value("SELECT min(id) FROM shop_order WHERE count = 4") == 61
        shop.do(RunInBatches("gift", UpdateRows({"paper": "blue"}, Q(count=4))))
        assert shop.value("SELECT count(*) FROM shop_gift WHERE paper = 'blue'") == 40
        with pytest.raises(UnsupportedChange, match="Write one RunInBatches for each"):
            shop.do(RunInBatches("gift", UpdateRows({"paper": "", "count": 1})))

    def test_a_table_of_another_schema(self, shop: Shop) -> None:
        fields = {"id": models.IntegerField(primary_key=True), "n": models.IntegerField(default=0)}
        shop.create("Far", fields, options={"db_table": 'crm"."far'})
        shop.run("INSERT INTO crm.far SELECT n, 0 FROM generate_series(1, 40) n")
        shop.do(RunInBatches("far", UpdateRows({"n": F("n") + F("id")}, Q(id__gt=20))))
        assert shop.value("SELECT count(*) FROM crm.far WHERE n = id") == 20
        shop.do(RunInBatches("far", BatchSQL("UPDATE crm.far SET n = 0 WHERE {batch}")))
        assert shop.value("SELECT max(n) FROM crm.far") == 0


class TestCosts:
    def test_an_empty_table_is_one_look(self, shop: Shop) -> None:
        shop.run("TRUNCATE shop_order CASCADE")
        shop.do(RunInBatches("order", UpdateRows({"count": 1})))
        assert not BackfillProgress.objects.exists()

    def test_a_table_with_rows_is_refused_in_a_transaction(self, shop: Shop) -> None:
        operation = RunInBatches("order", UpdateRows({"count": 1}))
        with pytest.raises(UnsupportedChange, match="atomic = False"):
            shop.do(operation, atomic=True)
        shop.run("TRUNCATE shop_order CASCADE")
        shop.do(operation, atomic=True)


class TestWhatIsSaid:
    def test_what_is_no_change_is_refused_when_it_is_written(self) -> None:
        def forwards(apps: Any, schema_editor: Any) -> None: ...

        with pytest.raises(TypeError, match=r"@row_function\(writes"):
            RunInBatches("order", forwards)
        with pytest.raises(TypeError, match="takes UpdateRows"):
            RunInBatches("order", "UPDATE shop_order SET count = 1")
        with pytest.raises(TypeError, match="writes="):
            row_function(writes="slug")

    def test_sqlmigrate_prints_the_statement_and_changes_nothing(self, shop: Shop) -> None:
        operation = RunInBatches(
            "order", UpdateRows({"count": 1}, Q(slug=None)), DeleteRows(Q(count=1))
        )
        remark, sql = shop.printed(operation)
        assert remark == "-- In batches by key, each in its own transaction:"
        assert sql.replace('"dsm_row"', "dsm_row") == (
            'UPDATE "shop_order" AS dsm_row SET "count" = 1 WHERE (dsm_row."slug" IS NULL) AND '
            "true /* of one batch */;"
        )
        assert "DELETE FROM" in shop.printed(operation, backwards=True)[1]
        assert shop.value("SELECT max(count) FROM shop_order") == 0


class TestUnderTraffic:
    def test_what_is_written_meanwhile_again_and_again_is_left_and_told(self, shop: Shop) -> None:
        # Old code inserts an order without a slug whenever a batch has run.
        shop.run(
            "CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO shop_order (id, title, count, data, customer_id)"
            " SELECT min(id) - 1, 'late', 0, '{}', 1 FROM shop_order; RETURN NULL; END $$"
        )
        shop.run(
            "CREATE TRIGGER more AFTER UPDATE ON shop_order FOR EACH STATEMENT"
            " EXECUTE FUNCTION more()"
        )
        change = UpdateRows({"slug": F("title")}, Q(slug=None), until_none_left=True)
        lines: list[str] = []
        with reporting_to(lines.append):
            shop.do(RunInBatches("order", change))
        assert shop.value("SELECT count(*) FROM shop_order WHERE slug IS NULL AND id > 0") == 0
        assert "written meanwhile meet the condition again" in lines[-1]

    def test_a_trigger_that_undoes_it_is_an_error(self, shop: Shop) -> None:
        shop.run(
            "CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN new.slug := NULL; RETURN new; END $$"
        )
        shop.run(
            "CREATE TRIGGER undo BEFORE UPDATE ON shop_order FOR EACH ROW EXECUTE FUNCTION undo()"
        )
        change = UpdateRows({"slug": "x"}, Q(slug=None), until_none_left=True)
        with pytest.raises(DataDiffers, match=r"100 rows of public\.shop_order still need it"):
            shop.do(RunInBatches("order", change))
