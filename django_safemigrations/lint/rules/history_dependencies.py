"""Rules for the dependencies of a file: those that it lacks, and those that it had better not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.utils import resolve_relation

from django_safemigrations.exceptions import MixedPhases
from django_safemigrations.lint.context import Context, Key
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.tables import ModelKey
from django_safemigrations.phases import Phase, migration_phase

Judged = tuple[str | None, Observation]


def judge_file(context: Context) -> Iterator[Judged]:
    """Judge what a file depends on, and note which models it brings into the state."""
    yield from _other_app(context)
    yield from _latest(context)
    yield from _contracts(context)
    relations = list(_relations(context.migration.operations, "", context))
    for position, target in relations:
        observation = _swapped(target, context)
        if observation is None and context.complete:
            observation = _undeclared(target, context)
        if observation is not None:
            yield position, observation
            break
    for model in _brought(context.migration.operations, context.app_label):
        context.history.created_by[model] = context.key


def _other_app(context: Context) -> Iterator[Judged]:
    """A file that lies in one app and acts on another."""
    label, name = context.key
    if context.app_label == label:
        return
    yield (
        None,
        Observation(
            "DSM414",
            f"The file lies in {label} and sets its app_label to {context.app_label}: Django records "
            f"it as {context.app_label}.{context.migration.name}, so {label}.{name} is never "
            f"applied and runs again with every migrate; and the migrations of "
            f"{context.app_label} know nothing of the change.",
            f"Copy the migrations of {context.app_label} into the project and name them in "
            f'MIGRATION_MODULES = {{"{context.app_label}": "…"}}, or make the change in a model of '
            "your own (a OneToOneField to theirs).",
        ),
    )


def _latest(context: Context) -> Iterator[Judged]:
    for label, name in context.migration.dependencies:
        if name == "__latest__" and label != context.app_label:
            yield (
                None,
                Observation(
                    "DSM412",
                    f"It depends on whatever the last migration of {label} is: with every new one "
                    "there, a database that has run this file has run it too early "
                    "(InconsistentMigrationHistory), and one that depends on this app closes a "
                    "circle.",
                    f"Name the migration that is needed: {_last(label, context)!r}",
                ),
            )


def _last(label: str, context: Context) -> Key:
    names = [name for app, name in context.files if app == label]
    return label, max(names, default="0001_initial")


def _contracts(context: Context) -> Iterator[Judged]:
    """A contract of another app that this file waits for."""
    try:
        own = migration_phase(context.migration)
    except MixedPhases:
        return
    if own is Phase.CONTRACT:
        return
    for label, name in context.migration.dependencies:
        needed = context.files.get((label, name))
        if label == context.key[0] or needed is None:
            continue
        try:
            phase = migration_phase(needed)
        except MixedPhases:
            continue
        if phase is Phase.CONTRACT:
            yield (
                None,
                Observation(
                    "DSM415",
                    f"It depends on {label}.{name}, a contract, which waits until no old code is "
                    f"left: plain migrate runs it too early for the sake of this file, and a "
                    f"failing contract of {label} stops {context.key[0]}.",
                    f"Depend on the expand migration before it: "
                    f"{_expand_before((label, name), context)!r}",
                ),
            )


def _expand_before(key: Key, context: Context) -> Key:
    """Return the nearest migration before a contract, in its app, that is none."""
    seen: set[Key] = set()
    while key not in seen:
        seen.add(key)
        migration = context.files.get(key)
        if migration is None:
            break
        try:
            if migration_phase(migration) is Phase.EXPAND:
                break
        except MixedPhases:
            break
        own = [(app, name) for app, name in migration.dependencies if app == key[0]]
        if not own:
            break
        key = own[0]
    return key


def _relations(
    given: Iterable[Operation], prefix: str, context: Context
) -> Iterator[tuple[str, ModelKey]]:
    """Yield the models that operations refer to, at any depth."""
    label = context.app_label
    for index, operation in enumerate(given):
        position = f"{prefix}{index}" if not prefix or prefix.endswith(".") else prefix
        for nested in ("database_operations", "state_operations"):
            inside = getattr(operation, nested, None)
            if inside:
                # A state operation has no position of its own; its container is where it stands.
                below = f"{position}." if nested == "database_operations" else position
                yield from _relations(inside, below, context)
        for field in _fields(operation):
            remote = getattr(field, "remote_field", None)
            for target in (getattr(remote, "model", None), getattr(remote, "through", None)):
                if target is None:
                    continue
                model_name = getattr(operation, "model_name", getattr(operation, "name", ""))
                key = resolve_relation(target, label, str(model_name).lower())
                yield position, key


def _fields(operation: Operation) -> Iterator[Any]:
    if isinstance(operation, operations.CreateModel):
        yield from (field for _, field in operation.fields)
    elif isinstance(operation, operations.AddField | operations.AlterField):
        yield operation.field


def _swapped(target: ModelKey, context: Context) -> Observation | None:
    """A relation to a model that a setting puts another one in the place of."""
    model = context.state.models.get(target)
    swappable = model.options.get("swappable") if model is not None else None
    chosen = getattr(settings, swappable, None) if swappable else None
    if model is None or not chosen or chosen.lower() == ".".join(target):
        return None
    return Observation(
        "DSM416",
        f"It refers to {model.app_label}.{model.name}, in whose place {swappable} puts {chosen}: "
        "that table doesn't exist, and migrate fails.",
        f"Write to=settings.{swappable}, and "
        f"migrations.swappable_dependency(settings.{swappable}) among the dependencies.",
    )


def _undeclared(target: ModelKey, context: Context) -> Observation | None:
    """A relation to a model that no migration which this one depends on creates."""
    if target[0] == context.app_label or target[0] not in context.migrated_apps:
        return None
    creator = context.history.created_by.get(target)
    if creator is not None and context.depends_on(creator):
        return None
    model = context.state.models.get(target)
    name = ".".join(target) if model is None else f"{model.app_label}.{model.name}"
    swappable = next(
        (
            setting
            for setting in ("AUTH_USER_MODEL",)
            if str(getattr(settings, setting, "")).lower() == ".".join(target)
        ),
        None,
    )
    if creator is None:
        found = next(_creators(target, context), None)
        if found is None:
            return None
        creator = found
    hint = f"Add {creator!r} to the dependencies."
    if swappable is not None:
        hint = (
            f"Add migrations.swappable_dependency(settings.{swappable}) to the dependencies; if "
            f"{name} is not made by the first migration of {target[0]}, {creator!r} as well."
        )
    return Observation(
        "DSM417",
        f"It refers to {name}, which {'.'.join(creator)} creates, and doesn't depend on that "
        "migration: where this one runs first, as with migrate for one app, it fails.",
        hint,
    )


def _creators(target: ModelKey, context: Context) -> Iterator[Key]:
    """Yield the files that bring a model into the state, wherever they stand."""
    for key, migration in context.files.items():
        if key[0] == target[0] and target in _brought(migration.operations, target[0]):
            yield key


def _brought(given: Iterable[Operation], label: str) -> list[ModelKey]:
    found = []
    for operation in given:
        if isinstance(operation, operations.CreateModel):
            found.append((label, operation.name_lower))
        elif isinstance(operation, operations.RenameModel):
            found.append((label, operation.new_name_lower))
        else:
            found += _brought(getattr(operation, "state_operations", None) or (), label)
    return found
