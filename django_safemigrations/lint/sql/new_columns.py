"""Judges columns that SQL adds, by ALTER TABLE or with a new table."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.constraints import remember_constraint
from django_safemigrations.lint.sql.expressions import is_null, volatile_call
from django_safemigrations.lint.sql.names import is_serial, quoted, relation, type_text
from django_safemigrations.lint.sql.parser import written_expression
from django_safemigrations.lint.sql.run import ALL_WAIT, Run, paste
from django_safemigrations.lint.sql.tables import Table
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock


class NewColumn:
    """What a column definition says."""

    def __init__(self, node: Node, run: Run) -> None:
        self.name = node.text("colname")
        self.type = type_text(node.child("type_name"))
        self.constraints = {c.choice("contype"): c for c in node.children("constraints")}
        self.serial = is_serial(node.child("type_name"))
        self.identity = "CONSTR_IDENTITY" in self.constraints
        default = self.constraints.get("CONSTR_DEFAULT")
        self.default = default.child("raw_expr") if default is not None else None
        generated = self.constraints.get("CONSTR_GENERATED")
        self.stored = generated is not None and generated.text("generated_kind") != "v"
        self.virtual = generated is not None and not self.stored
        self.primary = "CONSTR_PRIMARY" in self.constraints
        self.not_null = self.primary or "CONSTR_NOTNULL" in self.constraints
        stable = frozenset(name for name, f in run.facts.functions.items() if f.stable)
        self.volatile = volatile_call(self.default, stable) if self.default is not None else None
        self.domain = self.type in run.facts.domains

    @property
    def filled(self) -> bool:
        """Whether an INSERT that leaves the column out gets a value."""
        has_default = self.default is not None and not is_null(self.default)
        return has_default or self.serial or self.identity or self.stored or self.virtual

    def rewrites(self) -> str | None:
        """Say why the table is written anew, or None."""
        if self.stored:
            return "a stored generated column"
        if self.serial:
            return "a serial, whose default is nextval()"
        if self.identity:
            return "an identity column"
        if self.volatile is not None:
            return f"a default that calls {self.volatile}() for each row"
        if self.domain and self.default is not None:
            return f"of the domain {self.type}, whose constraint is checked for each row"
        return None

    def brings(self) -> Iterator[str]:
        """Say what more the definition brings."""
        if "CONSTR_CHECK" in self.constraints:
            yield "a CHECK, for which the whole table is read under ACCESS EXCLUSIVE"
        if self.primary:
            yield "a primary key, whose index is built under ACCESS EXCLUSIVE"
        elif "CONSTR_UNIQUE" in self.constraints:
            yield "UNIQUE, whose index is built under ACCESS EXCLUSIVE"
        key = self.constraints.get("CONSTR_FOREIGN")
        if key is not None:
            other = relation(key.child("pktable"))
            harm = f"a foreign key: writes to {other} wait until the transaction ends"
            if self.default is not None and not is_null(self.default):
                harm += ", and every row is looked up there"
            yield harm
        if self.virtual and self.not_null:
            yield "NOT NULL of a virtual column, for which every row is computed"
        if self.domain and self.default is None:
            yield f"the constraint of the domain {self.type}, which is checked for each row"


def add_column(command: Node, table: Table, run: Run) -> Iterator[Observation]:
    """A bare column is instant; everything else is judged as AddField is."""
    definition = command.child("def")
    if definition is None:
        return
    column = NewColumn(definition, run)
    exists = table.field(column.name) is not None
    if command.flag("missing_ok") and exists:
        return
    _remember(column, table, run)
    if table.created:
        return
    shown = f"{table.name}.{column.name}"
    add = f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(column.name)} {column.type}"
    if (why := column.rewrites()) is not None:
        yield Observation(
            "DSM510",
            f"{shown} is {why}: the table and all its indexes are written anew under ACCESS "
            f"EXCLUSIVE on {table.name}: {ALL_WAIT}.",
            _without_rewrite(column, table, add),
        )
    if column.not_null and not column.filled:
        yield Observation(
            "DSM501",
            f"The new column {shown} is NOT NULL without a default: the statement fails if "
            f"{table.name} has rows, and every INSERT of old code, which does not know the "
            "column, fails after it.",
            paste(f"{add} NOT NULL DEFAULT …")
            + "\nA constant default costs nothing, and stays for old code.",
        )
    reasons = list(column.brings())
    if reasons:
        yield Observation(
            "DSM502",
            f"The new column {shown} brings more with it: {'; '.join(reasons)}.",
            _staged(column, table, add),
        )
    if column.type == "json":
        yield json_column(shown)
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)


def json_column(shown: str) -> Observation:
    """Say what type json does to queries."""
    return Observation(
        "DSM618",
        f"{shown} is json, which has no equality: SELECT DISTINCT, GROUP BY and UNION over all "
        "columns of the table fail, Django's .distinct() with them.",
        "Use jsonb, as Django's JSONField does.",
    )


def _without_rewrite(column: NewColumn, table: Table, add: str) -> str:
    if column.stored:
        return (
            "On PostgreSQL 18 make it VIRTUAL, which writes nothing. Before, add a plain column, "
            "let a trigger keep it, and fill the old rows in batches."
        )
    if column.serial or column.identity:
        return (
            "Add a plain bigint column, set DEFAULT nextval(…) of a sequence that you create, and "
            "fill the old rows in batches; UNIQUE and NOT NULL come after that."
        )
    alter = f"ALTER TABLE {quoted(table.name)} ALTER COLUMN {quoted(column.name)}"
    value = written_expression(column.default) if column.default is not None else "…"
    return (
        paste(add, f"{alter} SET DEFAULT {value}")
        + "\nThe default counts for new rows only. Fill the old ones in batches, then SET NOT NULL."
    )


def _staged(column: NewColumn, table: Table, add: str) -> str:
    name, own = quoted(table.name), quoted(column.name)
    statements = [add]
    key = column.constraints.get("CONSTR_FOREIGN")
    if key is not None:
        constraint = key.text("conname") or f"{table.name}_{column.name}_fkey"
        other = quoted(relation(key.child("pktable")))
        named = quoted(constraint)
        statements += [
            f"ALTER TABLE {name} ADD CONSTRAINT {named} FOREIGN KEY ({own}) REFERENCES {other} "
            "NOT VALID",
            f"ALTER TABLE {name} VALIDATE CONSTRAINT {named}",
        ]
    if "CONSTR_CHECK" in column.constraints:
        named = quoted(
            column.constraints["CONSTR_CHECK"].text("conname")
            or f"{table.name}_{column.name}_check"
        )
        statements += [
            f"ALTER TABLE {name} ADD CONSTRAINT {named} CHECK (…) NOT VALID",
            f"ALTER TABLE {name} VALIDATE CONSTRAINT {named}",
        ]
    if "CONSTR_UNIQUE" in column.constraints or column.primary:
        named = quoted(f"{table.name}_{column.name}_key")
        kind = "PRIMARY KEY" if column.primary else "UNIQUE"
        statements += [
            f"DROP INDEX CONCURRENTLY IF EXISTS {named}",
            f"CREATE UNIQUE INDEX CONCURRENTLY {named} ON {name} ({own})",
            f"ALTER TABLE {name} ADD CONSTRAINT {named} {kind} USING INDEX {named}",
        ]
    return paste(*statements, atomic=False)


def _remember(column: NewColumn, table: Table, run: Run) -> None:
    place = (table.name, column.name)
    run.facts.types[place] = column.type
    run.facts.nullable[place] = not column.not_null
    run.session.added[place] = column.not_null
    if column.primary or "CONSTR_UNIQUE" in column.constraints:
        run.facts.uniques.setdefault(table.name, set()).add(frozenset({column.name}))
    key = column.constraints.get("CONSTR_FOREIGN")
    if key is not None:
        name = key.text("conname") or f"{table.name}_{column.name}_fkey"
        run.facts.keys[table.name, name] = relation(key.child("pktable"))


def remember_columns(table: Table, definitions: list[Node], run: Run) -> None:
    """Remember the columns of a table that is created."""
    for definition in definitions:
        if definition.is_a("ColumnDef"):
            _remember(NewColumn(definition, run), table, run)
        elif definition.is_a("Constraint"):
            remember_constraint(definition, table, run, inline=True)


def short_keys(definitions: list[Node], table: str, run: Run) -> Iterator[Observation]:
    """Report a primary key that ends at two thousand million."""
    keys = {
        key.text("sval")
        for definition in definitions
        if definition.is_a("Constraint") and definition.choice("contype") == "CONSTR_PRIMARY"
        for key in definition.children("keys")
    }
    keys = keys if len(keys) == 1 else set()
    for definition in definitions:
        if not definition.is_a("ColumnDef"):
            continue
        column = NewColumn(definition, run)
        if column.type == "json":
            yield json_column(f"{table}.{column.name}")
        counts = column.serial or column.identity or column.volatile == "nextval"
        if not (column.primary or column.name in keys) or not counts:
            continue
        if column.type in ("serial", "serial4", "integer", "smallint", "smallserial", "serial2"):
            yield Observation(
                "DSM619",
                f"The primary key {table}.{column.name} is {column.type}: it runs out of numbers, "
                "and a wider one rewrites the table then.",
                "Make it bigint GENERATED BY DEFAULT AS IDENTITY, or bigserial.",
            )
