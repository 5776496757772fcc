"""Which models a plan touches: by what it changes in the state, and by what its operations name."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.operations import (
    CreateModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.models import ModelOperation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.postgres.sqlwords import Kind, read_statements
from django_safemigrations.rehearsal.generations.pairs import Key, Pairs

COMPARED = (
    "constraints",
    "db_table",
    "indexes",
    "managed",
    "order_with_respect_to",
    "unique_together",
)
"""Options of a model that the database knows of."""


def touched_models(
    old: ProjectState, new: ProjectState, migrations: Sequence[Migration], pairs: Pairs
) -> set[Key]:
    """Return the keys of the models, as old or new code calls them, that a plan touches."""
    found = set(_changed(old, new, pairs))
    known = {*old.models, *new.models}
    tables = _tables(old) | _tables(new)
    for migration in migrations:
        for operation in _all_operations(migration.operations):
            found |= {
                key for key in _named(operation, migration.app_label, known, tables) if key in known
            }
    # Under its other name, too.
    found |= {pairs.models[key] for key in found if key in pairs.models}
    back = pairs.reversed()
    return found | {back.models[key] for key in found if key in back.models}


def _changed(old: ProjectState, new: ProjectState, pairs: Pairs) -> Iterator[Key]:
    for first, model in old.models.items():
        second = pairs.models.get(first)
        if second is None:
            yield first
        elif first != second or _of_database(model) != _of_database(new.models[second]):
            yield first
            yield second
    paired = set(pairs.models.values())
    yield from (key for key in new.models if key not in paired)


def _of_database(model: ModelState) -> Any:
    fields = {}
    for name, field in model.fields.items():
        _, path, args, kwargs = field.deconstruct()
        fields[name] = path, args, kwargs
    return fields, {name: model.options.get(name) for name in COMPARED}


def _all_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _all_operations(operation.state_operations)
            yield from _all_operations(operation.database_operations)
        else:
            yield operation


def _tables(state: ProjectState) -> set[tuple[str, Key]]:
    found = set()
    for model in state.apps.get_models(include_auto_created=True):
        # Of a many-to-many table, the model that has the field.
        owner: Any = model._meta.auto_created or model
        table = model._meta.db_table.rpartition(".")[2].strip('"')
        found.add((table, (owner._meta.app_label, owner._meta.model_name)))
    return found


def _named(
    operation: Any, app: str, known: set[Key], tables: set[tuple[str, Key]]
) -> Iterator[Key]:
    if isinstance(operation, RunSQL):
        words = set(_words_of_sql(operation.sql))
        yield from (key for table, key in tables if table in words)
        return
    if isinstance(operation, RunPython):
        yield from _in_python(operation.code, app, known)
        return
    names = [getattr(operation, "model_name", None)]
    if isinstance(operation, ModelOperation):
        names = [getattr(operation, n, None) for n in ("name", "old_name", "new_name")]
    for name in names:
        if isinstance(name, str):
            label, _, model = name.rpartition(".")
            yield label or app, model.lower()
    fields = [getattr(operation, "field", None)]
    if isinstance(operation, CreateModel):
        fields += [field for _, field in operation.fields]
    for field in fields:
        remote = getattr(getattr(field, "remote_field", None), "model", None)
        if isinstance(remote, str):
            label, _, model = remote.rpartition(".")
            yield label or app, model.lower()


def _words_of_sql(sql: Any) -> Iterator[str]:
    parts = [sql] if isinstance(sql, str) else list(sql or ())
    for part in parts:
        text = part if isinstance(part, str) else part[0]
        yield from _identifiers(str(text), depth=2)


def _identifiers(text: str, depth: int) -> Iterator[str]:
    for statement in read_statements(text):
        for word in statement.words:
            if word.is_identifier:
                yield word.name
            elif word.kind is Kind.STRING and depth:
                # The body of a function or a DO block, or EXECUTE's text.
                yield from _identifiers(_inside(word.text), depth - 1)


def _inside(constant: str) -> str:
    """Return what stands in a string constant, which may be SQL itself."""
    if constant.startswith("$"):
        tag = constant[: constant.index("$", 1) + 1]
        return constant.removeprefix(tag).removesuffix(tag)
    return constant.lstrip("eE").strip("'").replace("''", "'")


def _in_python(code: Any, app: str, known: set[Key]) -> Iterator[Key]:
    """Yield the models whose app and name stand in a function as strings, or all of its app."""
    strings = {text.lower() for text in _strings(code, depth=3)}
    found = [
        key
        for key in known
        if ".".join(key) in strings or (key[0].lower() in strings and key[1] in strings)
    ]
    yield from found or (key for key in known if key[0] == app)


def _strings(function: Any, depth: int) -> Iterator[str]:
    code = getattr(function, "__code__", None)
    if code is not None:
        yield from _constants(code)
    if code is None or not depth:
        return
    everything = getattr(function, "__globals__", {})
    for name in code.co_names:
        helper = everything.get(name)
        if isinstance(helper, str):
            yield helper
        elif isinstance(helper, types.FunctionType) and helper.__module__ == function.__module__:
            yield from _strings(helper, depth - 1)


def _constants(code: types.CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, types.CodeType):
            yield from _constants(constant)
