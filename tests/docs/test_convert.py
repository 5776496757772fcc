"""The page on data migrations: its files are linted, run under traffic, and killed in the middle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils.text import slugify

from django_safemigrations.backfill import walk
from django_safemigrations.lint import lint_migrations
from tests.command.conftest import database_in_use, project
from tests.command.project import Project
from tests.command.test_run_in_batches import run_quietly
from tests.docs.markdown import DOCS, Block, blocks
from tests.kit.databases import connect
from tests.kit.kill import run_killed, wait_until

__all__ = ["database_in_use", "project"]

PAGE = DOCS / "how-to" / "convert-a-data-migration.md"
ROWS = 300
MODELS = """
migrations.CreateModel("Maker", [
    ("id", models.BigAutoField(primary_key=True)),
    ("name", models.CharField(max_length=20)),
]),
migrations.CreateModel("Product", [
    ("id", models.BigAutoField(primary_key=True)),
    ("title", models.CharField(max_length=50)),
    ("price", models.IntegerField(default=1)),
    ("maker", models.ForeignKey("store.Maker", models.CASCADE)),
]),
"""


def page_file(which: str) -> str:
    """Return one of the page's files, for the app that the tests have."""
    found: list[Block] = [block for block in blocks(PAGE) if which in block.attributes]
    return found[0].text.replace('"shop"', '"store"')


@pytest.fixture
def products(project: Project) -> Project:
    """A project with products, of which none has a slug."""
    project.write("store", "0001_initial", MODELS, after="")
    project.execute("DROP TABLE store_item, store_box")
    project.execute("DELETE FROM django_migrations WHERE app = 'store'")
    project.begin()
    project.write(
        "store",
        "0002_product_slug",
        'migrations.AddField("product", "slug", models.CharField(max_length=80, null=True)),',
    )
    project.begin()
    assert project.run().code == 0
    project.execute("INSERT INTO store_maker (name) VALUES ('Ada & Co'), ('Bob')")
    project.execute(
        "INSERT INTO store_product (title, price, maker_id) SELECT 'Big Thing ' || n, 1, 1 + n % 2"
        f" FROM generate_series(1, {ROWS}) n"
    )
    return project


def codes() -> list[str]:
    found = lint_migrations(MigrationLoader(None), [("store", "0003_slugs")])
    return [finding.code for finding in found]


@contextmanager
def traffic() -> Iterator[list[int]]:
    """Change titles, and slugs by hand, from another session until the block ends."""
    stop, failed, changed = threading.Event(), list[Exception](), list[int]()

    def work(session: psycopg.Connection[object]) -> None:
        number = 0
        try:
            while not stop.is_set():
                number = number % ROWS + 1
                if number % 10 == 0:
                    session.execute(
                        "UPDATE store_product SET slug = 'by-hand' WHERE id = %s", [number]
                    )
                else:
                    session.execute(
                        "UPDATE store_product SET price = price + 1 WHERE id = %s", [number]
                    )
                changed.append(number)
        except psycopg.Error as error:
            failed.append(error)

    with connect(autocommit=True) as session:
        thread = threading.Thread(target=work, args=[session])
        thread.start()
        try:
            yield changed
        finally:
            stop.set()
            thread.join()
    assert failed == []


def test_before_it_is_reported_and_after_it_nothing_is(products: Project) -> None:
    products.put("store", "0003_slugs", page_file("before"))
    assert "DSM402" in codes()
    products.put("store", "0003_slugs", page_file("after"))
    assert codes() == []


def test_the_old_file_does_what_the_new_one_does(products: Project) -> None:
    products.put("store", "0003_slugs", page_file("before"))
    assert products.plainly("store").code == 0
    assert_filled(products)


def test_it_is_killed_and_goes_on_under_traffic(
    products: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "FIRST_BATCH", 20)
    monkeypatch.setattr(walk, "LARGEST_BATCH", 20)
    products.put("store", "0003_slugs", page_file("after"))
    with traffic() as changed:
        # The kill waits until no other session is in the database.
        wait_until(lambda: len(changed) > 2 * ROWS, lambda: f"{len(changed)} writes")
    connection.close()
    killed = run_killed(run_quietly, 25)
    assert not killed.finished
    done = products.value("SELECT count(slug) FROM store_product WHERE slug <> 'by-hand'")
    assert 0 < done < ROWS * 0.9
    with traffic():
        result = products.safely()
    assert result.code == 0, result.said
    assert_filled(products)
    assert products.value("SELECT count(*) FROM store_product WHERE price < 2") == ROWS / 10


def assert_filled(products: Project) -> None:
    rows = products.rows_of(
        "SELECT p.slug, m.name, p.title FROM store_product p JOIN store_maker m ON m.id = maker_id"
        " WHERE p.slug IS DISTINCT FROM 'by-hand'"
    )
    assert rows
    for slug, maker, title in rows:
        assert slug == slugify(f"{maker} {title}")
