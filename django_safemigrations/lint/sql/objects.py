"""Judges what creates, renames and drops tables, views, types and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.columns import cascades
from django_safemigrations.lint.sql.expressions import has_few_rows
from django_safemigrations.lint.sql.names import (
    dotted,
    object_name,
    quoted,
    relation,
    strings,
)
from django_safemigrations.lint.sql.new_columns import remember_columns, short_keys
from django_safemigrations.lint.sql.run import ALL_WAIT, Run, paste
from django_safemigrations.lint.sql.tables import removed_earlier
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

RELATIONS = {
    "OBJECT_TABLE": "TABLE",
    "OBJECT_VIEW": "VIEW",
    "OBJECT_MATVIEW": "MATERIALIZED VIEW",
    "OBJECT_FOREIGN_TABLE": "FOREIGN TABLE",
}
LEAVES = ("OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY")
"""Things on which nothing can depend."""
QUIET_RENAMES = frozenset(
    {
        "OBJECT_INDEX",
        "OBJECT_TABCONSTRAINT",
        "OBJECT_DOMCONSTRAINT",
        "OBJECT_TRIGGER",
        "OBJECT_POLICY",
        "OBJECT_RULE",
        "OBJECT_STATISTIC_EXT",
        "OBJECT_EXTENSION",
        "OBJECT_PUBLICATION",
        "OBJECT_SUBSCRIPTION",
        "OBJECT_EVENT_TRIGGER",
        "OBJECT_TABLESPACE",
    }
)
"""Things that no statement of the application names."""


def create_table(node: Node, run: Run) -> Iterator[Observation]:
    """Nobody uses a new table yet."""
    inner = node.child("base_stmt") if node.is_a("CreateForeignTableStmt") else node
    if inner is None:
        return
    name = relation(inner.child("relation"))
    known = run.table(name)
    if inner.flag("if_not_exists") and known.is_known and not known.created:
        return
    run.session.created.add(name)
    run.seen.clear()
    definitions = inner.children("table_elts")
    remember_columns(run.table(name), definitions, run)
    temporary = (target := inner.child("relation")) is not None and target.text(
        "relpersistence"
    ) == "t"
    if not temporary:
        yield from short_keys(definitions, name, run)
    if inner.has("partbound"):
        for parent in inner.children("inh_relations"):
            run.hold(relation(parent), Lock.ACCESS_EXCLUSIVE)


def create_table_as(node: Node, run: Run) -> Iterator[Observation]:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW read, and lock nothing that is in use."""
    into, query = node.child("into"), node.child("query")
    if into is not None:
        name = relation(into.child("rel"))
        run.session.created.add(name)
        if node.choice("objtype") == "OBJECT_MATVIEW":
            run.facts.views.add(name)
        if query is not None and not into.flag("skip_data"):
            yield from reads_under_lock(query, run)


def reads_under_lock(query: Node, run: Run) -> Iterator[Observation]:
    """Report a query over a table that the transaction keeps from everybody else."""
    for name in dict.fromkeys(
        relation(inside) for inside in query.walk() if inside.is_a("RangeVar")
    ):
        held = run.held(name, Lock.ACCESS_EXCLUSIVE)
        if held is None or run.table(name).created or has_few_rows(query):
            continue
        yield Observation(
            "DSM406",
            f"The query reads {name}, on which the transaction holds {held.lock} (by "
            f"{held.words}): until it is done and committed, {ALL_WAIT}.",
            "Give the query a migration of its own, before or after this one.",
            table=name,
        )


def create_view(node: Node, run: Run) -> Iterator[Observation]:
    """A view is a name; nobody uses a new one yet."""
    name = relation(node.child("view"))
    if not node.flag("replace"):
        run.session.created.add(name)
    run.facts.views.add(name)
    return
    yield


def create_domain(node: Node, run: Run) -> Iterator[Observation]:
    """Remember which domains have a constraint."""
    kinds = {part.choice("contype") for part in node.children("constraints")}
    if kinds & {"CONSTR_CHECK", "CONSTR_NOTNULL"}:
        run.facts.domains.add(dotted(strings(node.children("domainname"))))
    return
    yield


def alter_domain(node: Node, run: Run) -> Iterator[Observation]:
    """A constraint of a domain is checked in every table that uses it."""
    name = dotted(strings(node.children("type_name")))
    kind = node.text("subtype")
    inner = node.child("def")
    valid = kind == "C" and inner is not None and not inner.flag("skip_validation")
    if kind in ("C", "O"):
        run.facts.domains.add(name)
    if valid or kind == "O":
        what = "SET NOT NULL" if kind == "O" else "ADD CONSTRAINT"
        yield Observation(
            "DSM507",
            f"ALTER DOMAIN {name} {what} reads every table with a column of that type under a "
            "SHARE lock: every INSERT, UPDATE and DELETE on them waits.",
            "Add it NOT VALID, and validate it in a transaction of its own:\n"
            + paste(
                f"ALTER DOMAIN {quoted(name)} ADD CONSTRAINT … CHECK (…) NOT VALID",
                f"ALTER DOMAIN {quoted(name)} VALIDATE CONSTRAINT …",
                atomic=False,
            ),
        )


def alter_enum(node: Node, run: Run) -> Iterator[Observation]:
    """A new label is free, but can't be used before it is committed; a renamed one is gone."""
    name = dotted(strings(node.children("type_name")))
    old, new = node.text("old_val"), node.text("new_val")
    if old:
        yield renamed(f"The label '{old}' of {name}", new)
        return
    if run.in_transaction and not run.contract:
        run.session.labels.add(new)
    for statement in run.following if run.in_transaction else ():
        if _uses(statement.node, new):
            yield Observation(
                "DSM615",
                f"The label '{new}' is added to {name} and used in the same transaction by "
                f"{statement.words}: PostgreSQL refuses it (unsafe use of new value).",
                "Add the label in a migration of its own:\n" + paste(run.statement.text),
            )
            return


def _uses(node: Node, label: str) -> bool:
    if not node.is_a("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "AlterTableStmt"):
        return False
    for inside in node.walk():
        if inside.is_a("A_Const") and inside.has("sval"):
            value = inside.child("sval")
            if value is not None and value.text("sval") == label:
                return True
    return False


def renamed(what: str, new: str) -> Observation:
    """Say that a name which statements use is gone."""
    return Observation(
        "DSM605",
        f"{what} gets the name {new}: every statement of old code that uses the old one fails, "
        "and new code failed on the new one until then.",
        "Add the new one beside the old one, move the code over, and drop the old one when "
        "nothing uses it.",
    )


def rename(node: Node, run: Run) -> Iterator[Observation]:
    """What the application calls by name must keep it."""
    kind, new = node.choice("rename_type"), node.text("newname")
    if kind in QUIET_RENAMES:
        if kind == "OBJECT_INDEX":
            old = relation(node.child("relation"))
            if (table := run.facts.indexes.pop(old, None)) is not None:
                run.facts.indexes[new] = table
        return
    if kind == "OBJECT_COLUMN" and node.choice("relation_type") in RELATIONS:
        yield from _rename_column(node, run, new)
    elif kind in RELATIONS:
        if not is_of_a_column(relation(node.child("relation"))):
            yield from _rename_relation(node, run, kind, new)
    elif kind in ("OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_SCHEMA", "OBJECT_SEQUENCE"):
        target = node.child("object")
        name = (
            object_name(target)
            if target is not None
            else relation(node.child("relation")) or node.text("subname")
        )
        if name not in run.session.created and not is_of_a_column(name):
            yield renamed(f"{kind.removeprefix('OBJECT_')} {name}", new)
    elif kind in ("OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE"):
        target = node.child("object")
        name = object_name(target) if target is not None else ""
        if name not in run.session.created:
            yield renamed(f"{kind.removeprefix('OBJECT_')} {name}()", new)


def is_of_a_column(name: str) -> bool:
    """Return whether a name is one that PostgreSQL gives to the sequence of a column.

    ``ALTER TABLE`` renames sequences, too. The column's default knows its sequence by identity,
    and Django asks for its name.
    """
    return name.endswith("_seq")


def _rename_column(node: Node, run: Run, new: str) -> Iterator[Observation]:
    table, old = run.used(relation(node.child("relation"))), node.text("subname")
    if table is None:
        return
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    if (table.name, old) in run.session.added:
        return
    if removed_earlier(table.name, old, run.context):
        return
    yield Observation(
        "DSM301",
        f"Renaming {table.name}.{old} to {new} makes every statement of old code that names it "
        "fail, until the last old process is gone.",
        "Rename the field in the model and run makemigrations with django_safemigrations "
        "installed: it stages the rename by a second column that is kept equal, and a contract. "
        f'Or keep the column: add db_column="{old}" to the field.',
    )


def _rename_relation(node: Node, run: Run, kind: str, new: str) -> Iterator[Observation]:
    old = relation(node.child("relation"))
    created = run.table(old).created
    schema = f"{old.rpartition('.')[0]}." if "." in old else ""
    if created:
        run.session.created.discard(old)
        if run.table(schema + new).is_known or _taken(old, run):
            run.session.created.add(schema + new)
        else:
            run.session.created.add(schema + new)
        return
    run.hold(old, Lock.ACCESS_EXCLUSIVE)
    run.hold(schema + new, Lock.ACCESS_EXCLUSIVE)
    if run.in_transaction and _taken(old, run):
        return
    yield Observation(
        "DSM505",
        f"Renaming {old} to {new} makes every statement of old code on it fail.",
        "Keep the name, with `db_table` in the model's Meta, or put an updatable view under the "
        "old name in the same transaction:\n"
        + paste(
            f"ALTER {RELATIONS[kind]} {quoted(old)} RENAME TO {quoted(new)}",
            f"CREATE VIEW {quoted(old)} WITH (security_invoker) AS SELECT * FROM "
            f"{quoted(schema + new)}",
        ),
    )


def _taken(name: str, run: Run) -> bool:
    """Return whether something takes a name in the same transaction."""
    return any(name in _names_made(statement.node) for statement in run.following)


def _names_made(node: Node) -> Iterator[str]:
    if node.is_a("ViewStmt"):
        yield relation(node.child("view"))
    elif node.is_a("CreateStmt"):
        yield relation(node.child("relation"))
    elif node.is_a("CreateTableAsStmt"):
        into = node.child("into")
        yield relation(into.child("rel")) if into is not None else ""
    elif node.is_a("RenameStmt") and node.choice("rename_type") in RELATIONS:
        old = relation(node.child("relation"))
        yield f"{old.rpartition('.')[0]}.{node.text('newname')}".removeprefix(".")


def set_schema(node: Node, run: Run) -> Iterator[Observation]:
    """A table in another schema has another name, unless the search path finds it."""
    if node.choice("object_type") not in RELATIONS:
        return
    table = run.used(relation(node.child("relation")))
    if table is None:
        return
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    if run.in_transaction and _taken(table.name, run):
        return
    schema = node.text("newschema")
    yield Observation(
        "DSM505",
        f"SET SCHEMA {schema} gives {table.name} another name: every statement of old code on it "
        f"fails, unless {schema} is in its search_path.",
        "Leave a view under the old name in the same transaction, and drop it when no old code is "
        "left:\n"
        + paste(
            run.statement.text,
            f"CREATE VIEW {quoted(table.name)} WITH (security_invoker) AS SELECT * FROM "
            f"{quoted(schema)}.{quoted(table.name)}",
        ),
    )


def drop(node: Node, run: Run) -> Iterator[Observation]:
    """What old code still uses must stay."""
    kind = node.choice("remove_type")
    cascade = node.choice("behavior") == "DROP_CASCADE"
    for item in node.children("objects"):
        name = object_name(item)
        if kind in RELATIONS:
            yield from _drop_relation(RELATIONS[kind], name, run, cascade=cascade)
        elif kind == "OBJECT_SCHEMA":
            if cascade and name not in run.session.created and not run.contract:
                yield _dropped(
                    f"DROP SCHEMA {name} CASCADE: every table, view and function in it goes, with "
                    "all data; old code that uses one of them fails."
                )
        elif cascade and kind not in LEAVES and name not in run.session.created:
            yield cascades(f"DROP {kind.removeprefix('OBJECT_').replace('_', ' ')} {name}")


def _drop_relation(word: str, name: str, run: Run, *, cascade: bool) -> Iterator[Observation]:
    table = run.table(name)
    if table.created:
        run.session.created.discard(name)
        return
    run.facts.views.discard(name)
    run.hold(name, Lock.ACCESS_EXCLUSIVE)
    for _, target in table.foreign_keys():
        run.hold(target, Lock.ACCESS_EXCLUSIVE)
    again = run.in_transaction and _taken(name, run)
    retired = run.contract or removed_earlier(name, None, run.context)
    if not again and not retired:
        others = sorted({target for _, target in table.foreign_keys()} - {name})
        also = f" Its foreign keys go, and lock {', '.join(others)} meanwhile." if others else ""
        yield _dropped(
            f"DROP {word} {name}: old code that still reads, joins or writes it fails at once.{also}"
        )
    if cascade:
        yield cascades(f"DROP {word} {name}")


def _dropped(message: str) -> Observation:
    return Observation(
        "DSM504",
        message,
        "Take it out of the code first, and drop it when no old code is left: "
        "Contract(database_operations=[migrations.RunSQL(…)]) in a migration of its own. What is "
        "created anew under the same name belongs into the same transaction.",
    )


def drop_database(node: Node, _run: Run) -> Iterator[Observation]:
    """Nothing is left of it."""
    yield _dropped(f"DROP DATABASE {node.text('dbname')}: all data in it is gone.")


def drop_owned(node: Node, _run: Run) -> Iterator[Observation]:
    """Everything of a role goes, whatever it is."""
    yield _dropped("DROP OWNED: every table and view of the role goes, with all data.")
