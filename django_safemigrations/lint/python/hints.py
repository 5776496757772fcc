"""What to write instead, with the user's own names, ready to paste."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from django_safemigrations.lint.python.events import Event, Kind
from django_safemigrations.lint.python.values import Model

IMPORT = "from django_safemigrations.operations import "


def in_batches(event: Event, app_label: str) -> str:
    """Return the operation that does in batches what an event does at once."""
    model = event.model
    name = _name(model, app_label)
    if (
        event.kind is Kind.UPDATE
        and isinstance(event.node, ast.Call)
        and not event.loops
        and (written := _update(event.node, name)) is not None
    ):
        return written
    if event.kind is Kind.DELETE and isinstance(event.node, ast.Call) and not event.loops:
        where = _where(event.node)
        inside = "" if where is None else f"where={where}" if where else ""
        imports = "DeleteRows, RunInBatches"
        head = f"{IMPORT}{imports}\n"
        return _indented(
            "Put it into a migration of its own with `atomic = False`:",
            f"{head}RunInBatches({name!r}, DeleteRows({inside}), RunInBatches.noop)",
        )
    if event.kind is Kind.INSERT:
        return (
            "Insert in batches, in a migration of its own with `atomic = False`: InsertRows with "
            "RunInBatches (django_safemigrations.operations), or bulk_create of slices by primary "
            "key, each with a transaction of its own."
        )
    source = event.innermost_whole.model if event.innermost_whole is not None else model
    fields = list(event.fields) or ["field"]
    listed = ", ".join(repr(field) for field in fields if field.isidentifier())
    row = _variable(source or model)
    body = "\n".join(f"    {row}.{field} = …" for field in fields if field.isidentifier())
    return _indented(
        "Write it as a function of one row, in a migration of its own with `atomic = False`:",
        f"{IMPORT}RunInBatches, row_function\n"
        f"@row_function(writes=[{listed}])\n"
        f"def change({row}):\n{body}\n    return {row}\n"
        f"RunInBatches({_name(source or model, app_label)!r}, change, RunInBatches.noop)",
    )


def _indented(first: str, code: str) -> str:
    return first + "\n" + "\n".join(f"    {line}" for line in code.splitlines())


def _name(model: Model | None, app_label: str) -> str:
    if model is None or not model.name:
        return "model"
    name = model.name
    return name if model.label in (app_label, "") else f"{model.label}.{name}"


def _variable(model: Model | None) -> str:
    return model.name if model is not None and model.name.isidentifier() else "row"


def _update(node: ast.Call, name: str) -> str | None:
    values = [keyword for keyword in node.keywords if keyword.arg is not None]
    if not values or len(values) != len(node.keywords):
        return None
    written = ", ".join(f'"{keyword.arg}": {ast.unparse(keyword.value)}' for keyword in values)
    where = _where(node)
    if where is None:
        return None
    condition = f", where={where}" if where else ""
    return _indented(
        "Put it into a migration of its own with `atomic = False`:",
        f"{IMPORT}RunInBatches, UpdateRows\n"
        f"RunInBatches({name!r}, UpdateRows({{{written}}}{condition}), RunInBatches.noop)",
    )


def _where(node: ast.Call) -> str | None:
    """Return the condition of a chain of filters as a Q; None if it can't be told."""
    parts: list[str] = []
    current: ast.expr = node.func
    while isinstance(current, ast.Attribute):
        inner = current.value
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            arguments = [ast.unparse(part) for part in [*inner.args]]
            arguments += [
                f"{keyword.arg}={ast.unparse(keyword.value)}"
                for keyword in inner.keywords
                if keyword.arg is not None
            ]
            called = inner.func.attr
            if called == "filter":
                parts.insert(0, f"Q({', '.join(arguments)})")
            elif called == "exclude":
                parts.insert(0, f"~Q({', '.join(arguments)})")
            elif called not in ("all", "using", "order_by", "db_manager"):
                return None
            current = inner.func
        elif isinstance(inner, ast.Attribute):
            current = inner
        elif isinstance(inner, ast.Name):
            return None if inner.id in ("qs", "queryset") else " & ".join(parts)
        else:
            return None
    return None


def lines(events: Sequence[Event]) -> str:
    """Return where else the same was seen; empty if nowhere."""
    others = [event for event in events[1:] if (event.line, event.where) != _place(events[0])]
    places = list(dict.fromkeys(event.where or str(event.line) for event in others))
    if not places:
        return ""
    shown = ", ".join(places[:5]) + (" …" if len(places) > 5 else "")
    return f" The same on line{'s' if len(places) > 1 else ''} {shown}."


def _place(event: Event) -> tuple[int, str]:
    return event.line, event.where
