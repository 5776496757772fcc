"""What a migration touches, so that two of them can be told to get in each other's way or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import AlterTogetherOptionOperation
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.utils import resolve_relation
from django.db.models import F, Field, Q

from django_safemigrations.operations import BatchSQL, InsertRows, RunInBatches
from django_safemigrations.postgres.sqlwords import read_statements
from django_safemigrations.postgres.statements import classify

# Attributes in which operations name fields, indexes and constraints.
NAMING = ("name", "old_name", "new_name", "field_name", "index_name", "constraint_name")
MAPPINGS = ("renames", "names", "columns")
# Words of DDL, so that two pieces of raw SQL do not seem to share a column called "alter".
_SQL_WORDS = (
    "add all alter always analyze and any array as asc begin by cascade case cast check collate "
    "column columns comment concurrently constraint constraints create cross data default "
    "deferrable deferred delete desc distinct do drop else enable end exclude execute exists "
    "extension false first for foreign from full function generated grant group having if "
    "immediate in include index inherits initially inner insert into is join key language last "
    "left like limit lock materialized mode not null nulls of on only or order outer owner "
    "partition primary procedure references refresh rename replace restrict return returning "
    "returns row schema select sequence set share statistics storage table tablespace temporary "
    "then to trigger true truncate type union unique update use using valid validate values "
    "view when where with before after each new old"
)
SQL_WORDS = frozenset(_SQL_WORDS.split())


@dataclass(frozen=True)
class Footprint:
    """Tables, columns and names.

    Attributes:
        tables: tables it touches in any way.
        whole: tables it creates, drops or renames.
        names: columns, fields, indexes and constraints, as (table, name).
        raw: identifiers in raw SQL, whose tables are in `tables` as far as they are known.
    """

    tables: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()
    raw: frozenset[str] = frozenset()

    def __or__(self, other: Footprint) -> Footprint:
        return Footprint(
            self.tables | other.tables,
            self.whole | other.whole,
            self.names | other.names,
            self.raw | other.raw,
        )

    def touches(self, other: Footprint) -> str | None:
        """Return what both change, as ``table`` or ``table.column``; None if nothing."""
        for table in sorted(self.tables & other.tables):
            if table in self.whole or table in other.whole:
                return table
        shared = self.names & other.names
        for one, two in ((self, other), (other, self)):
            for table in sorted(two.whole):
                if table.lower() in one.raw:
                    return table
            shared |= {
                (table, name) for table, name in two.names if {table.lower(), name} <= one.raw
            }
        for table in self.tables & other.tables:
            both = (self.raw & other.raw) - {table.rpartition(".")[2].lower()} - SQL_WORDS
            shared |= {(table, name) for name in both}
        return ".".join(min(shared)) if shared else None

    def as_json(self) -> dict[str, Any]:
        """Return it as the ledger keeps it."""
        return {
            "tables": sorted(self.tables),
            "whole": sorted(self.whole),
            "names": sorted(map(list, self.names)),
            "raw": sorted(self.raw),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Footprint:
        """Read it back from the ledger."""
        return cls(
            frozenset(data.get("tables", ())),
            frozenset(data.get("whole", ())),
            frozenset((table, name) for table, name in data.get("names", ())),
            frozenset(data.get("raw", ())),
        )


def migration_footprint(migration: Migration, state: ProjectState) -> Footprint:
    """Return what a migration touches.

    Args:
        migration: the migration.
        state: the state before it; it is brought to the state after it.
    """
    found = Footprint()
    for operation in migration.operations:
        found |= _footprint(operation, migration.app_label, state)
        operation.state_forwards(migration.app_label, state)
    return found


def _footprint(operation: Operation, app_label: str, state: ProjectState) -> Footprint:
    found = Footprint()
    for nested in (
        *getattr(operation, "database_operations", ()),
        *getattr(operation, "state_operations", ()),
    ):
        found |= _footprint(nested, app_label, state)
    if isinstance(operation, operations.SeparateDatabaseAndState):
        return found
    if isinstance(operation, operations.RunSQL):
        return found | _raw(operation.sql)
    if isinstance(operation, RunInBatches):
        return found | _in_batches(operation, app_label, state)
    if isinstance(operation, operations.CreateModel):
        return found | _whole(_table_name(app_label, operation.name, operation.options))
    if isinstance(operation, operations.RenameModel):
        old = _table(state, app_label, operation.old_name)
        return found | _whole(old, _table_name(app_label, operation.new_name, {}))
    if isinstance(operation, operations.DeleteModel):
        return found | _whole(_table(state, app_label, operation.name))
    if isinstance(operation, operations.AlterModelTable):
        after = operation.table or _table_name(app_label, operation.name, {})
        return found | _whole(_table(state, app_label, operation.name), after)
    if isinstance(operation, AlterTogetherOptionOperation):
        model = state.models.get((app_label, operation.name.lower()))
        before = (model.options.get(operation.option_name) if model else None) or ()
        groups = [*before, *(operation.option_value or ())]
        return found | _named(state, app_label, operation.name, (n for g in groups for n in g))
    if isinstance(operation, operations.AlterOrderWithRespectTo):
        return found | _named(state, app_label, operation.name, ["_order"])
    if isinstance(getattr(operation, "old_table", None), str):
        return found | _renamed_table(operation)
    own_table = getattr(operation, "table", "")
    if own_table and isinstance(getattr(operation, "renames", None), dict):
        names = [f"{end}_id" for pair in operation.renames.items() for end in pair]  # type: ignore[attr-defined]
        table = own_table.replace('"', "")
        return found | Footprint(frozenset({table}), names=frozenset((table, n) for n in names))
    found |= _whole(*(name.replace('"', "") for name in getattr(operation, "whole_tables", ())))
    model_name = getattr(operation, "model_name", None)
    if isinstance(model_name, str):
        if getattr(operation, "and_relations", False):
            found |= _relations(state, (app_label, model_name.lower()), set())
        return found | _named(state, app_label, model_name, _names(operation, app_label, state))
    return found


def _in_batches(operation: RunInBatches, app_label: str, state: ProjectState) -> Footprint:
    """Return the columns that a user's data migration names, and the tables of its SQL."""
    label, name = operation.label(app_label)
    change = operation.change
    found = _named(state, label, name, change.names if change is not None else ())
    if isinstance(change, InsertRows):
        target, _, into = change.into.rpartition(".")
        found |= Footprint(frozenset({_table(state, target or label, into)}))
    if isinstance(change, BatchSQL):
        found |= _raw(change.plain_sql(_table(state, label, name)))
    return found


def _relations(
    state: ProjectState, target: tuple[str, str], seen: set[tuple[str, str, str]]
) -> Footprint:
    """Return the columns that hold a model's keys, also by way of keys that are relations."""
    found = Footprint()
    for (app_label, model_name), model in state.models.items():
        for name, field in model.fields.items():
            remote: Any = field.remote_field.model if field.remote_field else None
            if remote is None or (app_label, model_name, name) in seen:
                continue
            if resolve_relation(remote, app_label, model_name) != target:
                continue
            seen.add((app_label, model_name, name))
            if field.many_to_many:
                own = f"{_table(state, app_label, model_name)}_{name}"
                table = (field.db_table or own).replace('"', "")
                found |= Footprint(frozenset({table}), names=frozenset({(table, target[1])}))
                continue
            found |= _named(state, app_label, model_name, [name])
            if field.primary_key:
                found |= _relations(state, (app_label, model_name), seen)
    return found


def _names(operation: Operation, app_label: str, state: ProjectState) -> Iterator[str]:
    """Yield the names that an operation on a part of a model uses."""
    for attribute in NAMING:
        name = getattr(operation, attribute, None)
        if isinstance(name, str):
            yield name
    for attribute in MAPPINGS:
        mapping = getattr(operation, attribute, None)
        if isinstance(mapping, dict):
            yield from (*mapping, *mapping.values())
    field = getattr(operation, "field", None)
    if isinstance(field, Field) and field.db_column:
        yield field.db_column
    for attribute in ("index", "constraint"):
        yield from _columns_of(getattr(operation, attribute, None))
    model = state.models.get((app_label, getattr(operation, "model_name", "").lower()))
    if model is None:
        return
    named = {getattr(operation, attribute, None) for attribute in NAMING}
    for option in ("indexes", "constraints"):
        for item in model.options.get(option, ()):
            if item.name in named:
                yield item.name
                yield from _columns_of(item)


def _columns_of(item: Any) -> Iterator[str]:
    """Yield the name of an index or constraint and the fields that it reads."""
    if item is None:
        return
    yield item.name
    yield from (name.removeprefix("-") for name in getattr(item, "fields", ()))
    yield from getattr(item, "include", None) or ()
    for attribute in ("expressions", "condition"):
        value = getattr(item, attribute, None)
        for part in value if isinstance(value, list | tuple) else [value]:
            yield from _references(part[0] if isinstance(part, tuple) else part)


def _references(expression: Any) -> Iterator[str]:
    """Yield the fields that an expression reads."""
    if isinstance(expression, F):
        yield str(vars(expression)["name"]).split("__")[0]
    elif isinstance(expression, Q):
        for child in expression.children:
            if isinstance(child, tuple):
                yield str(child[0]).split("__")[0]
                yield from _references(child[1])
            else:
                yield from _references(child)
    elif hasattr(expression, "get_source_expressions"):
        for source in expression.get_source_expressions():
            yield from _references(source)


def _named(state: ProjectState, app_label: str, model_name: str, names: Iterable[str]) -> Footprint:
    table = _table(state, app_label, model_name)
    model = state.models.get((app_label, model_name.lower()))
    found: set[str] = set()
    for name in names:
        found |= {name.lower(), *_column(model, name)}
    return Footprint(tables=frozenset({table}), names=frozenset((table, name) for name in found))


def _column(model: ModelState | None, name: str) -> Iterator[str]:
    """Yield the column of a field of the model, if it has one of its own name."""
    field = model.fields.get(name) if model is not None else None
    if field is None:
        return
    yield (
        field.db_column or (f"{name}_id" if field.many_to_one or field.one_to_one else name)
    ).lower()


def _renamed_table(operation: Any) -> Footprint:
    """Return what a stage touches that renames a table, or ends the service of its old name.

    The view under the old name stands in the way of changes of its columns, but of no others.
    """
    old, new = operation.old_table.replace('"', ""), operation.new_table.replace('"', "")
    if not getattr(operation, "finishes", ""):
        return _whole(old, new)
    columns = (operation.renames.get(name, name).lower() for name in operation.columns)
    return _whole(old) | Footprint(
        tables=frozenset({new}), names=frozenset((new, column) for column in columns)
    )


def _whole(*tables: str) -> Footprint:
    return Footprint(tables=frozenset(tables), whole=frozenset(tables))


def _table(state: ProjectState, app_label: str, model_name: str) -> str:
    model = state.models.get((app_label, model_name.lower()))
    return _table_name(app_label, model_name, model.options if model is not None else {})


def _table_name(app_label: str, model_name: str, options: dict[str, Any]) -> str:
    return str(options.get("db_table") or f"{app_label}_{model_name.lower()}").replace('"', "")


def _raw(sql: Any) -> Footprint:
    texts = [part[0] if isinstance(part, list | tuple) else part for part in _as_list(sql)]
    tables: set[str] = set()
    identifiers: set[str] = set()
    for text in map(str, texts):
        for classified in classify(text):
            for table in (classified.cost.table, *(name for name, _ in classified.cost.others)):
                if table is not None:
                    tables.add(table)
        for statement in read_statements(text):
            identifiers |= {word.name.lower() for word in statement.words if word.is_identifier}
    return Footprint(tables=frozenset(tables), raw=frozenset(identifiers))


def _as_list(sql: Any) -> list[Any]:
    return list(sql) if isinstance(sql, list | tuple) else [sql]
