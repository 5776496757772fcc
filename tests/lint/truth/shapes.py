"""Takes a migration out of its project: as little state as its operations need, and no names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.migrations import operations
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from tests.lint.truth.cases import Case, encode_model, encode_operation
from tests.lint.truth.values import Json, UnknownValueError

Key = tuple[str, str]


@dataclass
class Needed:
    """The parts of a state that operations are about: field names by model."""

    state: ProjectState
    app: str
    fields: dict[Key, set[str]] = field(default_factory=dict)

    def model(self, key: Key) -> ModelState | None:
        """Need a model with its key and its parents."""
        found: ModelState | None = self.state.models.get(key)
        if found is None:
            return None
        if key not in self.fields:
            self.fields[key] = set()
            for name, value in found.fields.items():
                if value.primary_key:
                    self.field(key, name)
            for base in found.bases:
                if isinstance(base, str):
                    self.model(_key(base, key))
        return found

    def field(self, key: Key, name: str) -> None:
        """Need a field, what it points to, and what is built over it."""
        found = self.model(key)
        if found is None or name not in found.fields or name in self.fields[key]:
            return
        self.fields[key].add(name)
        value: Any = found.fields[name]
        if value.remote_field is not None:
            self.relation(key, value)
        for names in _groups(found):
            if name in names:
                for other in names:
                    self.field(key, other)

    def relation(self, key: Key, value: Any) -> None:
        """Need what a relation points to."""
        to = _key(str(value.remote_field.model), key)
        self.model(to)
        for other in getattr(value, "to_fields", None) or ():
            if other:
                self.field(to, other)
        through = getattr(value.remote_field, "through", None)
        if isinstance(through, str):
            through_key = _key(through, key)
            if (model := self.model(through_key)) is not None:
                for name, other in model.fields.items():
                    if other.remote_field is not None:
                        self.field(through_key, name)

    def users(self, key: Key, name: str | None = None) -> None:
        """Need the relations that point to a model, or to one field of it."""
        for other, model in self.state.models.items():
            for name_, value in model.fields.items():
                if value.remote_field is None:
                    continue
                if _key(str(value.remote_field.model), other) != key:
                    continue
                explicit = (getattr(value, "to_fields", None) or [None])[0]
                if name is None or explicit in (name, None):
                    self.field(other, name_)
            if any(isinstance(b, str) and _key(b, other) == key for b in model.bases):
                self.model(other)


def _key(label: str, near: Key) -> Key:
    if label == "self":
        return near
    app, _, name = label.rpartition(".")
    return app or near[0], name.lower()


def _groups(model: ModelState) -> Iterator[Collection[str]]:
    """Yield the sets of fields over which a model has an index or constraint."""
    for option in ("unique_together", "index_together"):
        yield from [tuple(names) for names in model.options.get(option) or ()]
    for option in ("indexes", "constraints"):
        for item in model.options.get(option) or ():
            yield mentioned(item)


def mentioned(item: Any) -> set[str]:
    """Return the fields that an index or constraint names."""
    names = {name.lstrip("-") for name in getattr(item, "fields", ())}
    names |= set(getattr(item, "include", None) or ())
    for part in (getattr(item, "condition", None), *_expressions(item)):
        names |= set(_references(part))
    return names


def _expressions(item: Any) -> list[Any]:
    if isinstance(item, ExclusionConstraint):
        return [models.F(e) if isinstance(e, str) else e for e, _ in item.expressions]
    return list(getattr(item, "expressions", ()))


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, models.Q):
        for child in part.children:
            if isinstance(child, tuple):
                yield child[0].partition("__")[0]
                yield from _references(child[1])
            else:
                yield from _references(child)
    elif isinstance(part, models.F):
        yield str(vars(part)["name"]).partition("__")[0]
    elif hasattr(part, "get_source_expressions"):
        for source in part.get_source_expressions():
            yield from _references(source)


def need(found: Needed, operation: Operation) -> None:
    """Add what one operation is about."""
    nested = getattr(operation, "database_operations", None)
    if nested is not None:
        for inside in [*nested, *operation.state_operations]:  # type: ignore[attr-defined]
            need(found, inside)
        return
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    if isinstance(operation, operations.RenameModel):
        name = operation.old_name
    key = (found.app, str(name).lower())
    model = found.model(key)
    brought: Any = getattr(operation, "field", None)
    if brought is not None and brought.remote_field is not None:
        found.relation(key, brought)
    if isinstance(operation, operations.CreateModel):
        for _, value in operation.fields:
            if value.remote_field is not None:
                found.relation(key, value)
        for base in operation.bases or ():
            if isinstance(base, str):
                found.model(_key(base, key))
        return
    if model is None:
        return
    if isinstance(operation, operations.AlterField | operations.RemoveField):
        found.field(key, operation.name)
        old = model.fields.get(operation.name)
        if old is not None and (old.primary_key or old.unique):
            found.users(key, operation.name)
    elif isinstance(operation, operations.RenameField):
        found.field(key, operation.old_name)
        found.users(key, operation.old_name)
    elif isinstance(operation, operations.AlterOrderWithRespectTo):
        if operation.order_with_respect_to:
            found.field(key, operation.order_with_respect_to)
    elif isinstance(operation, operations.RenameModel | operations.DeleteModel):
        found.users(key)
        for name_, value in model.fields.items():
            if value.many_to_many or isinstance(operation, operations.DeleteModel):
                found.field(key, name_)
    for name_ in _references(getattr(getattr(operation, "field", None), "expression", None)):
        # A generated column.
        found.field(key, name_)
    for names in _named_by(operation, model):
        for name_ in names:
            found.field(key, name_)


def _named_by(operation: Any, model: ModelState) -> Iterator[Iterable[str]]:
    for attribute in ("index", "constraint"):
        if (item := getattr(operation, attribute, None)) is not None:
            yield mentioned(item)
    if isinstance(operation, operations.AlterUniqueTogether | operations.AlterIndexTogether):
        option = operation.option_name
        yield from [*(model.options.get(option) or ()), *(operation.option_value or ())]
    old_fields = getattr(operation, "old_fields", None)
    if old_fields:
        yield old_fields
    wanted = {getattr(operation, "name", None), getattr(operation, "old_name", None)}
    for option in ("indexes", "constraints"):
        for item in model.options.get(option) or ():
            if item.name in wanted:
                yield mentioned(item)


class Names:
    """Gives everything a name of our own, the same one each time."""

    def __init__(self, state: ProjectState, app: str) -> None:
        self.tables: dict[str, Key] = {f"{a}_{m}": (a, m) for a, m in state.models}
        self.given: dict[str, dict[str, str]] = {
            kind: {} for kind in ("app", "model", "field", "table", "name")
        }
        self.app(app)

    def _give(self, kind: str, known: str) -> str:
        given = self.given[kind]
        return given.setdefault(known, f"{kind}{len(given) + 1}")

    def app(self, label: str) -> str:
        return self._give("app", label)

    def model(self, name: str) -> str:
        return self._give("model", name.lower()).capitalize()

    def label(self, label: str, near: str) -> str:
        if label == "self":
            return label
        app, _, name = label.rpartition(".")
        return f"{self.app(app or near)}.{self.model(name)}"

    def field(self, name: str) -> str:
        if name in ("id", "_order"):
            return name
        if name.endswith("_ptr"):
            return f"{self._give('model', name.removesuffix('_ptr'))}_ptr"
        if name.endswith("_id"):
            return f"{self.field(name.removesuffix('_id'))}_id"
        return self._give("field", name.lower())

    def path(self, path: str) -> str:
        """Rename the field at the start of a lookup."""
        name, _, rest = path.partition("__")
        return f"{self.field(name)}__{rest}" if rest else self.field(name)

    def table(self, name: str) -> str:
        plain = name.strip('"').lower()
        if plain in self.tables:
            app, model = self.tables[plain]
            return f"{self.app(app)}_{self.model(model).lower()}"
        return self._give("table", plain)

    def name(self, name: str) -> str:
        return self._give("name", name)

    def rename(self, spec: Json, near: str) -> Json:
        """Rename everything in a spec, wherever it stands."""
        if isinstance(spec, list):
            return [self.rename(item, near) for item in spec]
        if not isinstance(spec, dict):
            return spec
        ((kind, content),) = spec.items()
        if kind == "field":
            return {"field": [content[0], self._options(content[1], near)]}
        if kind == "f":
            return {"f": self.path(content)}
        if kind == "q":
            connector, negated, children = content
            return {
                "q": [
                    connector,
                    negated,
                    [
                        [self.path(c[0]), _constant(self.rename(c[1], near))]
                        if isinstance(c, list)
                        else self.rename(c, near)
                        for c in children
                    ],
                ]
            }
        if kind == "value":
            return {"value": _constant(content)}
        if kind == "call":
            name, args, options = content
            written = {
                key: self._option(key, value, near)
                if key != "output_field"
                else self.rename(value, near)
                for key, value in options.items()
            }
            if name == "ExclusionConstraint":
                written["expressions"] = [
                    [self.path(e) if isinstance(e, str) else self.rename(e, near), o]
                    for e, o in options["expressions"]
                ]
            return {"call": [name, [self._argument(name, a, near) for a in args], written]}
        return spec

    def _argument(self, call: str, argument: Json, near: str) -> Json:
        # Expressions take field names as plain text, and operators.
        if isinstance(argument, str) and call != "CombinedExpression":
            return self.path(argument)
        return self.rename(argument, near)

    def _option(self, key: str, value: Json, near: str) -> Json:
        if key == "fields":
            return [f"-{self.field(v[1:])}" if v.startswith("-") else self.field(v) for v in value]
        if key == "include":
            return [self.field(v) for v in value]
        if key == "name":
            return self.name(value)
        return self.rename(value, near)

    def _options(self, options: dict[str, Json], near: str) -> dict[str, Json]:
        renamed: dict[str, Json] = {}
        for key, value in options.items():
            if key == "help_text":
                continue
            if key in ("to", "through"):
                renamed[key] = self.label(value, near)
            elif key == "to_field":
                renamed[key] = self.field(value)
            elif key == "db_column":
                renamed[key] = self.field(value.lower())
            elif key == "db_table":
                renamed[key] = self.table(value)
            elif key == "db_comment":
                renamed[key] = self.name(value)
            elif key == "db_collation":
                renamed[key] = "C"
            elif key == "default":
                renamed[key] = _constant(value)
            elif key == "db_default":
                renamed[key] = _constant(self.rename(value, near))
            else:
                renamed[key] = self.rename(value, near)
        return renamed


def _constant(value: Json) -> Json:
    """Keep what a constant is, not what it says."""
    if isinstance(value, bool) or value is None or value in ("", 0, 1, -1):
        return value
    if isinstance(value, str):
        return "x"
    if isinstance(value, int):
        return 2
    if isinstance(value, float):
        return 0.5
    if isinstance(value, list):
        return [_constant(item) for item in value]
    if isinstance(value, dict) and set(value) == {"value"}:
        return {"value": _constant(value["value"])}
    return value


OF_A_MODEL = frozenset(
    {
        "AlterIndexTogether",
        "AlterModelOptions",
        "AlterModelTable",
        "AlterModelTableComment",
        "AlterOrderWithRespectTo",
        "AlterUniqueTogether",
        "CreateModel",
        "DeleteModel",
        "RenameModel",
    }
)
OF_A_FIELD = frozenset({"AddField", "AlterField", "RemoveField", "RenameField"})


def shape(
    state: ProjectState, app: str, given: list[Operation], *, atomic: bool, source: str = ""
) -> Case:
    """Return the case that a migration's operations come down to.

    Args:
        state: before the migration.
        app: label of the migration's app.
        given: the operations.
        atomic: whether the migration runs in one transaction.
        source: where it comes from, for people.

    Raises:
        UnknownValueError: something in it can't be written down.
    """
    needed = Needed(state, app)
    for operation in given:
        need(needed, operation)
    names = Names(state, app)
    operations_ = tuple(
        _rename_operation(
            encode_operation(operation), _old_field(state, app, operation), names, app
        )
        for operation in given
    )
    models_ = tuple(
        _rename_model(_part(state.models[key], fields), names)
        for key, fields in needed.fields.items()
    )
    return Case(state=models_, operations=operations_, atomic=atomic, source=source)


def _old_field(state: ProjectState, app: str, operation: Operation) -> Any:
    if not isinstance(operation, operations.AlterField):
        return None
    model = state.models.get((app, operation.model_name_lower))
    return model.fields.get(operation.name) if model is not None else None


def _part(model: ModelState, fields: set[str]) -> ModelState:
    """Return a model with only some of its fields, and what is built over these alone."""
    options: dict[str, Any] = {}
    for key, value in model.options.items():
        if key.endswith("_together"):
            options[key] = {tuple(names) for names in value or () if set(names) <= fields}
        elif key in ("indexes", "constraints"):
            options[key] = [item for item in value if mentioned(item) <= fields]
        elif key != "order_with_respect_to" or value in fields:
            options[key] = value
    kept = [(name, value) for name, value in model.fields.items() if name in fields]
    return ModelState(model.app_label, model.name, kept, options, model.bases)


def _rename_model(model: ModelState, names: Names) -> Json:
    return _renamed_model(encode_model(model), names, model.app_label)


def _renamed_model(spec: Json, names: Names, app: str) -> Json:
    renamed: dict[str, Json] = {
        "model": names.label(spec["model"], app),
        "fields": {names.field(n): names.rename(f, app) for n, f in spec["fields"].items()},
    }
    if "options" in spec:
        renamed["options"] = {
            key: _renamed_option(key, value, names, app) for key, value in spec["options"].items()
        }
    if "bases" in spec:
        renamed["bases"] = [names.label(base, app).lower() for base in spec["bases"]]
    return renamed


def _renamed_option(key: str, value: Json, names: Names, app: str) -> Json:
    if key == "db_table":
        return names.table(value)
    if key.endswith("_together"):
        return [[names.field(name) for name in group] for group in value]
    if key == "order_with_respect_to":
        return names.field(value)
    return names.rename(value, app)


def _rename_operation(spec: Json, old: Any, names: Names, app: str) -> Json:
    kind = spec["operation"]
    renamed: dict[str, Json] = {"operation": kind}
    for key, value in spec.items():
        if key in ("database_operations", "state_operations"):
            renamed[key] = [_rename_operation(o, None, names, app) for o in value]
        elif key == "create":
            renamed[key] = _renamed_model(value, names, app)
        elif key == "model_name":
            renamed[key] = names.model(value).lower()
        elif key in ("name", "old_name", "new_name"):
            renamed[key] = _renamed_name(kind, value, names)
        elif key == "table":
            renamed[key] = names.table(value) if value else None
        elif key.endswith("_together"):
            renamed[key] = [[names.field(name) for name in group] for group in value]
        elif key == "old_fields":
            renamed[key] = [names.field(name) for name in value]
        elif key == "order_with_respect_to":
            renamed[key] = names.field(value) if value else None
        elif key not in ("operation", "options"):
            renamed[key] = names.rename(value, app)
        elif key == "options":
            renamed[key] = {}
    if old is not None and spec["field"]["field"][1].get("help_text", "") != old.help_text:
        # What people read has changed, whatever it says.
        renamed["field"]["field"][1]["help_text"] = "x"
    return renamed


def _renamed_name(kind: str, value: str | None, names: Names) -> str | None:
    if value is None:
        return None
    if kind in OF_A_MODEL:
        return names.model(value)
    return names.field(value) if kind in OF_A_FIELD else names.name(value)


__all__ = ["Needed", "UnknownValueError", "shape"]
