"""The cost of ALTER TABLE, action by action; measured on PostgreSQL 15 and 18."""

from __future__ import annotations

from collections.abc import Iterable

from django_safemigrations.postgres.costs import (
    Cost,
    Known,
    Lock,
    Waits,
    Work,
    cost,
    heaviest,
)
from django_safemigrations.postgres.sqlwords import (
    Reader,
    Word,
    has,
    outside_parentheses,
    split_list,
)
from django_safemigrations.postgres.type_changes import type_change_work

# Functions that PostgreSQL evaluates once for a new column's default, for they are not volatile.
# https://www.postgresql.org/docs/current/xfunc-volatility.html
_STEADY = (
    "now statement_timestamp transaction_timestamp current_setting lower upper coalesce nullif "
    "greatest least abs round ceil floor trunc length md5 concat concat_ws left right btrim ltrim "
    "rtrim replace date_trunc date_part extract make_date make_time make_interval make_timestamptz "
    "timezone to_char to_date to_json to_jsonb json_build_object json_build_array "
    "jsonb_build_object jsonb_build_array jsonb_object array row cast numrange int4range int8range "
    "tsrange tstzrange daterange sqrt power mod sign exp ln"
)
STEADY_FUNCTIONS = frozenset(_STEADY.split())
_CONSTRAINTS = (
    "CONSTRAINT NOT NULL CHECK DEFAULT GENERATED UNIQUE PRIMARY REFERENCES COLLATE "
    "DEFERRABLE INITIALLY STORAGE COMPRESSION"
)
COLUMN_CONSTRAINTS = _CONSTRAINTS.split()
SERIAL = ("SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2")


def alter_table_cost(reader: Reader, known: Known) -> Cost:
    """Return the cost of an ALTER TABLE whose first two words have been read."""
    reader.accept("IF", "EXISTS")
    reader.accept("ONLY")
    table = reader.name()
    reader.accept("*")
    if table is None:
        return cost(Lock.ACCESS_EXCLUSIVE, Work.UNKNOWN)
    parts = [_Action(table, known, part).cost() for part in split_list(reader.rest)]
    if not parts:
        return cost(Lock.ACCESS_EXCLUSIVE, Work.UNKNOWN, table)
    return _together(parts, table)


def _together(parts: Iterable[Cost], table: str) -> Cost:
    parts = list(parts)
    return Cost(
        lock=heaviest((part.lock for part in parts if part.lock), Lock.ACCESS_SHARE),
        waits=heaviest((part.waits for part in parts), Waits.NOBODY),
        work=heaviest((part.work for part in parts), Work.NONE),
        table=table,
        concurrently=any(part.concurrently for part in parts),
        others=tuple(other for part in parts for other in part.others),
    )


class _Action:
    """One action of an ALTER TABLE."""

    def __init__(self, table: str, known: Known, words: tuple[Word, ...]) -> None:
        self.table = table
        self.known = known
        self.words = words
        self.reader = Reader(words)

    def cost(self) -> Cost:
        reader = self.reader
        if reader.accept("ADD"):
            return self._add()
        if reader.accept("ALTER", "CONSTRAINT"):
            enforced = has(self.words, "ENFORCED") and not has(self.words, "NOT", "ENFORCED")
            return self._exclusive(Work.SCAN if enforced else Work.NONE)
        if reader.accept("ALTER"):
            return self._alter_column()
        if reader.accept("DROP"):
            return self._drop()
        if reader.accept("VALIDATE", "CONSTRAINT"):
            return self._validate()
        if reader.accept_any("ENABLE", "DISABLE"):
            return self._switch()
        if reader.accept("ATTACH", "PARTITION"):
            partition = reader.name()
            others = [(partition, Lock.ACCESS_EXCLUSIVE)] if partition else []
            return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.SCAN, self.table, others=others)
        if reader.accept("DETACH", "PARTITION"):
            if has(self.words, "CONCURRENTLY"):
                return cost(Lock.SHARE_UPDATE_EXCLUSIVE, Work.NONE, self.table, concurrently=True)
            return self._exclusive()
        if reader.accept("CLUSTER") or reader.accept("SET", "WITHOUT", "CLUSTER"):
            return self._weak()
        if reader.accept("SET", "(") or reader.accept("RESET", "("):
            return self._weak()
        if reader.accept("SET"):
            rewriting = reader.accept_any("TABLESPACE", "LOGGED", "UNLOGGED", "ACCESS")
            return self._exclusive(Work.REWRITE if rewriting else Work.NONE)
        # RENAME, OWNER TO, REPLICA IDENTITY, INHERIT, FORCE ROW LEVEL SECURITY, …
        return self._exclusive()

    def _exclusive(self, work: Work = Work.NONE, others: Iterable[tuple[str, Lock]] = ()) -> Cost:
        return cost(Lock.ACCESS_EXCLUSIVE, work, self.table, others=others)

    def _weak(self, work: Work = Work.NONE) -> Cost:
        return cost(Lock.SHARE_UPDATE_EXCLUSIVE, work, self.table)

    # -- ADD -----------------------------------------------------------------------

    def _add(self) -> Cost:
        reader = self.reader
        name = ""
        if reader.accept("CONSTRAINT"):
            name = reader.name() or ""
        word = reader.peek()
        kinds = ("CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE", "NOT")
        if name or (word is not None and word.is_(*kinds)):
            return self._add_constraint(name)
        reader.accept("COLUMN")
        reader.accept("IF", "NOT", "EXISTS")
        reader.name()
        return self._add_column(reader.rest)

    def _add_constraint(self, name: str) -> Cost:
        reader, words = self.reader, self.words
        later = has(words, "NOT", "VALID") or has(words, "NOT", "ENFORCED")
        if reader.accept("FOREIGN", "KEY"):
            reader.skip_to("REFERENCES")
            others = _locked(reader.name(), Lock.SHARE_ROW_EXCLUSIVE)
            work = Work.NONE if later else Work.SCAN
            return cost(Lock.SHARE_ROW_EXCLUSIVE, work, self.table, others=others)
        if reader.accept("CHECK"):
            column = _is_not_null_column(reader.rest)
            if column is not None and not has(words, "NOT", "ENFORCED"):
                self.known.proofs[self.table, name] = (column, not later)
            return self._exclusive(Work.NONE if later else Work.SCAN)
        if reader.accept("NOT", "NULL"):
            column = reader.name() or ""
            proven = self.known.is_proven(self.table, column)
            self.known.proofs[self.table, name] = (column, not later)
            return self._exclusive(Work.NONE if later or proven else Work.SCAN)
        if has(words, "USING", "INDEX"):
            return self._exclusive()
        return self._exclusive(Work.BUILD)

    def _add_column(self, definition: tuple[Word, ...]) -> Cost:
        flat = tuple(outside_parentheses(definition))
        works = [Work.NONE]
        if any(word.is_(*SERIAL) for word in flat[:1]):
            works.append(Work.REWRITE)
        generated = has(flat, "GENERATED")
        virtual = generated and has(flat, "VIRTUAL")
        if generated and (has(flat, "STORED") or has(flat, "IDENTITY")):
            works.append(Work.REWRITE)
        default = _default(definition)
        if _is_volatile(default):
            works.append(Work.REWRITE)
        if has(flat, "CHECK") or (virtual and has(flat, "NOT", "NULL")):
            works.append(Work.SCAN)
        if has(flat, "UNIQUE") or has(flat, "PRIMARY", "KEY"):
            works.append(Work.BUILD)
        others: list[tuple[str, Lock]] = []
        reader = Reader(definition)
        if reader.skip_to("REFERENCES"):
            others = _locked(reader.name(), Lock.SHARE_ROW_EXCLUSIVE)
            if default and not default[0].is_("NULL"):
                works.append(Work.SCAN)
        return self._exclusive(heaviest(works, Work.NONE), others)

    # -- the rest --------------------------------------------------------------------

    def _alter_column(self) -> Cost:
        reader = self.reader
        reader.accept("COLUMN")
        column = reader.name() or ""
        if reader.accept("TYPE") or reader.accept("SET", "DATA", "TYPE"):
            return self._alter_type(column, reader.rest)
        if reader.accept("SET", "NOT", "NULL"):
            proven = self.known.is_proven(self.table, column)
            return self._exclusive(Work.NONE if proven else Work.SCAN)
        if reader.accept("SET", "EXPRESSION"):
            return self._exclusive(Work.REWRITE)
        if reader.accept("SET", "STATISTICS") or reader.accept("SET", "("):
            return self._weak()
        if reader.accept("RESET"):
            return self._weak()
        # SET and DROP DEFAULT, DROP NOT NULL, SET STORAGE, identity, DROP EXPRESSION, …
        return self._exclusive()

    def _alter_type(self, column: str, words: tuple[Word, ...]) -> Cost:
        new: list[str] = []
        reader = Reader(words)
        while (word := reader.peek()) is not None and not word.is_("COLLATE", "USING"):
            new.append(word.text)
            reader.at += 1
        catalogue = self.known.catalogue
        old = catalogue.column_type(self.table, column) if catalogue else None
        work = type_change_work(old, " ".join(new))
        if reader.accept("COLLATE"):
            reader.name()
            work = heaviest([work], Work.BUILD)
        if reader.accept("USING"):
            # `USING column::type` says what PostgreSQL would do anyway.
            given = "".join(part.text for part in reader.rest).lower()
            if given != "".join([column, "::", *new]).lower():
                work = Work.REWRITE
        others = []
        if catalogue:
            targets = catalogue.referenced_tables(self.table, column=column)
            others = [(target, Lock.ACCESS_EXCLUSIVE) for target in targets]
            if targets:
                work = heaviest([work], Work.SCAN)
        return self._exclusive(work, others)

    def _drop(self) -> Cost:
        reader = self.reader
        catalogue = self.known.catalogue
        targets: list[str] = []
        if reader.accept("CONSTRAINT"):
            reader.accept("IF", "EXISTS")
            name = reader.name() or ""
            self.known.proofs.pop((self.table, name), None)
            if catalogue:
                targets = catalogue.referenced_tables(self.table, constraint=name)
        else:
            reader.accept("COLUMN")
            reader.accept("IF", "EXISTS")
            column = reader.name() or ""
            if catalogue:
                targets = catalogue.referenced_tables(self.table, column=column)
        # Dropping a foreign key drops its triggers on the other table, too.
        return self._exclusive(others=[(target, Lock.ACCESS_EXCLUSIVE) for target in targets])

    def _validate(self) -> Cost:
        name = self.reader.name() or ""
        proof = self.known.proofs.get((self.table, name))
        if proof is not None:
            self.known.proofs[self.table, name] = (proof[0], True)
        return self._weak(Work.SCAN)

    def _switch(self) -> Cost:
        self.reader.accept_any("ALWAYS", "REPLICA")
        if self.reader.accept("TRIGGER"):
            return cost(Lock.SHARE_ROW_EXCLUSIVE, Work.NONE, self.table)
        return self._exclusive()


def _locked(table: str | None, lock: Lock) -> list[tuple[str, Lock]]:
    return [(table, lock)] if table else []


def _is_not_null_column(words: tuple[Word, ...]) -> str | None:
    """Return the column of ``(column IS NOT NULL)``, None for any other condition."""
    inside = [word for word in words if not word.is_("(", ")")]
    reader = Reader(tuple(inside[1:]))
    if not (inside and inside[0].is_identifier and reader.accept("IS", "NOT", "NULL")):
        return None
    after = reader.peek()
    # NOT VALID and NO INHERIT may follow; AND and OR would make it another condition.
    return inside[0].name if after is None or after.is_("NOT", "NO") else None


def _default(definition: tuple[Word, ...]) -> tuple[Word, ...]:
    """Return the words of a column's DEFAULT."""
    reader = Reader(definition)
    if not reader.skip_to("DEFAULT"):
        return ()
    start = reader.at
    depth = 0
    while (word := reader.peek()) is not None:
        if word.is_("("):
            depth += 1
        elif word.is_(")"):
            depth -= 1
        elif depth == 0 and reader.at > start and word.is_(*COLUMN_CONSTRAINTS):
            break
        reader.at += 1
    return definition[start : reader.at]


def _is_volatile(default: tuple[Word, ...]) -> bool:
    """Whether an expression calls a function that may differ from row to row."""
    for i, word in enumerate(default[:-1]):
        if not (word.is_identifier and default[i + 1].is_("(")):
            continue
        is_cast = i >= 1 and default[i - 1].is_("::", ":")
        if not is_cast and word.name not in STEADY_FUNCTIONS:
            return True
    return False
