"""Judges statements that change or lock rows."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.expressions import compared, has_few_rows
from django_safemigrations.lint.sql.names import relation
from django_safemigrations.lint.sql.run import Run
from django_safemigrations.lint.sql.tables import SMALL, Table
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

WRITING = ("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt")


def change_rows(node: Node, run: Run) -> Iterator[Observation]:
    """Judge INSERT, UPDATE, DELETE and MERGE, and those in their WITH clauses."""
    yield from _with(node, run)
    table = run.used(relation(node.child("relation")))
    if table is None or run.batched or table.name in SMALL:
        return
    verb = node.kind.removesuffix("Stmt").upper()
    if verb == "INSERT":
        select = node.child("select_stmt")
        if select is None or not reads_tables(select, run) or _narrowed(select, run):
            return
        yield _unbatched(
            f"INSERT INTO {table.name} … SELECT copies every row that the query finds in one "
            "statement",
            "it holds its snapshot, and what it inserted can't be seen or cleaned up, until its "
            "transaction ends; a conflicting INSERT waits for it",
            table,
            run,
        )
    elif verb == "MERGE" or not _is_narrow(node.child("where_clause"), table, run):
        yield _unbatched(
            f"{verb} of {table.name} changes every row that its condition finds in one statement",
            "each stays locked until the transaction ends, and every other write to it waits",
            table,
            run,
        )


def _unbatched(what: str, harm: str, table: Table, run: Run) -> Observation:
    held = run.held(table.name, Lock.SHARE)
    also = ""
    if held is not None:
        also = (
            f" The transaction holds {held.lock} on {table.name} already (by {held.words}): all "
            "that time everybody else waits."
        )
    return Observation(
        "DSM402",
        f"{what}: {harm}.{also}",
        "Work through the primary key in short transactions, in a migration with "
        "`atomic = False`, by RunPython, or say why it is small: "
        "# safemigrations: ignore DSM402 -- at most a few hundred rows",
    )


def _is_narrow(where: Node | None, table: Table, run: Run) -> bool:
    """Return whether a condition can only find as many rows as are written down."""
    equal, between, counted = compared(where, run.variables)
    if counted:
        return True
    return any(
        unique <= equal or (len(unique) == 1 and unique <= between) for unique in table.uniques()
    )


def _narrowed(select: Node, run: Run) -> bool:
    """Return whether a query is about few rows."""
    if has_few_rows(select):
        return True
    tables = [relation(part) for part in select.children("from_clause") if part.is_a("RangeVar")]
    if len(tables) != 1 or len(select.children("from_clause")) != 1:
        return False
    return _is_narrow(select.child("where_clause"), run.table(tables[0]), run)


def reads_tables(select: Node, run: Run) -> bool:
    """Return whether a query reads a table that may have many rows."""
    names = {inside.text("ctename") for inside in select.walk() if inside.is_a("CommonTableExpr")}
    for inside in select.walk():
        if inside.is_a("RangeVar"):
            name = relation(inside)
            if name not in names and name not in SMALL:
                return True
    return False


def _with(node: Node, run: Run) -> Iterator[Observation]:
    clause = node.child("with_clause")
    for part in clause.children("ctes") if clause is not None else ():
        query = part.child("ctequery")
        if query is not None and query.is_a(*WRITING):
            yield from change_rows(query, run)


def select(node: Node, run: Run) -> Iterator[Observation]:
    """A query that locks rows keeps them locked; what it calls is judged elsewhere."""
    yield from _with(node, run)
    if node.has("into_clause"):
        into = node.child("into_clause")
        if into is not None and into.child("rel") is not None:
            run.session.created.add(relation(into.child("rel")))
    if not node.children("locking_clause") or has_few_rows(node) or run.batched:
        return
    names = [relation(part) for part in node.children("from_clause") if part.is_a("RangeVar")]
    for name in names:
        table = run.used(name)
        if table is None or _is_narrow(node.child("where_clause"), table, run):
            continue
        yield _unbatched(
            f"SELECT … FOR UPDATE of {name} locks every row that it finds",
            "each stays locked until the transaction ends, and every write to it waits",
            table,
            run,
        )


def truncate(node: Node, run: Run) -> Iterator[Observation]:
    """Every row goes, under ACCESS EXCLUSIVE."""
    from django_safemigrations.lint.sql.columns import cascades

    for item in node.children("relations"):
        name = relation(item)
        table = run.used(name)
        if table is None:
            continue
        run.hold(name, Lock.ACCESS_EXCLUSIVE)
        yield Observation(
            "DSM604",
            f"TRUNCATE {name} takes every row away at once, from old code, too, under ACCESS "
            "EXCLUSIVE: every statement on it waits, and transactions that began before see it "
            "empty.",
            "Delete rows that nothing needs in batches; or stop using the table first and truncate "
            "it in a Contract.",
        )
        if node.choice("behavior") == "DROP_CASCADE":
            others = ", ".join(table.referrers())
            yield (
                cascades(f"TRUNCATE {name}")
                if not others
                else Observation(
                    "DSM603",
                    f"TRUNCATE {name} CASCADE also empties every table whose foreign keys point to it: "
                    f"{others}.",
                    "Leave CASCADE out, and name the tables that are to be emptied.",
                )
            )


def copy_rows(node: Node, run: Run) -> Iterator[Observation]:
    """COPY adds rows as INSERT does, or reads them."""
    return
    yield
