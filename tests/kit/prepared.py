"""A case made ready: its two chains, a database with the old schema, and what plain Django gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration

from django_safemigrations.exceptions import ViolatingRows
from django_safemigrations.phases import Phase, migration_phase
from tests.kit import chain as chains
from tests.kit import schema
from tests.kit.case import Case
from tests.kit.databases import create_database, drop_database, scratch_database, use_database
from tests.kit.seed import seed

SCHEMAS = ("crm", "Mixed Schema")
"""Schemas besides public that cases may put tables into."""


@dataclass(frozen=True)
class Content:
    """What a database holds, as far as it is compared."""

    schema: schema.Fingerprint
    rows: dict[str, str]

    def differences(self, wanted: Content) -> list[str]:
        """Return one line for each object and row that is not as wanted."""
        return schema.diff(self.schema, wanted.schema) + schema.diff(self.rows, wanted.rows)


@dataclass
class Prepared:
    """A case with everything its tests start from.

    Attributes:
        case: the change.
        chain: the migrations that the installed autodetector writes.
        plain: those that plain Django writes.
        template: name of a database with the old schema and rows; never changed.
        before: what the template holds.
        after: what plain Django makes of it.
        back: the schema before, with the rows that plain Django's way back leaves: what was
            filled stays filled.
    """

    case: Case
    chain: chains.Chain
    plain: chains.Chain
    template: str
    before: Content
    after: Content
    back: Content
    migrations: list[Migration] = field(default_factory=list)

    @contextmanager
    def database(self) -> Iterator[BaseDatabaseWrapper]:
        """Use a new copy of the old database as `default`."""
        with scratch_database(self.template) as found:
            yield found

    def content(self) -> Content:
        """Return what the `default` database holds now."""
        return content(self.case)

    @property
    def expands(self) -> list[str]:
        """The names of the migrations that run while old code serves, in order."""
        return [m.name for m in self.migrations if migration_phase(m) is Phase.EXPAND]

    @property
    def contracts(self) -> list[str]:
        """The names of the migrations that wait until old code is gone, in order."""
        return [m.name for m in self.migrations if migration_phase(m) is Phase.CONTRACT]

    def run(self) -> None:
        """Migrate `default` to the end of the chain."""
        chains.migrate(self.chain, (self.chain.initial + self.chain.change)[-1])

    def expand(self) -> None:
        """Migrate `default` to the last expand, if there is one."""
        if self.expands:
            chains.migrate(self.chain, self.expands[-1])

    def reverse(self) -> None:
        """Migrate `default` back to the old schema, with the operator's help if there is one."""
        try:
            chains.migrate(self.chain, self.chain.initial[-1])
        except ViolatingRows:
            if not self.case.repair:
                raise
            repair(self.case)
            chains.migrate(self.chain, self.chain.initial[-1])

    def explain(self, lines: list[str]) -> str:
        """Return a message for a failed comparison, with the migrations it is about."""
        return "\n".join([f"{self.case}:", *lines, "", self.chain.source()])


def repair(case: Case) -> None:
    """Do on `default` what the case's operator does when the way back refuses to go on."""
    with connection.cursor() as cursor:
        for statement in case.repair:
            cursor.execute(statement)


def content(case: Case) -> Content:
    """Return what the `default` database holds now, without what no two runs share."""
    return Content(schema.fingerprint(connection), schema.rows(connection, case.not_repeatable))


@cache
def base_template() -> str:
    """Make the database that every case starts from: extra schemas and this app's ledger."""
    name = create_database(prefix="kit_base")
    with use_database(name):
        create_schemas()
        call_command("migrate", "django_safemigrations", verbosity=0, interactive=False)
    return name


def create_schemas() -> None:
    """Create the schemas that cases put tables into, on `default`."""
    with connection.cursor() as cursor:
        for name in SCHEMAS:
            cursor.execute(f'CREATE SCHEMA "{name}"')


@contextmanager
def prepare(case: Case, *, plain_ends: bool = True) -> Iterator[Prepared]:
    """Write a case's chains and make its databases; they are dropped at the end.

    Args:
        case: the case.
        plain_ends: whether plain Django gets to the end with the case's rows.
    """
    chain, plain = chains.make_chain(case), chains.make_plain_chain(case)
    template = create_database(base_template(), prefix="kit_case")
    try:
        with use_database(template):
            chains.migrate(chain, chain.initial[-1])
            seed(case)
            with connection.cursor() as cursor:
                for statement in case.after_creation:
                    cursor.execute(statement)
            before = content(case)
        after = back = before
        if plain_ends:
            with scratch_database(template):
                migrate_plainly(plain, (plain.initial + plain.change)[-1])
                after = content(case)
                if not case.repair:
                    migrate_plainly(plain, plain.initial[-1])
                    back = Content(before.schema, content(case).rows)
            if case.repair:
                with scratch_database(template):
                    repair(case)
                    back = content(case)
        migrations = [chain.migration(name) for name in chain.change]
        yield Prepared(case, chain, plain, template, before, after, back, migrations)
    finally:
        drop_database(template)


def migrate_plainly(plain: chains.Chain, name: str) -> None:
    """Migrate `default` by a plain chain, with the help that Django needs in other schemas."""
    # Django's DROP INDEX IF EXISTS names no schema, and it looks for the constraints of a table
    # by a name that is none: without this it would silently drop nothing, and be no yardstick.
    path = ", ".join(f'"{name}"' for name in ("public", *SCHEMAS))
    introspection: Any = connection.introspection
    original = introspection.get_constraints

    def get_constraints(cursor: Any, table_name: str) -> Any:
        return original(cursor, table_name.rpartition('"."')[2].strip('"'))

    introspection.get_constraints = get_constraints
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {path}")
            chains.migrate(plain, name)
            cursor.execute("RESET search_path")
    finally:
        introspection.get_constraints = original


@cache
def fresh_template() -> str:
    """Make a database that no migration was ever applied to."""
    name = create_database(prefix="kit_fresh")
    with use_database(name):
        create_schemas()
    return name


@contextmanager
def fresh_copy() -> Iterator[BaseDatabaseWrapper]:
    """Use a new database as `default` that no migration was ever applied to."""
    with scratch_database(fresh_template()) as found:
        yield found


def drop_base_templates() -> None:
    """Drop the databases that every case started from."""
    for make in (base_template, fresh_template):
        if make.cache_info().currsize:
            drop_database(make())
            make.cache_clear()


def plain_on_a_fresh_database(prepared: Prepared) -> dict[str, str]:
    """Return the schema that plain Django gives a fresh database, where no DBA has been."""
    case = prepared.case
    tables = [model._meta.db_table for model in case.models("old")]
    if not case.after_creation and not any('"' in table for table in tables):
        return prepared.after.schema
    with fresh_copy():
        migrate_plainly(prepared.plain, (prepared.plain.initial + prepared.plain.change)[-1])
        return content(case).schema
