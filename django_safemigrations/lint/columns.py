"""What PostgreSQL column a field of an unrendered ProjectState has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import models
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.lint.tables import (
    is_foreign_key,
    postgres,
    primary_key_name,
    related_model,
    target_field_name,
)


@dataclass(frozen=True)
class Column:
    """A column as Django would create it.

    Attributes:
        name: of the column.
        type: PostgreSQL's type, such as ``varchar(20)``; None if it can't be known.
        collation: explicit collation, or None.
        check: condition of the CHECK that the field type brings (PositiveIntegerField), or None.
    """

    name: str
    type: str | None
    collation: str | None
    check: str | None


def column(state: ProjectState, model: ModelState, name: str, field: Any) -> Column | None:
    """Return the column of a field under a name; None for a field without one."""
    if field.many_to_many:
        return None
    bound = field.clone()
    bound.set_attributes_from_name(name)
    if bound.column is None:
        return None
    if is_foreign_key(field):
        kind, collation = _target_type(state, model, field, depth=0)
        return Column(bound.column, kind, collation, None)
    parameters = bound.db_parameters(connection=postgres())
    if parameters["type"] is None:
        return None
    return Column(
        name=bound.column,
        type=parameters["type"],
        collation=parameters.get("collation"),
        check=type_check(field),
    )


def column_name(name: str, field: Any) -> str | None:
    """Return only the name of a field's column; None for a field without one."""
    if field.many_to_many:
        return None
    if field.db_column:
        return str(field.db_column)
    bound = field.clone()
    bound.set_attributes_from_name(name)
    return str(bound.column) if bound.column is not None else None


def type_check(field: Any) -> str | None:
    """Return the CHECK that a field's type brings, with the column's name left out."""
    templates: dict[str, str] = postgres().data_type_check_constraints
    template = templates.get(field.get_internal_type())
    if template is None:
        return None
    return template % {**field.db_type_parameters(postgres()), "column": "column"}


def _target_type(
    state: ProjectState, model: ModelState, field: Any, depth: int
) -> tuple[str | None, str | None]:
    target = related_model(state, model, field)
    if target is None:
        return _type_in_registry(model, field), None
    name = target_field_name(target, field)
    pointed_at: Any = target.fields.get(name) if name else None
    if pointed_at is None or depth > 10:
        return None, None
    if is_foreign_key(pointed_at):
        return _target_type(state, target, pointed_at, depth + 1)
    collation = getattr(pointed_at, "db_collation", None)
    return pointed_at.rel_db_type(connection=postgres()), collation


def _type_in_registry(model: ModelState, field: Any) -> str | None:
    """Look a target up among the models of apps that have no migrations."""
    to = field.remote_field.model
    if not isinstance(to, str):
        return None
    label = to if "." in to else f"{model.app_label}.{to}"
    try:
        target = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    pointed_at: Any = target._meta.pk
    explicit = field.to_fields[0] if field.to_fields else None
    if explicit:
        pointed_at = target._meta.get_field(explicit)
    return pointed_at.rel_db_type(connection=postgres()) if pointed_at is not None else None


def field_changes(state: ProjectState, model: ModelState, name: str, old: Any, new: Any) -> bool:
    """Return whether Django's schema editor would do anything for an AlterField.

    Follows ``BaseDatabaseSchemaEditor._field_should_be_altered``: options that don't concern
    the database, and a target that keeps its table, are no change.
    """
    if column_name(name, old) != column_name(name, new):
        return True
    return changed_options(state, model, old, new) != set()


def changed_options(state: ProjectState, model: ModelState, old: Any, new: Any) -> set[str]:
    """Return the names of the options, known to the database, in which two fields differ.

    A changed class counts as ``"class"`` and positional arguments as ``"arguments"``.
    """
    _, old_path, old_args, old_options = old.deconstruct()
    _, new_path, new_args, new_options = new.deconstruct()
    ignored: set[str] = set()
    if (
        not new.many_to_many
        and old.remote_field
        and new.remote_field
        and same_target(state, model, old, new)
    ):
        ignored.add("to")
    # Each field's own, as in Django: a database-level on_delete is known to the database.
    old_options = {k: v for k, v in old_options.items() if k not in old.non_db_attrs}
    new_options = {k: v for k, v in new_options.items() if k not in new.non_db_attrs}
    for field, options in ((old, old_options), (new, new_options)):
        # A rendered field, which is what Django compares, leaves out that it points to the key.
        if options.get("to_field") and _points_to_key(state, model, field):
            del options["to_field"]
    missing = object()
    changed = {
        option
        for option in {*old_options, *new_options} - ignored
        if old_options.get(option, missing) != new_options.get(option, missing)
    }
    if old_path != new_path:
        changed.add("class")
    if list(old_args) != list(new_args):
        changed.add("arguments")
    return changed


def _points_to_key(state: ProjectState, model: ModelState, field: Any) -> bool:
    target = related_model(state, model, field)
    return target is not None and field.to_fields[0] == primary_key_name(target)


def same_target(state: ProjectState, model: ModelState, old: Any, new: Any) -> bool:
    """Return whether two relations point to the same table."""
    old_target = related_model(state, model, old)
    new_target = related_model(state, model, new)
    if old_target is None and new_target is None:
        return str(old.remote_field.model).lower() == str(new.remote_field.model).lower()
    return old_target is new_target


def is_text(kind: str | None) -> bool:
    """Return whether Django gives an index on a column of this type a second, ``_like`` index."""
    return kind is not None and kind.startswith(("varchar", "text")) and "[" not in kind


def allows_null(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's column is nullable."""
    return bool(field.null) and not field.primary_key
