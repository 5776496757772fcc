"""What managers, querysets and rows do when they are called."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.events import Kind
from django_safemigrations.lint.python.outside import FILES
from django_safemigrations.lint.python.queries import (
    QUERIES,
    Arguments,
    Keywords,
    check_names,
    strings,
)
from django_safemigrations.lint.python.values import (
    NO_MODEL,
    UNKNOWN,
    Bound,
    Extent,
    Form,
    Model,
    Part,
    Row,
    Rows,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader

MANAGERS = frozenset({"objects", "_default_manager", "_base_manager", "all_objects"})
ROW_METHODS = frozenset(
    {"save", "delete", "refresh_from_db", "full_clean", "clean_fields", "save_base", "asave"}
)
FILE_METHODS = frozenset({"save", "delete", "open", "read", "chunks", "size"})


def manager(reader: Reader, model: Model) -> Rows:
    """Return all rows of a model."""
    extent = Extent.FEW if reader.facts.is_small(model) else Extent.WHOLE
    return Rows(model, extent, born=len(reader.loops), manager=True)


def model_attribute(reader: Reader, node: ast.expr, model: Model, name: str) -> Value:
    """Return what an attribute of a model class is."""
    if name in reader.patched:
        return UNKNOWN
    if name.startswith("__") or name in ("DoesNotExist", "MultipleObjectsReturned", "_meta"):
        return UNKNOWN
    if name in MANAGERS or name.endswith("objects"):
        if not model.historical:
            reader.note(Kind.REAL, node, model=model)
        elif lacking := reader.facts.lacks_manager(model, name):
            reader.note(Kind.LACKS, node, model=model, detail=lacking, fields=(name,))
        return manager(reader, model)
    if not model.historical:
        return UNKNOWN if name[:1].isupper() else Bound(model, name)
    if lacking := reader.facts.lacks_manager(model, name):
        reader.note(Kind.LACKS, node, model=model, detail=lacking, fields=(name,))
        return UNKNOWN
    return UNKNOWN if name[:1].isupper() else Bound(model, name)


def model_call(reader: Reader, node: ast.Call, bound: Bound, model: Model) -> Value:
    """Follow a call of something that belongs to a model class."""
    if not model.historical:
        reader.note(Kind.REAL, node, model=model)
    return Row(model) if bound.name.startswith("from_") else manager(reader, model)


def construct(reader: Reader, node: ast.Call, model: Model, keywords: Keywords) -> Value:
    """Follow how a row is made in memory."""
    if not model.historical:
        reader.note(Kind.REAL, node, model=model)
    check_names(reader, node, Rows(model), keywords)
    return Row(model, fresh=True, names=frozenset(keywords))


def row_attribute(reader: Reader, node: ast.expr, row: Row, name: str) -> Value:
    """Return what an attribute of a row is; reading a relation takes a query."""
    if name in reader.patched:
        return UNKNOWN
    if name in ROW_METHODS:
        return Bound(row, name)
    model, facts = row.model, reader.facts
    if name in row.names or "*" in row.names:
        return Part(row, name, row.looped)
    if model.historical and (lacking := facts.lacks(model, name)):
        reader.note(Kind.LACKS, node, model=model, detail=lacking, fields=(name,))
        return UNKNOWN
    if facts.is_foreign_key(model, name):
        related = facts.related(model, name) or NO_MODEL
        if not row.fresh and not row.joined & {name, "*"}:
            reader.note(Kind.READ, node, model=related, detail="relation", using=True)
        joined = frozenset(
            inner
            for known in row.joined
            if (inner := known.partition("__")[2]) and known.startswith(f"{name}__")
        )
        return Row(related, row.looped, joined=joined | (row.joined & {"*"}))
    return Part(row, name, row.looped)


def row_call(
    reader: Reader, node: ast.Call, row: Row, name: str, args: Arguments, keywords: Keywords
) -> Value:
    """Follow a call of a row's method."""
    using = row.using or "using" in keywords
    if name in ("save", "asave", "save_base"):
        if row.fresh or "force_insert" in keywords:
            reader.note(Kind.INSERT, node, model=row.model, using=using)
        elif "update_fields" in keywords:
            named = keywords["update_fields"]
            check_names(reader, node, Rows(row.model, names=row.names), strings([named]))
            reader.note(Kind.UPDATE, node, model=row.model, using=using, detail="row")
        else:
            reader.note(
                Kind.SAVE,
                node,
                model=row.model,
                using=using,
                fields=tuple(sorted(row.names)),
                detail="looped" if row.looped else "",
            )
    elif name == "delete":
        reader.note(Kind.DELETE, node, model=row.model, using=using)
    elif name == "refresh_from_db":
        reader.note(Kind.READ, node, model=row.model, using=using)
    return UNKNOWN


def part_call(
    reader: Reader, node: ast.Call, part: Part, name: str, args: Arguments, keywords: Keywords
) -> Value:
    """Follow a call of something that was read from a row: a related manager, a file, a value."""
    row = part.row
    if row is None:
        return part
    if name in FILE_METHODS and reader.facts.is_file(row.model, part.name):
        reader.note(Kind.WAIT, node, model=row.model, detail=FILES)
        return UNKNOWN
    related = reader.facts.related(row.model, part.name) or NO_MODEL
    if name in ("add", "set", "remove", "clear"):
        kind = Kind.INSERT if name == "add" else Kind.DELETE
        reader.note(kind, node, model=related, using=row.using, detail="reentrant relation")
        return UNKNOWN
    if name in ROW_METHODS and not args:
        # A row behind a relation, of which the state says nothing.
        return row_call(reader, node, Row(related, row.looped), name, args, keywords)
    if name in QUERIES:
        joined = bool(row.joined & {part.name, "*"}) and name == "all"
        form = Form.LIST if joined else Form.QUERY
        rows = Rows(related, Extent.FEW, form, born=len(reader.loops), using=True, filtered=True)
        return rows_call(reader, node, rows, name, args, keywords)
    return Part(None, looped=part.looped)


def rows_call(
    reader: Reader, node: ast.Call, rows: Rows, name: str, args: Arguments, keywords: Keywords
) -> Value:
    """Follow a call of a manager's or queryset's method."""
    query = QUERIES.get(name)
    if query is not None:
        return query(reader, node, rows, args, keywords)
    if rows.form is Form.LIST:
        return UNKNOWN
    if rows.model.historical and (lacking := reader.facts.lacks_query(rows.model, "", name)):
        reader.note(Kind.LACKS, node, model=rows.model, detail=lacking, fields=(name,))
    return replace(rows, manager=False, filtered=True)
