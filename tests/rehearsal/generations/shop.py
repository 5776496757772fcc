"""A shop with names that have to be quoted, and plans for it that are written by hand."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector

from tests.kit import chain as chains
from tests.kit.case import Case, define
from tests.kit.databases import create_database, drop_database, scratch_database, use_database
from tests.kit.prepared import base_template
from tests.kit.seed import seed


def shop() -> None:
    """What is sold to whom; tables and columns have names that have to be quoted."""
    customer = define(
        "Customer",
        meta={"db_table": '"Mixed Schema"."A Customer\'s"'},
        name=models.CharField(max_length=40),
        born=models.DateField(null=True),
    )
    tag = define("Tag", word=models.CharField(max_length=20))
    define(
        "Order",
        meta={"db_table": "The Order's"},
        customer=models.ForeignKey(customer, models.CASCADE),
        number=models.IntegerField(db_column="Num ber"),
        code=models.CharField(max_length=20, unique=True),
        total=models.DecimalField(max_digits=10, decimal_places=2),
        note=models.TextField(null=True, blank=True),
        state=models.CharField(max_length=10, default="new", choices=[("new", "n"), ("paid", "p")]),
        account=models.IntegerField(default=0),
        tags=models.ManyToManyField(tag, db_table="order tags"),
    )


SHOP = Case("a shop with hostile names", shop, shop, values={"state": lambda n: "new"})

HEAD = """
from django.db import migrations, models
from django_safemigrations.operations import Contract, Expand

class Migration(migrations.Migration):
    dependencies = [("caseapp", "0001_initial")]
    operations = [
"""


@contextmanager
def shop_database() -> Iterator[str]:
    """Make a database with the shop in it, to be copied by tests."""
    name = create_database(base_template(), prefix="kit_mistakes")
    with use_database(name):
        chain = chains.empty_chain(SHOP)
        with chain.installed():
            chain.initial = chain.write("old", MigrationAutodetector)
            chains.migrate(chain, chain.initial[-1])
        seed(SHOP)
    try:
        yield name
    finally:
        drop_database(name)


@contextmanager
def plan(template: str, operations: str) -> Iterator[chains.Chain]:
    """Write a plan by hand, and use a database from before it."""
    chain = chains.empty_chain(SHOP)
    with chain.installed():
        chain.initial = chain.write("old", MigrationAutodetector)
    (chain.path / "0002_change.py").write_text(f"{HEAD}{operations}\n]\n")
    importlib.invalidate_caches()
    chain.change = ["0002_change"]
    with scratch_database(template):
        yield chain


def sql(*statements: str) -> str:
    """Return the text of operations that run SQL."""
    return "".join(f"migrations.RunSQL({statement!r}),\n" for statement in statements)


def separate(state: str, database: str = "") -> str:
    """Return the text of an operation whose database part is another one."""
    return (
        f"migrations.SeparateDatabaseAndState(state_operations=[{state}],"
        f" database_operations=[{database}]),"
    )
