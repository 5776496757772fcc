"""A case: the models that are there, the operations of one migration, and what each one did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from django.contrib.postgres import operations as postgres_operations
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from tests.lint.truth.values import Json, UnknownValueError, decode, encode

PROJECTS = Path(__file__).with_name("projects.jsonl")
SYSTEMATIC = Path(__file__).with_name("systematic.jsonl")
"""Labelled cases: of real projects, and of the table of changes."""

STORED_OPTIONS = (
    "db_table",
    "managed",
    "proxy",
    "unique_together",
    "index_together",
    "indexes",
    "constraints",
    "order_with_respect_to",
)
APP = "app1"


@dataclass(frozen=True)
class Case:
    """One migration with as much state as it needs.

    Attributes:
        state: models as JSON.
        operations: as JSON.
        atomic: whether the migration runs in one transaction.
        count: how many migrations of real projects look like this.
        labels: hazard codes of each operation, as traced; empty if it wasn't traced yet.
        source: where it comes from, for people.
    """

    state: tuple[Json, ...]
    operations: tuple[Json, ...]
    atomic: bool = True
    count: int = 1
    labels: tuple[tuple[str, ...], ...] = ()
    source: str = field(default="", compare=False)

    @property
    def identity(self) -> str:
        """What two cases of the same shape have in common."""
        return json.dumps([self.state, self.operations, self.atomic], sort_keys=True)

    def build_state(self) -> ProjectState:
        """Return the models that are there before the migration."""
        built = ProjectState()
        for spec in self.state:
            built.add_model(decode_model(spec))
        return built

    def build_operations(self) -> list[Operation]:
        """Return the operations as Django would read them from a file."""
        return [decode_operation(spec) for spec in self.operations]

    def build_migration(self) -> migrations.Migration:
        """Return the whole migration."""
        attributes = {"operations": self.build_operations(), "atomic": self.atomic}
        return make_migration(attributes, "0002_case", APP)

    def labelled(self, labels: Iterable[Iterable[str]]) -> Case:
        """Return the case with labels."""
        return replace(self, labels=tuple(tuple(sorted(codes)) for codes in labels))

    def as_json(self) -> str:
        """Return the case as one line."""
        content: dict[str, Json] = {"state": self.state, "operations": self.operations}
        if not self.atomic:
            content["atomic"] = False
        content["count"] = self.count
        content["labels"] = self.labels
        return json.dumps(content, separators=(",", ":"))


def make_migration(attributes: dict[str, Any], name: str, label: str) -> migrations.Migration:
    """Return a migration as if it was read from a file."""
    cls: type[migrations.Migration] = type("Migration", (migrations.Migration,), attributes)
    return cls(name, label)


def from_json(line: str, source: str = "") -> Case:
    """Read what `Case.as_json` has written."""
    content = json.loads(line)
    return Case(
        state=tuple(content["state"]),
        operations=tuple(content["operations"]),
        atomic=content.get("atomic", True),
        count=content["count"],
        labels=tuple(tuple(codes) for codes in content["labels"]),
        source=source,
    )


def read_cases(path: Path) -> Iterator[Case]:
    """Yield the cases of a file of lines."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield from_json(line, f"{path.name}:{number}")


def encode_model(model: ModelState) -> Json:
    """Write a model as JSON."""
    spec: dict[str, Json] = {
        "model": f"{model.app_label}.{model.name}",
        "fields": {name: encode(value) for name, value in model.fields.items()},
    }
    options = {
        key: _together(value) if key.endswith("_together") else encode(value)
        for key, value in model.options.items()
        if key in STORED_OPTIONS and value
    }
    if model.options.get("managed") is False:
        options["managed"] = False
    if options:
        spec["options"] = options
    if bases := [base for base in model.bases if isinstance(base, str)]:
        spec["bases"] = bases
    return spec


def decode_model(spec: Json) -> ModelState:
    """Read what `encode_model` has written."""
    app, _, name = spec["model"].partition(".")
    return ModelState(
        app,
        name,
        [(key, decode(value)) for key, value in spec["fields"].items()],
        _decode_options(spec.get("options", {})),
        tuple(spec.get("bases", ())) or (models.Model,),
    )


def _decode_options(options: dict[str, Json]) -> dict[str, Any]:
    return {
        key: {tuple(names) for names in value} if key.endswith("_together") else decode(value)
        for key, value in options.items()
    }


def _together(value: Any) -> Json:
    if not value:
        return []
    if isinstance(next(iter(value)), str):
        value = [value]
    return sorted([list(names) for names in value])


def encode_operation(operation: Operation) -> Json:
    """Write an operation as JSON."""
    name = type(operation).__name__
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return {
            "operation": name,
            "database_operations": [encode_operation(o) for o in operation.database_operations],
            "state_operations": [encode_operation(o) for o in operation.state_operations],
        }
    if isinstance(operation, migrations.CreateModel):
        model = ModelState(
            "", operation.name, operation.fields, operation.options, tuple(operation.bases or ())
        )
        return {"operation": name, "create": encode_model(model)}
    special = isinstance(operation, migrations.RunSQL | migrations.RunPython)
    if special or not type(operation).__module__.startswith("django."):
        raise UnknownValueError(name)
    _, args, options = operation.deconstruct()
    if args:
        raise UnknownValueError(f"{name}{args!r}")
    written = {
        key: _together(value) if key.endswith("_together") else encode(value)
        for key, value in options.items()
        if key != "options"
    }

    return {"operation": name, **written}


def decode_operation(spec: Json) -> Operation:
    """Read what `encode_operation` has written."""
    options = dict(spec)
    name = options.pop("operation")
    if name == "SeparateDatabaseAndState":
        return migrations.SeparateDatabaseAndState(
            **{key: [decode_operation(o) for o in value] for key, value in options.items()}
        )
    if name == "CreateModel":
        content = options["create"]
        model = decode_model({**content, "model": f".{content['model'].rpartition('.')[2]}"})
        return migrations.CreateModel(
            model.name, list(model.fields.items()), model.options, model.bases
        )
    if name == "AlterModelOptions":
        return migrations.AlterModelOptions(options["name"], {})
    cls: Any = getattr(migrations, name, None) or getattr(postgres_operations, name)
    built: Operation = cls(
        **{
            key: {tuple(names) for names in value} if key.endswith("_together") else decode(value)
            for key, value in options.items()
        }
    )
    return built
