"""Proof that staged migrations end at the models that the plain ones end at."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.exceptions import UnsupportedChange

# Other options never reach the table; other packages keep objects there that can't be compared.
OF_THE_TABLE = ("db_table", "db_table_comment", "db_tablespace", "order_with_respect_to")


class _Migration(Protocol):
    app_label: str
    operations: list[Operation]


def own_copy(state: ProjectState) -> ProjectState:
    """Return a copy whose fields are its own: RenameField changes those of its state in place."""
    found = state.clone()
    for model in found.models.values():
        model.fields = {name: field.clone() for name, field in model.fields.items()}
    return found


def refuse_another_end(
    state: ProjectState, plain: Sequence[_Migration], staged: Sequence[_Migration]
) -> None:
    """Raise unless two ways from a state end at the same models.

    A chain puts off some changes of the models to its contract, after those of other
    chains. Should that ever not fit together, nothing wrong may be written.

    Args:
        state: the state before both; left as it is.
        plain: Django's migrations, each after those it depends on.
        staged: what became of them, in the same way.

    Raises:
        UnsupportedChange: names the models and the way out.
    """
    wanted = _end(state, plain)
    try:
        found = _end(state, staged)
    except Exception as error:
        raise UnsupportedChange(_message([], f"{type(error).__name__}: {error}")) from error
    different = sorted(
        f"{app_label}.{name}"
        for app_label, name in {*wanted.models, *found.models}
        if _content(wanted.models.get((app_label, name)))
        != _content(found.models.get((app_label, name)))
    )
    if different:
        raise UnsupportedChange(_message(different, "they would end at other models"))


def _message(different: Iterable[str], why: str) -> str:
    listed = ", ".join(different)
    about = f" of {listed}" if listed else ""
    return (
        f"These changes{about} can't be staged in one run: {why}. Nothing was written. Make them "
        "in several runs of makemigrations, one change of a model at a time. This is a bug of "
        "django_safemigrations; please report the models before and after."
    )


def _end(state: ProjectState, migrations: Iterable[_Migration]) -> ProjectState:
    found = own_copy(state)
    for migration in migrations:
        for operation in migration.operations:
            apply(operation, migration.app_label, found)
    return found


def apply(operation: Operation, app_label: str, state: ProjectState) -> None:
    """Move a state past an operation that is written to a file later, and leave that as it is.

    States hold the fields of operations, and RenameField changes those in place.
    """
    copy.deepcopy(operation).state_forwards(app_label, state)


def _content(model: ModelState | None) -> object:
    """Return what makes a model, without the order of what has none."""
    if model is None:
        return None
    options: dict[str, Any] = {name: model.options.get(name) or None for name in OF_THE_TABLE}
    for name in ("indexes", "constraints"):
        options[name] = sorted(repr(item.deconstruct()) for item in model.options.get(name) or ())
    for name in ("unique_together", "index_together"):
        options[name] = sorted(map(repr, model.options.get(name) or ()))
    fields = sorted((name, field.deconstruct()[1:]) for name, field in model.fields.items())
    return repr(fields), repr(sorted(options.items())), repr(model.bases)
