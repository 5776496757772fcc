"""A chain that was squashed makes the schema of plain Django on a fresh database, and can go back."""

from __future__ import annotations

import importlib
import io

import pytest
from django.core.management import call_command
from django.db import connection

from tests.invariants.cases import CASES, parameters
from tests.kit import chain as chains
from tests.kit.case import LABEL, Case
from tests.kit.prepared import Prepared, content, fresh_copy, plain_on_a_fresh_database
from tests.kit.schema import diff

pytestmark = pytest.mark.usefixtures("case_app", "templates")


def squash(chain: chains.Chain) -> str:
    """Squash a chain from its first file to its last, as the command does; return the new name."""
    before = {path.name for path in chain.path.iterdir()}
    with chain.installed():
        call_command(
            "squashmigrations",
            LABEL,
            [*chain.initial, *chain.change][-1],
            interactive=False,
            verbosity=0,
            stdout=io.StringIO(),
            no_color=True,
        )
    importlib.invalidate_caches()
    [made] = {path.name for path in chain.path.glob("*.py")} - before
    return made.removesuffix(".py")


def test_a_squashed_chain_gives_a_fresh_database_the_schema_of_plain_django(
    prepared: Prepared,
) -> None:
    chain = chains.make_chain(prepared.case)
    name = squash(chain)
    source = (chain.path / f"{name}.py").read_text()
    with fresh_copy():
        empty = content(prepared.case).schema
        with chain.installed():
            call_command("migrate", LABEL, verbosity=0, interactive=False)
            lines = diff(content(prepared.case).schema, plain_on_a_fresh_database(prepared))
            assert lines == [], source
            assert name in _applied()
            assert chain.detect("new", chains.installed_autodetector()) == {}, source
            call_command("migrate", LABEL, "zero", verbosity=0, interactive=False)
        lines = diff(content(prepared.case).schema, empty)
        assert lines == [], "\n".join([*lines, source])


@pytest.mark.parametrize(
    "case", parameters([c for c in CASES if c.name == "index: one column"], lambda case: True)
)
def test_a_database_that_has_run_the_chain_takes_its_squash_as_applied(case: Case) -> None:
    chain = chains.make_chain(case)
    with fresh_copy():
        with chain.installed():
            call_command("migrate", LABEL, verbosity=0, interactive=False)
            before = content(case)
        name = squash(chain)
        with chain.installed():
            call_command("migrate", LABEL, verbosity=0, interactive=False)
        assert name in _applied()
        assert content(case).differences(before) == []


def _applied() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM django_migrations WHERE app = %s", [LABEL])
        return {row[0] for row in cursor.fetchall()}
