"""What a column has besides its type: its default, comment, tablespace, and the right to be NULL."""

from __future__ import annotations

from typing import Any

from django.db.migrations import AlterField
from django.db.models import NOT_PROVIDED

from django_safemigrations.operations import (
    AlterColumnDefault,
    Contract,
    DropNotNull,
    Expand,
    SetColumnComment,
)
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.generated import computed_by
from django_safemigrations.rewrites.chain import Chain, Plain, Step
from django_safemigrations.rewrites.context import Context

KEY_AGAIN = "Django would drop the column's foreign key and validate it anew while everybody waits"
TYPE_AGAIN = "Django would set the column's type along with its comment, and read the table for it"


def has_constraint(field: Any) -> bool:
    """Whether Django gives the field's column a foreign key constraint."""
    return bool(field.remote_field and not field.many_to_many and field.db_constraint)


def changes_only_comment(old: Any, new: Any) -> bool:
    """Whether two fields differ in ``db_comment`` and, in the database, in nothing else."""
    if old.db_comment == new.db_comment:
        return False
    commented: Any = old.clone()
    commented.db_comment = new.db_comment
    ours = frozenset({"default"})
    return _known_to_django(commented, ours) == _known_to_django(new, ours)


def touches_nothing(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that changes nothing in the database, for all that Django knows.

    Of some options it does not know that, such as ``default``: it would make a foreign key
    anew.
    """
    if not has_constraint(old) or not has_constraint(operation.field):
        return [Plain(operation)]
    if _known_to_django(old) == _known_to_django(operation.field):
        return [Plain(operation)]
    return [_expand(context, operation, "options", "options", [], KEY_AGAIN)]


def _known_to_django(
    field: Any, leaving_out: frozenset[str] = frozenset()
) -> tuple[str, list[Any], dict[str, Any]]:
    """Return what Django compares to see whether the database has to change."""
    _, path, args, options = field.deconstruct()
    # A column of another name is another matter, which Django compares apart.
    ignored = {*field.non_db_attrs, *leaving_out} - {"db_column"}
    return path, args, {k: v for k, v in options.items() if k not in ignored}


def loses_default(old: Any, new: Any) -> bool:
    """Whether a column loses its database default."""
    return bool(old.db_default is not NOT_PROVIDED and new.db_default is NOT_PROVIDED)


def default_phase(context: Context, operation: AlterField, old: Any) -> Phase:
    """Return the phase in which the state of a changed ``db_default`` changes."""
    return Phase.CONTRACT if loses_default(old, operation.field) else Phase.EXPAND


def change_default(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but change ``db_default``."""
    model, name = operation.model_name, operation.name
    stages: list[Any] = [AlterColumnDefault(model_name=model, name=name)]
    if loses_default(old, operation.field):
        return [
            Chain(
                title=f"drop the database default of {context.app_label}.{model}.{name}",
                name=f"drop_db_default_{model.lower()}_{name.lower()}",
                contract=(Contract(state_operations=[operation], database_operations=stages),),
                after="old code leaves the column out of its INSERTs and relies on the default",
            )
        ]
    if has_constraint(old):
        return [_expand(context, operation, "database default", "db_default", stages, KEY_AGAIN)]
    # SET DEFAULT is instant, and touches no row whatever the default.
    return [Plain(operation)]


def change_comment(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but change ``db_comment``."""
    stages = [SetColumnComment(model_name=operation.model_name, name=operation.name)]
    return [_expand(context, operation, "comment", "comment", stages, TYPE_AGAIN)]


def change_tablespace(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but change ``db_tablespace``: Django moves nothing."""
    where = f"{context.app_label}.{operation.model_name}.{operation.name}"
    note = (
        f"{where}: Django moves no index that is there to another tablespace, and neither does "
        "this package. REINDEX (TABLESPACE …) INDEX CONCURRENTLY … moves one while it is used."
    )
    if not has_constraint(old):
        return [Plain(operation, note)]
    return [_expand(context, operation, "tablespace", "tablespace", [], KEY_AGAIN, note)]


def relax_null(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Stage an AlterField that does nothing but let a column be NULL."""
    if not has_constraint(old):
        return [Plain(operation)]
    stages = [DropNotNull(model_name=operation.model_name, name=operation.name)]
    return [_expand(context, operation, "NULL", "nullable", stages, KEY_AGAIN)]


def _expand(
    context: Context,
    operation: AlterField,
    what: str,
    fragment: str,
    stages: list[Any],
    why: str,
    note: str = "",
) -> Chain:
    model, name = operation.model_name, operation.name
    return Chain(
        title=f"{what} of {context.app_label}.{model}.{name}",
        name=f"{fragment}_{model.lower()}_{name.lower()}",
        expand=(Expand(state_operations=[operation], database_operations=stages),),
        why=why,
        note=note,
    )


def alter_generated(context: Context, operation: AlterField, old: Any) -> list[Step]:
    """Leave a generated column to Django, and say what Django will refuse."""
    if computed_by(old) == computed_by(operation.field):
        return [Plain(operation)]
    name = f"{context.app_label}.{operation.model_name}.{operation.name}"
    return [
        Plain(
            operation,
            f"{name}: Django can't change how a column is computed; migrate ends with ValueError "
            "(DSM545). Add a generated field with the new expression under another name, switch "
            "the code over, and remove this one in the next release.",
        )
    ]
