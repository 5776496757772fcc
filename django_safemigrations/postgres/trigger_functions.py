"""PL/pgSQL functions of a table's triggers, which keep the type of a column that they have compiled.

In a session that ran one before the column's type changed, any use of the column in it fails with
"type of parameter … does not match that when preparing the plan", until the session ends.
https://www.postgresql.org/docs/current/plpgsql-implementation.html#PLPGSQL-PLAN-CACHING
"""

from __future__ import annotations

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table
from django_safemigrations.postgres.runner import Runner


def _functions(catalog: Catalog, table: Table) -> list[tuple[str, str, bool]]:
    """Return signature and cost of each, and whether the current role may alter it."""
    rows = catalog.rows(
        """
        SELECT DISTINCT format('%%I.%%I()', n.nspname, p.proname), p.procost::text,
               pg_has_role(p.proowner, 'USAGE')
        FROM pg_trigger g
        JOIN pg_proc p ON p.oid = g.tgfoid
        JOIN pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_language l ON l.oid = p.prolang
        WHERE g.tgrelid = %s AND NOT g.tgisinternal AND l.lanname = 'plpgsql'
        ORDER BY 1
        """,
        [table.oid],
    )
    return [(signature, cost, bool(ours)) for signature, cost, ours in rows]


def refuse_strange_functions(catalog: Catalog, table: Table, way_out: str) -> None:
    """Raise if a trigger calls a function that the current role can't let sessions compile anew.

    Args:
        catalog: reads the catalog.
        table: the table of which a column changes its type.
        way_out: what else there is to do, for the message.

    Raises:
        UnsupportedChange: names the function.
    """
    for function, _, ours in _functions(catalog, table):
        if not ours:
            raise UnsupportedChange(
                f"A trigger on {table.qualified} calls {function}, which belongs to another role: "
                "only its owner can make open sessions compile it anew, and with the old type "
                "compiled it would fail in them. Let a member of that role migrate, or give it the "
                f"function. {way_out}"
            )


def compile_anew(runner: Runner, table: Table) -> None:
    """Let open sessions compile the functions of a table's triggers again; changes nothing else.

    Locks: none that blocks reads or writes of tables.
    """
    for function, cost, _ in _functions(runner.catalog, table):
        runner.execute(f"ALTER FUNCTION {function} COST {cost}")
