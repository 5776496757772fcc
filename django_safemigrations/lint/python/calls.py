"""What a call does, by what is called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python import builtin, orm
from django_safemigrations.lint.python.events import Kind
from django_safemigrations.lint.python.expressions import evaluate
from django_safemigrations.lint.python.outside import QUEUE, QUEUED, what_it_waits_for
from django_safemigrations.lint.python.targets import gather
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Apps,
    Bound,
    Connection,
    Constant,
    Cursor,
    Editor,
    Extent,
    Function,
    Instance,
    Listing,
    Model,
    Pages,
    Part,
    Row,
    Rows,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader
    from django_safemigrations.lint.python.scope import Scope

DDL = frozenset(
    {
        "create_model",
        "delete_model",
        "add_field",
        "alter_field",
        "remove_field",
        "add_index",
        "remove_index",
        "rename_index",
        "add_constraint",
        "remove_constraint",
        "alter_db_table",
        "alter_unique_together",
        "alter_index_together",
    }
)
TODAYS = {
    "django.contrib.auth.get_user_model": "get_user_model()",
    "django.core.management.call_command": "call_command()",
}
RUNS_SQL = frozenset({"execute", "executemany", "callproc", "copy_expert", "copy_from", "copy"})


def call(reader: Reader, node: ast.Call, value: Value, scope: Scope) -> Value:
    """Follow a call of a value."""
    args = [evaluate(reader, argument, scope) for argument in node.args]
    keywords: dict[str, Value] = {}
    for keyword in node.keywords:
        given = evaluate(reader, keyword.value, scope)
        if keyword.arg is not None:
            keywords[keyword.arg] = given
    if isinstance(value, Function):
        result = reader.enter(value, args, keywords, node.lineno)
        name = getattr(value.node, "name", "")
        return builtin.guess(name, args, result) if result == UNKNOWN else result
    if isinstance(value, Model):
        return orm.construct(reader, node, value, keywords)
    if isinstance(value, Bound):
        return _method(reader, node, value, args, keywords, scope)
    if isinstance(value, Instance):
        return replace(value, is_class=False) if value.is_class else UNKNOWN
    if isinstance(value, Unknown):
        return _named(reader, node, value, args, keywords, scope)
    return UNKNOWN


def _named(
    reader: Reader,
    node: ast.Call,
    value: Unknown,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
    scope: Scope,
) -> Value:
    """Follow a call of which only the name is known."""
    path = value.path
    known = builtin.FUNCTIONS.get(path) or builtin.FUNCTIONS.get(path.rpartition(".")[2])
    if known is not None:
        return known(reader, node, args, keywords, scope)
    if path in TODAYS:
        if path.endswith("get_user_model"):
            return Model("", "user", historical=False, shown="get_user_model()")
        reader.note(Kind.REAL, node, detail=_command(args))
        return UNKNOWN
    if waits := what_it_waits_for(path):
        reader.note(Kind.WAIT, node, detail=waits)
        return UNKNOWN
    if path.rpartition(".")[2] in QUEUED and "." in path:
        reader.note(Kind.WAIT, node, detail=QUEUE)
        return UNKNOWN
    if path.startswith("django."):
        return UNKNOWN
    if any(isinstance(given, Apps | Editor) for given in [*args, *keywords.values()]):
        reader.note(Kind.UNREAD, node, detail=path)
    return builtin.guess(path.rpartition(".")[2], args, UNKNOWN)


def _command(args: Sequence[Value]) -> str:
    name = args[0].value if args and isinstance(args[0], Constant) else "…"
    return f"call_command({name!r})"


def _method(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
    scope: Scope,
) -> Value:
    owner, name = bound.owner, bound.name
    handler = METHODS.get(type(owner))
    if isinstance(owner, Rows):
        return orm.rows_call(reader, node, owner, name, args, keywords)
    if isinstance(owner, Row):
        return orm.row_call(reader, node, owner, name, args, keywords)
    if isinstance(owner, Part):
        return orm.part_call(reader, node, owner, name, args, keywords)
    if isinstance(owner, Model):
        return orm.model_call(reader, node, bound, owner)
    if isinstance(owner, Function):
        if name in QUEUED:
            reader.note(Kind.WAIT, node, detail=QUEUE)
        return UNKNOWN
    if handler is not None:
        return handler(reader, node, bound, args, keywords, scope)
    return UNKNOWN


def _apps(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
    _scope: Scope,
) -> Value:
    historical = isinstance(bound.owner, Apps) and bound.owner.historical
    if bound.name in ("get_model", "get_registered_model"):
        names = [
            args[0] if args else keywords.get("app_label", UNKNOWN),
            args[1] if len(args) > 1 else keywords.get("model_name", UNKNOWN),
        ]
        text = [given.value if isinstance(given, Constant) else "" for given in names]
        label, name = (part if isinstance(part, str) else "" for part in text)
        if label and not name and label.count(".") == 1:
            label, _, name = label.partition(".")
        if not label or not name:
            return Model("", "", historical, name or "the model")
        model = Model(label.lower(), name.lower(), historical, name)
        if historical and (why := reader.facts.is_absent(model)):
            reader.note(Kind.ABSENT, node, model=model, detail=why)
        return model
    if bound.name in ("get_models", "get_app_configs"):
        return Listing(Model("", "", historical, "the model"), Extent.FEW, len(reader.loops))
    if bound.name == "get_app_config":
        return bound.owner
    if bound.name == "is_installed":
        reader.tolerant += 1
    return UNKNOWN


def _editor(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    _keywords: Mapping[str, Value],
    _scope: Scope,
) -> Value:
    if bound.name == "execute":
        several = len(args) > 1
        reader.note(Kind.SQL, node, sql=_text(args), parameters=several, using=True)
    elif bound.name in DDL:
        reader.note(Kind.DDL, node, detail=bound.name)
    return UNKNOWN


def _connection(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    _args: Sequence[Value],
    _keywords: Mapping[str, Value],
    _scope: Scope,
) -> Value:
    owner = bound.owner
    given = isinstance(owner, Connection) and owner.given
    if bound.name in ("cursor", "schema_editor"):
        if not given:
            reader.note(Kind.OTHER_CONNECTION, node)
        return Cursor(given) if bound.name == "cursor" else Editor()
    return UNKNOWN


def _cursor(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    _keywords: Mapping[str, Value],
    _scope: Scope,
) -> Value:
    if bound.name in RUNS_SQL:
        several = len(args) > 1
        reader.note(Kind.SQL, node, sql=_text(args), parameters=several, using=True)
    return Part(None) if bound.name.startswith("fetch") else UNKNOWN


def _text(args: Sequence[Value]) -> str | None:
    value = args[0] if args else None
    return value.value if isinstance(value, Constant) and isinstance(value.value, str) else None


def _listing(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    _keywords: Mapping[str, Value],
    scope: Scope,
) -> Value:
    owner, name = bound.owner, bound.name
    target = node.func.value if isinstance(node.func, ast.Attribute) else None
    if target is not None and name in ("append", "add", "insert", "appendleft", "push"):
        gather(reader, target, args[-1] if args else UNKNOWN, scope)
        return UNKNOWN
    if target is not None and name in ("extend", "update"):
        given = args[0] if args else UNKNOWN
        if isinstance(given, Listing):
            gather(reader, target, given.items, scope, given.extent)
        elif isinstance(given, Rows):
            item: Value = Part(None) if given.values else Row(given.model)
            gather(reader, target, item, scope, given.extent)
        return UNKNOWN
    if name == "setdefault" and isinstance(owner, Listing):
        gather(reader, target or node, args[-1] if args else UNKNOWN, scope, grouped=True)
        return UNKNOWN
    if isinstance(owner, Listing):
        if name in ("items",):
            from django_safemigrations.lint.python.values import Tuple

            key = Part(None, looped=not owner.grouped)
            return replace(owner, items=Tuple((key, owner.items)))
        if name in ("values", "copy"):
            return owner
        if name == "keys":
            return replace(owner, items=Part(None, looped=not owner.grouped))
        if name in ("get", "pop", "popleft"):
            return owner.items if isinstance(owner.items, Row) else UNKNOWN
    return UNKNOWN


def _constant(
    reader: Reader,
    node: ast.Call,
    bound: Bound,
    args: Sequence[Value],
    keywords: Mapping[str, Value],
    scope: Scope,
) -> Value:
    owner = bound.owner
    if isinstance(owner, Constant) and isinstance(owner.value, list | dict | set):
        return _listing(reader, node, Bound(Listing(UNKNOWN), bound.name), args, keywords, scope)
    return UNKNOWN


def _pages(
    reader: Reader,
    _node: ast.Call,
    bound: Bound,
    _args: Sequence[Value],
    _keywords: Mapping[str, Value],
    _scope: Scope,
) -> Value:
    owner = bound.owner
    if isinstance(owner, Pages) and bound.name in ("page", "get_page"):
        return replace(
            owner.rows, extent=min(owner.rows.extent, Extent.PART), born=len(reader.loops)
        )
    return UNKNOWN


Method = Callable[["Reader", ast.Call, Bound, Sequence[Value], Mapping[str, Value], "Scope"], Value]

METHODS: dict[type[Value], Method] = {
    Apps: _apps,
    Editor: _editor,
    Connection: _connection,
    Cursor: _cursor,
    Listing: _listing,
    Constant: _constant,
    Pages: _pages,
}
