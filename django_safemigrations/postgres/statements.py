"""Tells from a statement's words which lock it takes, who waits, and what it does meanwhile.

The rules are measurements on PostgreSQL 15 and 18; tests repeat them on a live server.
Reads words, not a parse tree: what it does not know it calls unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django_safemigrations.postgres.alter_table import alter_table_cost
from django_safemigrations.postgres.costs import (
    HARMLESS,
    UNKNOWN,
    Cost,
    Known,
    Lock,
    Waits,
    Work,
    cost,
)
from django_safemigrations.postgres.sqlwords import (
    Kind,
    Reader,
    has,
    outside_parentheses,
    read_statements,
)

# Objects whose creation, change and removal lock no table.
_TABLELESS = (
    "FUNCTION PROCEDURE ROUTINE AGGREGATE SCHEMA TYPE DOMAIN SEQUENCE COLLATION EXTENSION ROLE "
    "USER GROUP DATABASE TABLESPACE CAST OPERATOR CONVERSION LANGUAGE SERVER FOREIGN EVENT ACCESS "
    "TEXT SUBSCRIPTION DEFAULT LARGE SYSTEM TRANSFORM"
)
TABLELESS = _TABLELESS.split()
_SESSION = (
    "SET RESET SHOW BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE LISTEN NOTIFY UNLISTEN "
    "DISCARD DEALLOCATE PREPARE CHECKPOINT LOAD FETCH CLOSE MOVE DECLARE"
)
SESSION = _SESSION.split()
_MODIFIERS = "OR REPLACE TEMP TEMPORARY GLOBAL LOCAL UNLOGGED UNIQUE TRUSTED RECURSIVE"
CREATE_MODIFIERS = _MODIFIERS.split()
# Functions that Django calls in a SELECT of its own; any other one may do anything.
HARMLESS_FUNCTIONS = {
    "setval",
    "nextval",
    "set_config",
    "pg_get_serial_sequence",
    "coalesce",
    "max",
}


@dataclass(frozen=True)
class Classified:
    """A statement and its cost."""

    sql: str
    cost: Cost


def classify(sql: str, known: Known | None = None) -> tuple[Classified, ...]:
    """Return the statements in a string, each with its cost.

    Args:
        sql: one statement or several, with comments or without.
        known: what the catalog and earlier statements say; it is brought up to date, so
            that a SET NOT NULL after a validated CHECK, or an index on a table that was
            just created, costs what it really costs.
    """
    known = known if known is not None else Known()
    return tuple(
        Classified(statement.text, _cost(Reader(statement.words), known))
        for statement in read_statements(sql)
    )


def _cost(reader: Reader, known: Known) -> Cost:
    word = reader.accept_any(*HANDLERS, *SESSION)
    if word is None:
        return UNKNOWN
    if word in SESSION:
        return HARMLESS
    found = HANDLERS[word](reader, known)
    if found.table in known.created:
        # Nobody else knows the table, and it is empty; other tables may be locked still.
        return cost(found.lock, Work.NONE, found.table, waits=_others(found), others=found.others)
    return found


def _others(found: Cost) -> Waits:
    return cost(None, others=found.others).waits


def _alter(reader: Reader, known: Known) -> Cost:
    if reader.accept("TABLE"):
        if reader.accept("ALL", "IN", "TABLESPACE"):
            return cost(Lock.ACCESS_EXCLUSIVE, Work.REWRITE)
        return alter_table_cost(reader, known)
    if reader.accept("INDEX"):
        reader.accept("IF", "EXISTS")
        table = _index_table(reader.name(), known)
        if reader.accept("SET", "TABLESPACE"):
            return cost(Lock.ACCESS_EXCLUSIVE, Work.REWRITE, table)
        if reader.accept("ATTACH", "PARTITION"):
            # The lock is on the index, but every plan of a query on the table needs it.
            return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, table)
        return cost(None, Work.NONE, table)
    if reader.accept("MATERIALIZED", "VIEW") or reader.accept("VIEW"):
        reader.accept("IF", "EXISTS")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept_any("TRIGGER", "POLICY", "RULE"):
        reader.skip_to("ON")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("STATISTICS"):
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE)
    if reader.accept("PUBLICATION"):
        return _publication(reader)
    return HARMLESS if reader.accept_any(*TABLELESS) else UNKNOWN


def _create(reader: Reader, known: Known) -> Cost:
    while reader.accept_any(*CREATE_MODIFIERS):
        pass
    if reader.accept("INDEX"):
        concurrently = reader.accept("CONCURRENTLY")
        reader.skip_to("ON")
        reader.accept("ONLY")
        lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.SHARE
        return cost(lock, Work.BUILD, reader.name(), concurrently=concurrently)
    if reader.accept("TABLE"):
        return _create_table(reader, known)
    if reader.accept("MATERIALIZED", "VIEW"):
        return cost(Lock.ACCESS_SHARE, Work.SCAN, reader.name())
    if reader.accept("VIEW"):
        return cost(Lock.ACCESS_SHARE, Work.NONE, reader.name())
    if reader.accept("TRIGGER") or reader.accept("CONSTRAINT", "TRIGGER"):
        reader.skip_to("ON")
        return cost(Lock.SHARE_ROW_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("POLICY"):
        reader.skip_to("ON")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("RULE"):
        reader.skip_to("TO")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("STATISTICS"):
        reader.skip_to("FROM")
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("PUBLICATION"):
        return _publication(reader)
    return HARMLESS if reader.accept_any(*TABLELESS) else UNKNOWN


def _create_table(reader: Reader, known: Known) -> Cost:
    reader.accept("IF", "NOT", "EXISTS")
    table = reader.name()
    if reader.accept("PARTITION", "OF"):
        parent = reader.name()
        others = [(parent, Lock.ACCESS_EXCLUSIVE)] if parent else []
        return cost(Lock.ACCESS_EXCLUSIVE, Work.SCAN, table, waits=_wait_for(others), others=others)
    if table is not None:
        known.created.add(table)
    others = []
    inside = Reader(reader.rest)
    for i, word in enumerate(inside.words):
        if word.is_("REFERENCES"):
            inside.at = i + 1
            if target := inside.name():
                others.append((target, Lock.SHARE_ROW_EXCLUSIVE))
    # It locks itself, but nobody knows it yet; who writes to the referenced tables waits.
    return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, table, waits=_wait_for(others), others=others)


def _wait_for(others: list[tuple[str, Lock]]) -> Waits:
    return cost(None, others=others).waits


def _drop(reader: Reader, known: Known) -> Cost:
    if reader.accept("INDEX"):
        concurrently = reader.accept("CONCURRENTLY")
        reader.accept("IF", "EXISTS")
        table = _index_table(reader.name(), known)
        lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.ACCESS_EXCLUSIVE
        return cost(lock, Work.NONE, table, concurrently=concurrently)
    if reader.accept("TABLE"):
        reader.accept("IF", "EXISTS")
        table = reader.name()
        targets = []
        if known.catalogue is not None and table is not None:
            targets = known.catalogue.referenced_tables(table)
        others = [(target, Lock.ACCESS_EXCLUSIVE) for target in targets if target != table]
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, table, others=others)
    if reader.accept("MATERIALIZED", "VIEW") or reader.accept("VIEW"):
        reader.accept("IF", "EXISTS")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept_any("TRIGGER", "POLICY", "RULE"):
        reader.skip_to("ON")
        return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("STATISTICS"):
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE)
    if reader.accept_any("SCHEMA", "EXTENSION", "OWNED") and has(reader.words, "CASCADE"):
        return cost(Lock.ACCESS_EXCLUSIVE, Work.UNKNOWN)
    return HARMLESS if reader.accept_any("PUBLICATION", "OWNED", *TABLELESS) else UNKNOWN


def _publication(reader: Reader) -> Cost:
    reader.skip_to("TABLE")
    reader.accept("ONLY")
    return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.NONE, reader.name())


def _index_table(index: str | None, known: Known) -> str | None:
    if index is None or known.catalogue is None:
        return None
    return known.catalogue.index_table(index)


def _reindex(reader: Reader, known: Known) -> Cost:
    if reader.accept("("):
        reader.skip_to(")")
    kind = reader.accept_any("INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM")
    concurrently = reader.accept("CONCURRENTLY")
    name = reader.name()
    table = _index_table(name, known) if kind == "INDEX" else name if kind == "TABLE" else None
    if concurrently:
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.BUILD, table, concurrently=True)
    # SHARE on the table, but ACCESS EXCLUSIVE on the index that every plan needs.
    return cost(Lock.SHARE, Work.BUILD, table, waits=Waits.READS_AND_WRITES)


def _refresh(reader: Reader, _: Known) -> Cost:
    reader.accept("MATERIALIZED", "VIEW")
    if reader.accept("CONCURRENTLY"):
        return cost(Lock.EXCLUSIVE, Work.SCAN, reader.name())
    return cost(Lock.ACCESS_EXCLUSIVE, Work.REWRITE, reader.name())


def _comment(reader: Reader, _: Known) -> Cost:
    reader.accept("ON")
    if reader.accept("TABLE"):
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.NONE, reader.name())
    if reader.accept("COLUMN"):
        table = (reader.name() or "").rpartition(".")[0]
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.NONE, table or None)
    if reader.accept_any("CONSTRAINT", "TRIGGER", "POLICY", "RULE"):
        reader.skip_to("ON")
        reader.accept("DOMAIN")
        return cost(Lock.ACCESS_SHARE, Work.NONE, reader.name())
    return HARMLESS


def _lock(reader: Reader, _: Known) -> Cost:
    reader.accept("TABLE")
    reader.accept("ONLY")
    table = reader.name()
    mode = Lock.ACCESS_EXCLUSIVE
    if reader.skip_to("IN"):
        asked = " ".join(word.text.upper() for word in reader.rest)
        mode = next((lock for lock in Lock if asked.startswith(f"{lock} MODE")), mode)
    return cost(mode, Work.NONE, table)


def _truncate(reader: Reader, _: Known) -> Cost:
    reader.accept("TABLE")
    reader.accept("ONLY")
    return cost(Lock.ACCESS_EXCLUSIVE, Work.NONE, reader.name())


def _cluster(reader: Reader, _: Known) -> Cost:
    return cost(Lock.ACCESS_EXCLUSIVE, Work.REWRITE, reader.name())


def _vacuum(reader: Reader, _: Known) -> Cost:
    full = any(word.is_("FULL") for word in reader.words)
    if reader.accept("("):
        reader.skip_to(")")
    while reader.accept_any("FULL", "FREEZE", "VERBOSE", "ANALYZE"):
        pass
    if full:
        return cost(Lock.ACCESS_EXCLUSIVE, Work.REWRITE, reader.name())
    return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.SCAN, reader.name())


def _insert(reader: Reader, _: Known) -> Cost:
    reader.accept("INTO")
    table = reader.name()
    upsert = has(reader.words, "DO", "UPDATE")
    work = Work.SCAN if has(reader.words, "SELECT") else Work.NONE
    waits = Waits.SAME_ROWS if upsert else Waits.NOBODY
    return cost(Lock.ROW_EXCLUSIVE, work, table, waits=waits)


def _change_rows(reader: Reader, _: Known) -> Cost:
    reader.accept_any("INTO", "FROM")
    reader.accept("ONLY")
    return cost(Lock.ROW_EXCLUSIVE, Work.SCAN, reader.name(), waits=Waits.SAME_ROWS)


def _copy(reader: Reader, _: Known) -> Cost:
    if reader.accept("("):
        return cost(Lock.ACCESS_SHARE, Work.SCAN)
    table = reader.name()
    if has(reader.words, "FROM"):
        return cost(Lock.ROW_EXCLUSIVE, Work.NONE, table)
    return cost(Lock.ACCESS_SHARE, Work.SCAN, table)


def _select(reader: Reader, _: Known) -> Cost:
    called = {
        word.name
        for word, following in zip(reader.words, reader.words[1:], strict=False)
        if word.kind is Kind.NAME and following.is_("(")
    }
    reader = Reader(tuple(outside_parentheses(reader.words)))
    table = reader.name() if reader.skip_to("FROM") else None
    if table is None:
        return HARMLESS if called <= HARMLESS_FUNCTIONS else UNKNOWN
    if has(reader.words, "FOR", "UPDATE") or has(reader.words, "FOR", "SHARE"):
        return cost(Lock.ROW_SHARE, Work.SCAN, table, waits=Waits.SAME_ROWS)
    return cost(Lock.ACCESS_SHARE, Work.SCAN, table)


def _with(reader: Reader, known: Known) -> Cost:
    # The verbs of the common table expressions count, too: they may write.
    for i, word in enumerate(reader.words):
        verb = word.text.upper()
        opens = i == 0 or not reader.words[i - 1].is_("FOR", "DO", "THEN")
        if opens and word.is_("INSERT", "UPDATE", "DELETE", "MERGE"):
            reader.at = i + 1
            return HANDLERS[verb](reader, known)
    reader.skip_to("SELECT")
    return _select(reader, known)


def _grant(reader: Reader, _: Known) -> Cost:
    reader.skip_to("ON")
    reader.accept("TABLE")
    return cost(Lock.ACCESS_SHARE, Work.NONE, reader.name())


def _unknown(*_: object) -> Cost:
    return UNKNOWN


HANDLERS: dict[str, Callable[[Reader, Known], Cost]] = {
    "ALTER": _alter,
    "CREATE": _create,
    "DROP": _drop,
    "REINDEX": _reindex,
    "REFRESH": _refresh,
    "COMMENT": _comment,
    "LOCK": _lock,
    "TRUNCATE": _truncate,
    "CLUSTER": _cluster,
    "VACUUM": _vacuum,
    "ANALYZE": _vacuum,
    "INSERT": _insert,
    "UPDATE": _change_rows,
    "DELETE": _change_rows,
    "MERGE": _change_rows,
    "COPY": _copy,
    "SELECT": _select,
    "WITH": _with,
    "GRANT": _grant,
    "REVOKE": _grant,
    "DO": _unknown,
    "CALL": _unknown,
}
