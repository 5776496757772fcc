"""Row functions: what Python computes is written, and never over data that is newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Q
from django.db.models.functions import Lower
from psycopg.errors import LockNotAvailable

from django_safemigrations.backfill import rows, walk
from django_safemigrations.exceptions import BackfillFailed, UnsupportedChange
from django_safemigrations.operations import RunInBatches, UpdateRows, row_function
from tests.backfill.shop import Shop
from tests.kit.databases import connect

pytestmark = pytest.mark.postgres_versions

ROWS = 60


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty rows are many."""
    monkeypatch.setattr(walk, "FIRST_BATCH", 16)
    monkeypatch.setattr(walk, "SMALLEST_BATCH", 2)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 16)
    monkeypatch.setattr(rows, "ROWS_A_STATEMENT", 7)


@pytest.fixture
def shop(database: BaseDatabaseWrapper) -> Shop:
    """Sixty products of a few makers."""
    shop = Shop(database)
    shop.create(
        "Maker",
        {"id": models.AutoField(primary_key=True), "name": models.CharField(max_length=20)},
    )
    shop.create(
        "Product",
        {
            "id": models.BigAutoField(primary_key=True),
            "title": models.CharField(max_length=50),
            "slug": models.CharField(max_length=60, null=True),
            "words": models.JSONField(default=list),
            "price": models.DecimalField(max_digits=8, decimal_places=2, null=True),
            "maker": models.ForeignKey("shop.Maker", models.CASCADE, null=True),
        },
    )
    shop.run("INSERT INTO shop_maker (name) VALUES ('Ada'), ('Bob')")
    shop.run(
        "INSERT INTO shop_product (title, words, maker_id)"
        " SELECT 'Thing ' || n, '[]', 1 + n % 2 FROM generate_series(1, 60) n"
    )
    return shop


def slugs(**more: Any) -> Callable[..., Any]:
    @row_function(writes=["slug"], **more)
    def slug(product: Any) -> dict[str, Any]:
        return {"slug": product.title.lower().replace(" ", "-")}

    return slug


def test_a_function_of_a_row_fills_every_row(shop: Shop) -> None:
    shop.do(RunInBatches("product", slugs()))
    wrong = "SELECT count(*) FROM shop_product WHERE slug IS DISTINCT FROM 'thing-' || id"
    assert shop.value(wrong) == 0


def test_it_works_where_the_server_binds_parameters(shop: Shop) -> None:
    shop.connection.close()
    options = dict(shop.connection.settings_dict["OPTIONS"])
    shop.connection.settings_dict["OPTIONS"] = {**options, "server_side_binding": True}
    try:
        shop.do(RunInBatches("product", slugs()))
        change = UpdateRows({"price": 3, "slug": Lower(F("title"))}, Q(maker__name="Bob"))
        shop.do(RunInBatches("product", change))
        found = shop.rows("SELECT slug LIKE 'thing-%', price FROM shop_product GROUP BY 1, 2")
        assert sorted(found, key=str) == [(False, 3), (True, None)]
    finally:
        shop.connection.close()
        shop.connection.settings_dict["OPTIONS"] = options


class TestWhatItReturns:
    def test_the_row_itself_with_what_was_set(self, shop: Shop) -> None:
        @row_function(writes=["words", "price"])
        def words(product: Any) -> Any:
            product.words.append(product.title.split())
            product.price = "1.50"
            return product

        shop.do(RunInBatches("product", words))
        found = shop.rows("SELECT words::text, price::text FROM shop_product WHERE id = 3")
        assert found == [('[["Thing", "3"]]', "1.50")]

    def test_none_leaves_the_row_and_delete_deletes_it(self, shop: Shop) -> None:
        @row_function(writes=["slug"])
        def some(product: Any) -> Any:
            if product.id % 3 == 0:
                return RunInBatches.DELETE
            return {"slug": "one"} if product.id % 3 == 1 else None

        shop.do(RunInBatches("product", some))
        found = shop.rows(
            "SELECT id % 3, slug, count(*) FROM shop_product GROUP BY 1, 2 ORDER BY 1"
        )
        assert found == [(1, "one", 20), (2, None, 20)]

    def test_related_rows_are_read_along_and_may_be_given(self, shop: Shop) -> None:
        @row_function(writes=["slug", "maker"], related=["maker"])
        def by_maker(product: Any) -> dict[str, Any]:
            other = type(product.maker)(pk=3 - product.maker.pk)
            return {"slug": product.maker.name, "maker": other}

        shop.do(RunInBatches("product", by_maker))
        found = shop.rows("SELECT DISTINCT slug, maker_id FROM shop_product ORDER BY 1")
        assert found == [("Ada", 2), ("Bob", 1)]

    def test_only_some_fields_are_read_where_these_are_enough(self, shop: Shop) -> None:
        seen: list[set[str]] = []

        @row_function(writes=["slug"], reads=["title"], where=Q(id__lte=5))
        def slug(product: Any) -> dict[str, Any]:
            seen.append(set(product.get_deferred_fields()))
            return {"slug": product.title}

        shop.do(RunInBatches("product", slug))
        assert seen[0] >= {"words", "price"}
        assert shop.value("SELECT count(slug) FROM shop_product") == 5

    @pytest.mark.parametrize(
        ("returned", "said"),
        [
            ("x", "returned str"),
            ({"price": 1}, r"add it to writes"),
            ({"slug": models.F("title")}, "is an expression"),
        ],
    )
    def test_anything_else_is_the_rows_error(self, shop: Shop, returned: Any, said: str) -> None:
        @row_function(writes=["slug"], where=Q(id=1))
        def wrong(product: Any) -> Any:
            return returned

        with pytest.raises(BackfillFailed, match=said):
            shop.do(RunInBatches("product", wrong))

    def test_a_row_that_is_changed_and_not_returned_is_an_error(self, shop: Shop) -> None:
        @row_function(writes=["slug"], where=Q(id=1))
        def forgetful(product: Any) -> None:
            product.slug = "x"

        with pytest.raises(BackfillFailed, match="return the row"):
            shop.do(RunInBatches("product", forgetful))


class TestFailures:
    def test_a_row_for_which_it_raises_is_named_and_all_others_are_written(
        self, shop: Shop
    ) -> None:
        bad = {11, 12, 50}
        asked: list[int] = []

        @row_function(writes=["slug"])
        def slug(product: Any) -> dict[str, Any]:
            asked.append(product.id)
            if product.id in bad:
                raise ValueError(f"no slug for {product.title}")
            return {"slug": product.title}

        operation = RunInBatches("product", slug)
        with pytest.raises(BackfillFailed) as caught:
            shop.do(operation)
        for part in ("3 rows of public.shop_product", "id = 11: ValueError: no slug for Thing 11"):
            assert part in str(caught.value)
        assert shop.value("SELECT count(slug) FROM shop_product") == ROWS - 3
        bad.discard(11)
        asked.clear()
        with pytest.raises(BackfillFailed, match="2 rows"):
            shop.do(operation)
        assert sorted(set(asked)) == [11, 12, 50]
        bad.clear()
        shop.do(operation)
        assert shop.value("SELECT count(slug) FROM shop_product") == ROWS

    def test_a_value_that_the_database_refuses_is_the_rows_error(self, shop: Shop) -> None:
        @row_function(writes=["slug"])
        def slug(product: Any) -> dict[str, Any]:
            return {"slug": "x" * (61 if product.id == 33 else 60)}

        with pytest.raises(BackfillFailed, match="id = 33: value too long"):
            shop.do(RunInBatches("product", slug))
        assert shop.value("SELECT count(slug) FROM shop_product") == ROWS - 1

    def test_a_function_that_always_raises_is_stopped(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "MOST_FAILED", 20)
        asked: list[int] = []

        @row_function(writes=["slug"])
        def slug(product: Any) -> dict[str, Any]:
            asked.append(product.id)
            raise KeyError("colour")

        with pytest.raises(BackfillFailed, match=r"more than 20 rows.*KeyError: 'colour'"):
            shop.do(RunInBatches("product", slug))
        assert len(asked) < ROWS


class TestNewerData:
    def test_a_row_that_is_changed_meanwhile_is_read_and_computed_again(self, shop: Shop) -> None:
        with connect(autocommit=True) as application:
            changed: list[int] = []

            @row_function(writes=["slug"])
            def slug(product: Any) -> dict[str, Any]:
                if product.id == 20 and 20 not in changed:
                    application.execute("UPDATE shop_product SET title = 'Newer' WHERE id = 20")
                changed.append(product.id)
                return {"slug": product.title}

            shop.do(RunInBatches("product", slug))
        assert changed.count(20) == 2
        assert shop.value("SELECT slug FROM shop_product WHERE id = 20") == "Newer"

    def test_what_the_application_writes_to_the_same_field_is_not_written_over(
        self, shop: Shop
    ) -> None:
        with connect(autocommit=True) as application:

            @row_function(writes=["slug"])
            def slug(product: Any) -> dict[str, Any] | None:
                if product.slug is not None:
                    return None
                application.execute(
                    "UPDATE shop_product SET slug = 'mine' WHERE id = %s AND slug IS NULL",
                    [product.id],
                )
                return {"slug": "theirs"}

            shop.do(RunInBatches("product", slug))
        assert shop.rows("SELECT DISTINCT slug FROM shop_product") == [("mine",)]

    def test_a_row_that_never_rests_is_locked_in_the_end(self, shop: Shop) -> None:
        tried: list[bool] = []
        with connect(autocommit=True) as application:
            application.execute("SET lock_timeout = '20ms'")

            @row_function(writes=["slug"], where=Q(id=5))
            def slug(product: Any) -> dict[str, Any]:
                try:
                    application.execute("UPDATE shop_product SET price = 1 WHERE id = 5")
                except LockNotAvailable:
                    tried.append(False)
                else:
                    tried.append(True)
                return {"slug": "done"}

            shop.do(RunInBatches("product", slug))
        assert tried == [True] * rows.OPTIMISTIC_ROUNDS + [False]
        assert shop.value("SELECT slug FROM shop_product WHERE id = 5") == "done"

    def test_a_row_that_is_deleted_meanwhile_is_left_alone(self, shop: Shop) -> None:
        with connect(autocommit=True) as application:

            @row_function(writes=["slug"])
            def slug(product: Any) -> dict[str, Any]:
                if product.id == 9:
                    application.execute("DELETE FROM shop_product WHERE id = 9")
                return {"slug": "x"}

            shop.do(RunInBatches("product", slug))
        assert shop.value("SELECT count(*) FROM shop_product WHERE slug = 'x'") == ROWS - 1


class TestShapes:
    def test_inherited_fields_are_written_in_the_parents_table(self, shop: Shop) -> None:
        shop.create(
            "Book",
            {
                "product_ptr": models.OneToOneField(
                    "shop.Product", models.CASCADE, parent_link=True, primary_key=True
                ),
                "pages": models.IntegerField(default=0),
            },
            bases=("shop.product",),
        )
        shop.run("INSERT INTO shop_book SELECT id, 0 FROM shop_product WHERE id > 40")

        @row_function(writes=["slug", "pages"])
        def both(book: Any) -> dict[str, Any]:
            return {"slug": f"book {book.title}", "pages": book.pk}

        shop.do(RunInBatches("book", both))
        assert shop.value("SELECT count(*) FROM shop_product WHERE slug = 'book ' || title") == 20
        assert shop.value("SELECT count(*) FROM shop_book WHERE pages = product_ptr_id") == 20

    def test_partitions_composite_keys_and_types_without_equality(self, shop: Shop) -> None:
        shop.create(
            "Visit",
            {
                "pk": models.CompositePrimaryKey("day", "code"),
                "day": models.DateField(),
                "code": models.UUIDField(),
                "note": models.TextField(null=True),
            },
        )
        shop.run("DROP TABLE shop_visit")
        shop.run(
            "CREATE TABLE shop_visit (day date NOT NULL, code uuid NOT NULL, note text, raw json,"
            " place point, PRIMARY KEY (day, code)) PARTITION BY RANGE (day)"
        )
        for year in (2024, 2025):
            shop.run(
                f"CREATE TABLE shop_visit_{year} PARTITION OF shop_visit FOR VALUES"
                f" FROM ('{year}-01-01') TO ('{year + 1}-01-01')"
            )
        shop.run(
            "INSERT INTO shop_visit SELECT date '2024-12-01' + n, gen_random_uuid(), NULL, '{}',"
            " point(1, 2) FROM generate_series(1, 60) n"
        )

        @row_function(writes=["note"])
        def note(visit: Any) -> dict[str, Any]:
            return {"note": f"{visit.day} {visit.code}"}

        shop.do(RunInBatches("visit", note))
        assert shop.value("SELECT count(*) FROM shop_visit WHERE note = day || ' ' || code") == 60

    def test_without_a_key_a_condition_tells_which_rows_are_done(self, shop: Shop) -> None:
        shop.run("ALTER TABLE shop_product DROP CONSTRAINT shop_product_pkey CASCADE")
        with pytest.raises(UnsupportedChange, match="no primary key"):
            shop.do(RunInBatches("product", slugs()))
        shop.do(RunInBatches("product", slugs(where=Q(slug=None), until_none_left=True)))
        assert shop.value("SELECT count(*) FROM shop_product WHERE slug = 'thing-' || id") == ROWS
