"""Fields and models that go: first from the code, then from the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations import (
    AddField,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState
from django.db.migrations.utils import resolve_relation
from django.db.models import IntegerField

from django_safemigrations.operations import (
    Contract,
    DropColumn,
    DropTable,
    Expand,
    RelaxColumn,
    RelaxTable,
)
from django_safemigrations.rewrites import additions
from django_safemigrations.rewrites.bare import bare_field
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context, Rule
from django_safemigrations.rewrites.models import column_of, find_model, has_own_table, is_generated

OLD_CODE = "old code still reads and writes it, so it only leaves the models"
WITH_TABLE = (AlterUniqueTogether, RemoveConstraint, RemoveIndex, RemoveField)
TABLE_OPTIONS = ("db_table_comment", "db_tablespace", "indexes", "constraints", "unique_together")


def find_deletions(context: Context) -> None:
    """Note what Django takes off each model before it deletes it, and take it out of the context.

    Indexes, constraints and relations go with the table, not one by one before it; the
    deletion brings these operations back. A relation that has to be gone before another
    model is deleted stays where it is.
    """
    for position, deletion in enumerate(context.operations):
        if type(deletion) is not DeleteModel:
            continue
        model = find_model(context.state, context.app_label, deletion.name)
        key = (context.app_label, deletion.name_lower)
        if model is None or key in context.created or not has_own_table(model):
            continue
        parts = [
            operation
            for place, operation in enumerate(context.operations[:position])
            if type(operation) in WITH_TABLE
            and _model_name(operation) == model.name_lower
            and not _is_waited_for(operation, model, context.operations[place:position])
        ]
        context.deletions[id(deletion)] = parts
        context.take(parts)


def _model_name(operation: Any) -> str:
    return str(getattr(operation, "model_name", "") or operation.name).lower()


def _is_waited_for(operation: Operation, model: ModelState, later: Sequence[Operation]) -> bool:
    """Whether a relation must be gone before a model that it leads to is deleted."""
    if not isinstance(operation, RemoveField):
        return False
    field: Any = model.fields[operation.name]
    ends = [field.remote_field.model, getattr(field.remote_field, "through", None)]
    keys = [resolve_relation(end, model.app_label, model.name_lower) for end in ends if end]
    deleted = {
        (model.app_label, other.name_lower) for other in later if isinstance(other, DeleteModel)
    }
    return bool(deleted.intersection(keys))


def remove_field(operation: RemoveField, context: Context) -> list[Step]:
    """Take a field out of the models, and drop its column, or its table, in contract."""
    model = context.model(operation.model_name)
    field: Any = model.fields[operation.name]
    if any(_is_deletion(other, model) for other in context.later):
        # Its column goes with the table.
        context.gone[model.name_lower, operation.name] = _rendered(context, operation)
        return [_leave(context, operation, field)]
    note = _why_in_place(context, model, operation, field)
    if note:
        return [Plain(operation, note)]
    if field.many_to_many:
        return [_remove_many_to_many(context, operation)]
    if column_of(field, operation.name) is None:
        return [Plain(operation)]
    together = _computed_together(context, model, operation)
    context.take(together)
    return [_remove_columns(context, [operation, *together])]


def _is_deletion(operation: Operation, model: ModelState) -> bool:
    return type(operation) is DeleteModel and operation.name_lower == model.name_lower


def _why_in_place(context: Context, model: ModelState, operation: RemoveField, field: Any) -> str:
    """Say why a removal can't be staged; an empty text if it can."""
    name = f"{model.app_label}.{model.name}.{operation.name}"
    if field.primary_key:
        return (
            f"{name} is the primary key, so it is removed in place (DSM503): old code fails from "
            "then on, and no other table's reference to it survives."
        )
    for other in context.later:
        if not isinstance(other, AddField) or other.model_name_lower != model.name_lower:
            continue
        if _storage(model, other.name, other.field) == _storage(model, operation.name, field):
            return (
                f"{name} is removed and added anew under the same name (DSM521): its values are "
                "lost, and old code fails from then on. Give the new field another name, or do it "
                "in two releases, to avoid that."
            )
    return ""


def _storage(model: ModelState, name: str, field: Any) -> tuple[str, str]:
    """Return what a field occupies in the database: a column, or a table of its own."""
    if field.many_to_many:
        table = field.db_table or f"{model.options.get('db_table') or model.name_lower}_{name}"
        return "table", str(table).lower()
    return "column", str(column_of(field, name) or name).lower()


def _computed_together(
    context: Context, model: ModelState, operation: RemoveField
) -> list[RemoveField]:
    """Return the later removals of columns that PostgreSQL computes this one from, or from this one."""
    later = [
        other
        for other in context.later
        if type(other) is RemoveField
        and other.model_name_lower == model.name_lower
        and not model.fields[other.name].many_to_many
    ]
    group = [operation]
    for _ in later:
        for other in later:
            if other not in group and any(_computes(model, other, one) for one in group):
                group.append(other)
    return [other for other in later if other in group]


def _computes(model: ModelState, one: RemoveField, other: RemoveField) -> bool:
    """Whether one of two columns is computed from the other."""
    return any(
        is_generated(model.fields[result.name])
        and source.name in _sources(model.fields[result.name])
        for result, source in ((one, other), (other, one))
    )


def _sources(field: Any) -> set[str]:
    """Return the fields that a generated column's expression names."""
    found: set[str] = set()
    waiting: list[Any] = [field.expression]
    while waiting:
        node = waiting.pop()
        if hasattr(node, "name") and not hasattr(node, "get_source_expressions"):
            found.add(str(node.name).split("__")[0].removesuffix("_id"))
            found.add(str(node.name).split("__")[0])
        elif hasattr(node, "children"):
            found |= {str(c[0]).split("__")[0] for c in node.children if isinstance(c, tuple)}
            waiting += [c[1] if isinstance(c, tuple) else c for c in node.children]
        elif hasattr(node, "get_source_expressions"):
            waiting += [source for source in node.get_source_expressions() if source is not None]
    return found


def _rendered(context: Context, operation: RemoveField) -> Any:
    """Return the field as a part of a model, which knows where it leads."""
    return _rendered_field(context, context.model(operation.model_name), operation.name)


def _rendered_field(context: Context, model: ModelState, name: str) -> Any:
    field: Any = model.fields[name]
    if field.remote_field is None:
        return field
    return _model_class(context, model)._meta.get_field(name)


def _model_class(context: Context, model: ModelState) -> Any:
    # A copy: a rendered state would be rendered anew with each operation that follows.
    return context.state.clone().apps.get_model(model.app_label, model.name)


def _remove_columns(context: Context, operations: Sequence[RemoveField]) -> Chain:
    """Stage the removal of a column, with those that are computed from it."""
    model = context.model(operations[0].model_name)
    drops = [
        DropColumn(
            model_name=operation.model_name,
            name=operation.name,
            field=bare_field(_rendered(context, operation), keep_default=True),
            sources=_bare_sources(context, model, operation) or None,
        )
        for operation in operations
    ]
    # What is computed from others goes before them.
    drops.sort(key=lambda drop: not is_generated(drop.field))
    return _column_chain(context, model.name_lower, operations, drops)


def _bare_sources(
    context: Context, model: ModelState, operation: RemoveField
) -> list[tuple[str, Any]]:
    """Return the columns that a generated one is computed from, without relations."""
    field = model.fields[operation.name]
    if not is_generated(field):
        return []
    names = _sources(field)
    return [
        (name, bare_field(_rendered_field(context, model, name), keep_default=False))
        for name, other in model.fields.items()
        if name in names and not other.primary_key and not is_generated(other)
    ]


def _column_chain(
    context: Context,
    model: str,
    operations: Sequence[Operation],
    drops: Sequence[DropColumn],
) -> Chain:
    names = [drop.name for drop in drops]
    fragment = f"remove_{model}_{'_and_'.join(names)}".lower()
    return Chain(
        title=f"remove {', '.join(f'{context.app_label}.{model}.{name}' for name in names)}",
        name=fragment.replace("__", "_"),
        expand=(
            Expand(
                state_operations=list(operations),
                database_operations=[
                    RelaxColumn(model_name=drop.model_name, name=drop.name) for drop in drops
                ],
            ),
        ),
        contract=(Contract(database_operations=list(drops)),),
        why=OLD_CODE,
        after="when no code uses the column any more, it is dropped with its values",
    )


def _leave(context: Context, operation: RemoveField, field: Any) -> Chain:
    """Take a relation of a model that is deleted later out of the state alone."""
    model, name = operation.model_name, operation.name
    stage = RelaxTable if field.many_to_many else RelaxColumn
    return Chain(
        title=f"remove {context.app_label}.{model}.{name}",
        name=operation.migration_name_fragment,
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[stage(model_name=model, name=name)],
            ),
        ),
        why=f"{OLD_CODE}; it goes with the table",
    )


def _remove_many_to_many(context: Context, operation: RemoveField) -> Step:
    field = _rendered(context, operation)
    through = field.remote_field.through._meta
    if not through.auto_created:
        # The model in between is a model of its own.
        return Plain(operation)
    model, name = operation.model_name, operation.name
    return Chain(
        title=f"remove {context.app_label}.{model}.{name}",
        name=f"remove_{model}_{name}".lower(),
        expand=(
            Expand(
                state_operations=[operation],
                database_operations=[RelaxTable(model_name=model, name=name)],
            ),
        ),
        contract=(Contract(database_operations=[_drop_between(model, field)]),),
        why=OLD_CODE,
        after="when no code uses its table any more, it is dropped with its rows",
    )


def _drop_between(model: str, field: Any) -> DropTable:
    """Return the stage that drops the table of a many-to-many field."""
    meta = field.remote_field.through._meta
    options: dict[str, Any] = {"db_table": meta.db_table}
    if meta.db_tablespace:
        options["db_tablespace"] = meta.db_tablespace
    options["unique_together"] = {tuple(names) for names in meta.unique_together}
    fields = [(f.name, bare_field(f, keep_default=False)) for f in meta.local_fields]
    return DropTable(model_name=model, name=field.name, fields=fields, options=options)


def delete_model(operation: DeleteModel, context: Context) -> list[Step]:
    """Take a model out of the models, and drop its tables in contract."""
    state = context.model(operation.name)
    model = _model_class(context, state)
    name = operation.name
    gone = {field: found for (of, field), found in context.gone.items() if of == state.name_lower}
    betweens = [
        field
        for field in (*model._meta.local_many_to_many, *gone.values())
        if field.many_to_many and field.remote_field.through._meta.auto_created
    ]
    relaxed = [f for f in betweens if f.name not in gone]
    return [
        Chain(
            title=f"delete {context.app_label}.{name}",
            name=operation.migration_name_fragment,
            expand=(
                Expand(
                    state_operations=[*context.deletions.get(id(operation), []), operation],
                    database_operations=[
                        RelaxTable(model_name=name),
                        *(RelaxTable(model_name=name, name=field.name) for field in relaxed),
                    ],
                ),
            ),
            contract=(
                Contract(
                    database_operations=[
                        *(_drop_between(name, field) for field in betweens),
                        _drop_own(state, model, gone),
                    ]
                ),
            ),
            why=OLD_CODE,
            after="when no code uses the table any more, it is dropped with its rows",
        )
    ]


def _drop_own(state: ModelState, model: Any, gone: dict[str, Any]) -> DropTable:
    """Return the stage that drops a model's table."""
    meta = model._meta
    fields = [
        (field.name, bare_field(field, keep_default=False))
        for field in (*meta.local_fields, *meta.private_fields)
        if field.name != "_order" and not field.many_to_many and hasattr(field, "deconstruct")
    ]
    fields += [
        (name, bare_field(field, keep_default=False))
        for name, field in gone.items()
        if not field.many_to_many
    ]
    if meta.order_with_respect_to:
        fields.append(("_order", IntegerField()))
    options: dict[str, Any] = {"db_table": meta.db_table}
    options.update({name: state.options[name] for name in TABLE_OPTIONS if state.options.get(name)})
    return DropTable(model_name=state.name, fields=fields, options=options)


def unset_order(operation: AlterOrderWithRespectTo, context: Context) -> list[Step]:
    """Drop the column ``_order`` in contract."""
    model = context.model(operation.name)
    if operation.order_with_respect_to or not model.options.get("order_with_respect_to"):
        added = additions.RULES.get(AlterOrderWithRespectTo)
        return [Plain(operation)] if added is None else added(operation, context)
    drop = DropColumn(model_name=operation.name, name="_order", field=IntegerField(default=0))
    return [_column_chain(context, model.name_lower, [operation], [drop])]


RULES: dict[type, Rule] = {
    RemoveField: remove_field,
    DeleteModel: delete_model,
    AlterOrderWithRespectTo: unset_order,
}
