"""What the state before a migration, and today's classes, tell about its models."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.apps import apps as todays_apps
from django.conf import settings
from django.db import models
from django.db.migrations.state import ModelState
from django.db.migrations.utils import resolve_relation
from django.db.models.manager import BaseManager

from django_safemigrations.conf import nearest
from django_safemigrations.lint.context import Context
from django_safemigrations.lint.python.facts import SMALL
from django_safemigrations.lint.python.values import Model
from django_safemigrations.lint.tables import table_name

HISTORICAL = frozenset(dir(models.Model)) | {"pk", "_meta", "_state", "objects"}
"""Attributes of every model."""

QUERYSET = frozenset(dir(models.QuerySet)) | frozenset(dir(models.Manager))
NEW_VALUE = ("auto_now",)


class StateFacts:
    """Answers from the state before the operation; nothing is rendered.

    Args:
        context: of the operation.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.state = context.state
        # After a file that can't be read, nothing is said to be missing.
        self.complete = context.complete

    def table(self, model: Model) -> str:
        """Return the table of a model; empty if the state doesn't have it."""
        found = self._find(model)
        return table_name(found).strip('"') if found is not None else ""

    def is_small(self, model: Model) -> bool:
        """See Facts."""
        return model.key in SMALL or model.key in self.context.created

    def is_absent(self, model: Model) -> str:
        """See Facts."""
        if not self.complete or not model.name:
            return ""
        if model.label in self.state.real_apps:
            return ""
        if model.key in self.state.models:
            return self._is_by_luck(model)
        labels = {label for label, _ in self.state.models} | set(self.state.real_apps)
        if model.label not in labels:
            return (
                f'apps.get_model("{model.label}", "{model.shown}"): no app has that label here, '
                f"and LookupError stops the migration. {nearest(model.label, sorted(labels))}"
            )
        names = [m.name for (label, _), m in self.state.models.items() if label == model.label]
        return (
            f'apps.get_model("{model.label}", "{model.shown}"): {model.label} has no such model at '
            f"this migration, and LookupError stops it. {nearest(model.shown, sorted(names))}"
        )

    def _is_by_luck(self, model: Model) -> str:
        """Return why a model of another app may not be there; empty if it always is."""
        context = self.context
        if model.label == context.app_label or context.migration.replaces:
            return ""
        creator = context.history.created_by.get(model.key)
        if creator is None or creator == context.key or context.depends_on(creator):
            return ""
        return (
            f'apps.get_model("{model.label}", "{model.shown}"): this migration doesn\'t depend on '
            f"{'.'.join(creator)}, which creates the model. It is found only if that happens to "
            "have run before; otherwise LookupError stops the migration. Add "
            f'("{creator[0]}", "{creator[1]}") to its dependencies.'
        )

    def is_unique(self, model: Model, names: frozenset[str]) -> bool:
        """See Facts."""
        found = self._find(model)
        if found is None:
            return False
        plain = {name.removesuffix("_id") if name not in found.fields else name for name in names}
        for name in plain:
            field: Any = found.fields.get(name)
            if field is not None and (field.unique or field.primary_key):
                return True
        return any(fields <= plain for fields in _unique_sets(found))

    def related(self, model: Model, name: str) -> Model | None:
        """See Facts."""
        found = self._find(model)
        if found is None:
            return None
        field: Any = self._field(found, name)
        if field is not None and field.remote_field is not None:
            return self._target(found, field)
        for other, back in self._backwards(found):
            if name in _names_back(other, back):
                return _model(other)
        return None

    def is_foreign_key(self, model: Model, name: str) -> bool:
        """See Facts."""
        found = self._find(model)
        field: Any = self._field(found, name) if found is not None else None
        if field is None or not (field.many_to_one or field.one_to_one):
            return False
        # `product_id` is a column of the row itself.
        return found is not None and any(name in state.fields for state in self._family(found))

    def is_file(self, model: Model, name: str) -> bool:
        """See Facts."""
        found = self._find(model)
        return found is not None and isinstance(self._field(found, name), models.FileField)

    def missing_field(self, model: Model, lookup: str) -> str:
        """See Facts."""
        found = self._find(model)
        if found is None or not self.complete:
            return ""
        first, *rest = lookup.split("__")
        if not first or first == "pk":
            return ""
        field: Any = self._field(found, first)
        if field is None:
            if self._may_be(found, first, query=True):
                return ""
            names = sorted({*self._fields(found), "pk"})
            return (
                f"{found.name} has no field {first!r} at this migration, and Django stops it there. "
                f"{nearest(first, names)}"
            )
        if rest and field.remote_field is not None and first in found.fields:
            target = self._target(found, field)
            inner = self._find(target) if target is not None else None
            if target is not None and inner is not None and not _is_lookup(field, rest[0]):
                return self.missing_field(target, "__".join(rest))
        return ""

    def lacks(self, model: Model, name: str) -> str:
        """See Facts."""
        found = self._find(model)
        if found is None or not self.complete or name.startswith("_") or name in HISTORICAL:
            return ""
        if self._field(found, name) is not None or self._may_be(found, name):
            return ""
        thing, owner = _of_today(model, name)
        if owner is None:
            return ""
        return f"{name} is {_kind(thing)} of {owner.__name__}"

    def lacks_manager(self, model: Model, name: str) -> str:
        """See Facts."""
        found = self._find(model)
        if found is None or not self.complete or name.startswith("_"):
            return ""
        given = [given for given, _ in found.managers]
        if name in given or (name == "objects" and not given) or name in HISTORICAL - {"objects"}:
            return ""
        if name in self._fields(found) or any(
            hasattr(base, name) for base in found.bases if isinstance(base, type)
        ):
            return ""
        thing, owner = _of_today(model, name)
        if name == "objects":
            # With another manager in the state, Django doesn't add its own.
            return f"objects is none of its managers here ({', '.join(map(str, given))})"
        if owner is None:
            return ""
        return f"{name} is {_kind(thing)} of {owner.__name__}"

    def lacks_query(self, model: Model, _manager: str, name: str) -> str:
        """See Facts."""
        found = self._find(model)
        if found is None or not self.complete or name.startswith("_") or name in QUERYSET:
            return ""
        if any(hasattr(type(manager), name) for _, manager in found.managers):
            return ""
        today = _today(model)
        manager = getattr(today, "_default_manager", None) if today is not None else None
        managers = [m for m in (manager, *_managers(today)) if m is not None]
        for candidate in managers:
            if inspect.getattr_static(type(candidate), name, None) is not None:
                return f"{name} is a method of {type(candidate).__name__}"
        return ""

    def resave_matters(self, model: Model) -> bool:
        """See Facts."""
        found = self._find(model)
        if found is None:
            return True
        for field in found.fields.values():
            plain = type(field).__module__.startswith("django.db.models.")
            if not plain or getattr(field, "auto_now", False):
                return True
        return False

    # The state.

    def _find(self, model: Model | None) -> ModelState | None:
        if model is None or not model.name:
            return None
        if not model.label and model.name == "user":
            label, _, name = settings.AUTH_USER_MODEL.partition(".")
            return self.state.models.get((label, name.lower()))
        return self.state.models.get(model.key)

    def _fields(self, found: ModelState) -> dict[str, Any]:
        """Return the fields of a model and of its parents, by name and by attribute."""
        fields: dict[str, Any] = {}
        for state in self._family(found):
            for name, field in state.fields.items():
                fields.setdefault(name, field)
                relation: Any = field
                if relation.remote_field is not None and not relation.many_to_many:
                    fields.setdefault(f"{name}_id", field)
        if not any(field.primary_key for field in fields.values()):
            fields.setdefault("id", models.BigAutoField(primary_key=True))
        return fields

    def _family(self, found: ModelState) -> Iterator[ModelState]:
        yield found
        for base in found.bases:
            if isinstance(base, str):
                parent = self.state.models.get(
                    resolve_relation(base, found.app_label, found.name_lower)
                )
                if parent is not None:
                    yield from self._family(parent)

    def _field(self, found: ModelState, name: str) -> Any:
        return self._fields(found).get(name)

    def _target(self, found: ModelState, field: Any) -> Model | None:
        target = field.remote_field.model
        if target is None:
            return None
        label, name = resolve_relation(target, found.app_label, found.name_lower)
        state = self.state.models.get((label, name))
        return Model(label, name, historical=True, shown=state.name if state is not None else name)

    def _backwards(self, found: ModelState) -> Iterator[tuple[ModelState, Any]]:
        """Yield the relations that point to a model or to one of its parents."""
        family = {(state.app_label, state.name_lower) for state in self._family(found)}
        for state in self.state.models.values():
            for field in state.fields.values():
                relation: Any = field
                if relation.remote_field is None or not relation.remote_field.model:
                    continue
                target = relation.remote_field.model
                try:
                    key = resolve_relation(target, state.app_label, state.name_lower)
                except (ValueError, AttributeError):
                    continue
                if key in family:
                    yield state, relation

    def _may_be(self, found: ModelState, name: str, *, query: bool = False) -> bool:
        """Return whether a name may come from elsewhere than the model's own fields."""
        for state in self._family(found):
            foreign = [f for f in state.fields.values() if not _is_djangos(f)]
            # Fields of other packages bring attributes of their own.
            if foreign and (not query or any(not isinstance(b, str) for b in state.bases[:-1])):
                return _of_today(_model(found), name)[1] is None
            for base in state.bases:
                if isinstance(base, type) and base is not models.Model and hasattr(base, name):
                    return True
                if (
                    isinstance(base, str)
                    and self.state.models.get(
                        resolve_relation(base, state.app_label, state.name_lower)
                    )
                    is None
                ):
                    return True
            for own, field in state.fields.items():
                if name in (f"get_{own}_display", f"get_next_by_{own}", f"get_previous_by_{own}"):
                    return True
                image: Any = field if isinstance(field, models.ImageField) else None
                if image is not None and name in (image.width_field, image.height_field):
                    return True
        for other, back in self._backwards(found):
            if name in _names_back(other, back):
                return True
        # A parent's link to its child, of multi-table inheritance.
        return (found.app_label, name) in self.state.models or any(
            name == key[1] for key in self.state.models
        )


def _model(state: ModelState) -> Model:
    return Model(state.app_label, state.name_lower, historical=True, shown=state.name)


def _names_back(other: ModelState, field: Any) -> set[str]:
    """Return the names by which a relation is known at its other end."""
    remote = field.remote_field
    names = {remote.related_name, remote.related_query_name} - {None}
    lowered = {
        str(name).replace("%(class)s", other.name_lower).replace("%(app_label)s", other.app_label)
        for name in names
    }
    return lowered | {other.name_lower, f"{other.name_lower}_set"}


def _is_djangos(field: Any) -> bool:
    return type(field).__module__.startswith("django.")


def _unique_sets(found: ModelState) -> Iterator[set[str]]:
    for names in found.options.get("unique_together", ()):
        yield set(names)
    for constraint in found.options.get("constraints", ()):
        if (
            isinstance(constraint, models.UniqueConstraint)
            and constraint.condition is None
            and constraint.fields
        ):
            yield set(constraint.fields)


def _is_lookup(field: Any, name: str) -> bool:
    """Return whether a word after a relation is a lookup of it and not a field behind it."""
    return name in ("in", "isnull", "exact", "gt", "gte", "lt", "lte", "pk", "range")


def _today(model: Model) -> type[models.Model] | None:
    try:
        return todays_apps.get_model(model.label, model.name)
    except (LookupError, ValueError):
        return None


def _managers(today: type[models.Model] | None) -> Iterator[BaseManager[Any]]:
    if today is not None:
        yield from today._meta.managers


def _of_today(model: Model, name: str) -> tuple[Any, type | None]:
    """Return what today's class has by a name, and which class of the family brings it.

    Fields and relations don't count, nor does what every model has.
    """
    today = _today(model)
    if today is None:
        return None, None
    for cls in today.__mro__:
        if cls is models.Model or not cls.__module__ or cls is object:
            continue
        if name in vars(cls):
            thing = vars(cls)[name]
            if _is_of_class(thing, name, today):
                return thing, cls
            return None, None
    return None, None


def _is_of_class(thing: Any, name: str, today: type[models.Model]) -> bool:
    names = {
        known
        for field in today._meta.get_fields(include_hidden=True)
        for known in (field.name, getattr(field, "attname", None))
    }
    if name in names and not inspect.isfunction(thing) and not isinstance(thing, property):
        # A GenericForeignKey is a field of the class, but not of the state.
        return type(thing).__name__ == "GenericForeignKey"
    return (
        inspect.isfunction(thing)
        or isinstance(thing, property | classmethod | staticmethod)
        or type(thing).__name__ in ("cached_property", "ManagerDescriptor", "GenericForeignKey")
        or (name.isupper() or (isinstance(thing, type) and issubclass(thing, models.Choices)))
    )


def _kind(thing: Any) -> str:
    if inspect.isfunction(thing) or isinstance(thing, classmethod | staticmethod):
        return "a method"
    if type(thing).__name__ == "ManagerDescriptor":
        return "a manager"
    if type(thing).__name__ in ("property", "cached_property"):
        return "a property"
    if type(thing).__name__ == "GenericForeignKey":
        return "a generic relation"
    return "an attribute"
