"""The table of changes: every kind of field and every kind of change, one case each.

python -m tests.lint.truth.systematic > systematic.jsonl
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, IntegerRangeField
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import F, Q
from django.db.models.functions import Lower, Now

from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.hazards.examples import APP_LABEL, BASE, before_source, migration_source
from tests.lint.truth.cases import APP, Case
from tests.lint.truth.shapes import shape
from tests.lint.truth.values import UnknownValueError

Field: TypeAlias = "models.Field[Any, Any]"
Make = Callable[..., Field]


def _kind(cls: type[Field], **fixed: Any) -> Make:
    return lambda **options: cls(**{**fixed, **options})


def _to(model: str, cls: type[Field] = models.ForeignKey) -> Make:
    return lambda **options: cls(
        **{"to": f"{APP}.{model}", "on_delete": models.CASCADE, "related_name": "+", **options}
    )


KINDS: dict[str, Make] = {
    "char20": _kind(models.CharField, max_length=20),
    "char40": _kind(models.CharField, max_length=40),
    "char": _kind(models.CharField),
    "text": _kind(models.TextField),
    "slug": _kind(models.SlugField, max_length=20),
    "smallint": _kind(models.SmallIntegerField),
    "int": _kind(models.IntegerField),
    "bigint": _kind(models.BigIntegerField),
    "positive": _kind(models.PositiveIntegerField),
    "positivesmall": _kind(models.PositiveSmallIntegerField),
    "float": _kind(models.FloatField),
    "decimal10": _kind(models.DecimalField, max_digits=10, decimal_places=2),
    "decimal12": _kind(models.DecimalField, max_digits=12, decimal_places=2),
    "decimal123": _kind(models.DecimalField, max_digits=12, decimal_places=3),
    "bool": _kind(models.BooleanField),
    "date": _kind(models.DateField),
    "datetime": _kind(models.DateTimeField),
    "time": _kind(models.TimeField),
    "duration": _kind(models.DurationField),
    "uuid": _kind(models.UUIDField),
    "json": _kind(models.JSONField),
    "binary": _kind(models.BinaryField),
    "ip": _kind(models.GenericIPAddressField),
    "file": _kind(models.FileField, max_length=20),
    "array": _kind(ArrayField, base_field=models.CharField(max_length=20)),
    "array40": _kind(ArrayField, base_field=models.CharField(max_length=40)),
    "fk": _to("Other"),
    "fkfree": _to("Other", models.ForeignKey),
    "o2o": _to("Other", models.OneToOneField),
    "fk2": _to("Third"),
}
KINDS["fkfree"] = lambda **options: KINDS["fk"](**{"db_constraint": False, **options})

DEFAULTS: dict[str, Any] = {
    "char20": "x",
    "text": "x",
    "int": 1,
    "bigint": 1,
    "positive": 1,
    "bool": True,
    "json": dict,
    "float": 0.5,
}

PAIRS: list[tuple[str, str]] = [
    (old, new)
    for group in (
        ("char20", "char40", "char", "text", "slug", "file"),
        ("smallint", "int", "bigint", "positive", "positivesmall", "float", "decimal10"),
        ("decimal10", "decimal12", "decimal123", "float"),
        ("date", "datetime"),
        ("array", "array40"),
        ("fk", "fkfree", "o2o", "fk2", "bigint"),
        ("int", "char40", "text"),
        ("uuid", "char40", "text"),
        ("ip", "text"),
    )
    for old in group
    for new in group
    if old != new
]

VARIANTS: list[dict[str, Any]] = [
    {"null": True},
    {"null": True, "db_index": True},
    {"null": True, "unique": True},
    {},
]


def base(*fields: tuple[str, Field], **options: Any) -> ProjectState:
    """Return a table that others point to, and one with the given fields."""
    state = ProjectState()
    pk = models.BigAutoField
    for name in ("Other", "Third"):
        state.add_model(
            ModelState(
                APP,
                name,
                [("id", pk(primary_key=True)), ("label", models.CharField(max_length=20))],
            )
        )
    state.add_model(
        ModelState(
            APP,
            "Thing",
            [
                ("id", pk(primary_key=True)),
                ("number", models.IntegerField()),
                ("word", models.CharField(max_length=20, null=True)),
                ("span", IntegerRangeField(null=True)),
                *fields,
            ],
            options,
        )
    )
    state.add_model(
        ModelState(
            APP,
            "User",
            [
                ("id", pk(primary_key=True)),
                ("thing", models.ForeignKey(f"{APP}.Thing", models.CASCADE)),
                ("things", models.ManyToManyField(f"{APP}.Thing", related_name="+")),
            ],
        )
    )
    return state


def _case(state: ProjectState, *given: Operation, atomic: bool = True, source: str = "") -> Case:
    return shape(state, APP, list(given), atomic=atomic, source=source)


def additions() -> Iterator[Case]:
    """Every kind of field, added."""
    for name, make in KINDS.items():
        options: list[dict[str, Any]] = [
            {"null": True},
            {"null": True, "unique": True},
            {"null": True, "db_index": True},
            {},
        ]
        if name in DEFAULTS:
            options += [{"default": DEFAULTS[name]}, {"null": True, "default": DEFAULTS[name]}]
            if not callable(DEFAULTS[name]):
                options += [{"db_default": DEFAULTS[name]}]
        if name.startswith("fk"):
            options += [{"null": True, "db_index": False}, {"null": True, "db_constraint": False}]
        for option in options:
            yield _case(base(), migrations.AddField("thing", "extra", make(**option)))
    others: list[Field] = [
        models.DateTimeField(auto_now_add=True),
        models.DateTimeField(auto_now=True),
        models.DateTimeField(db_default=Now()),
        models.UUIDField(db_default=RandomUUID()),
        models.UUIDField(db_default=RandomUUID(), null=True),
        models.GeneratedField(
            expression=F("number") * 2, output_field=models.IntegerField(), db_persist=True
        ),
        models.ManyToManyField(f"{APP}.Other"),
        models.ManyToManyField("self"),
    ]
    for field in others:
        yield _case(base(), migrations.AddField("thing", "extra", field))


def changes() -> Iterator[Case]:
    """Every pair of related kinds, bare, indexed, unique and NOT NULL."""
    for old, new in PAIRS:
        for variant in VARIANTS:
            if variant.get("unique") and "o2o" in (old, new):
                continue
            yield _changed(KINDS[old](**variant), KINDS[new](**variant))


def _changed(old: Field, new: Field, **options: Any) -> Case:
    return _case(base(("extra", old), **options), migrations.AlterField("thing", "extra", new))


def switches() -> Iterator[Case]:
    """Every option, switched on and off."""
    for name, make in KINDS.items():
        if name in ("char40", "array40", "decimal12", "decimal123", "fk2"):
            continue
        pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"null": True}, {}),
            ({"null": True, "db_comment": "a"}, {"null": True, "db_comment": "b"}),
            ({"null": True, "help_text": "a"}, {"null": True, "help_text": "b"}),
            ({"null": True, "db_column": "a"}, {"null": True, "db_column": "b"}),
        ]
        if name != "o2o":
            pairs += [
                ({"null": True, "db_index": False}, {"null": True, "db_index": True}),
                ({"null": True}, {"null": True, "unique": True}),
                ({"null": True, "db_index": True}, {"null": True, "unique": True}),
                ({"null": True, "unique": True}, {"null": True, "unique": True, "db_index": True}),
            ]
        if name in DEFAULTS:
            pairs += [
                ({"null": True}, {"default": DEFAULTS[name]}),
                ({}, {"default": DEFAULTS[name]}),
            ]
            if not callable(DEFAULTS[name]):
                pairs += [
                    ({}, {"db_default": DEFAULTS[name]}),
                    ({"null": True}, {"db_default": DEFAULTS[name]}),
                    ({"null": True}, {"null": True, "db_default": DEFAULTS[name]}),
                ]
        if name in ("char20", "text"):
            pairs.append(({"null": True}, {"null": True, "db_collation": "C"}))
            pairs.append(
                (
                    {"null": True, "db_index": True},
                    {"null": True, "db_index": True, "db_collation": "C"},
                )
            )
        for old, new in pairs:
            yield _changed(make(**old), make(**new))
            yield _changed(make(**new), make(**old))


CONSTRAINTS: list[models.BaseConstraint] = [
    models.CheckConstraint(condition=Q(number__gt=-9), name="c"),
    models.UniqueConstraint(fields=["number"], name="c"),
    models.UniqueConstraint(fields=["number", "word"], name="c"),
    models.UniqueConstraint(fields=["number"], condition=Q(number__gt=0), name="c"),
    models.UniqueConstraint(fields=["number"], include=["word"], name="c"),
    models.UniqueConstraint(Lower("word"), name="c"),
    models.UniqueConstraint(fields=["number"], deferrable=models.Deferrable.DEFERRED, name="c"),
    models.UniqueConstraint(fields=["number"], nulls_distinct=False, name="c"),
    ExclusionConstraint(name="c", expressions=[("number", "="), ("span", "&&")]),
]
INDEXES: list[models.Index] = [
    models.Index(fields=["number"], name="i"),
    models.Index(fields=["-number", "word"], name="i"),
    models.Index(Lower("word"), name="i"),
    models.Index(fields=["number"], condition=Q(number__gt=0), name="i"),
    models.Index(fields=["number"], include=["word"], name="i"),
]


def rules() -> Iterator[Case]:
    """Constraints and indexes that come and go, and columns beneath them that change."""
    for constraint in CONSTRAINTS:
        having = {"constraints": [constraint]}
        yield _case(base(), migrations.AddConstraint("thing", constraint))
        yield _case(base(**having), migrations.RemoveConstraint("thing", "c"))
        yield _beneath(having)
        yield _case(
            base(**having), migrations.RenameField("thing", "number", "amount"), source="constraint"
        )
    for index in INDEXES:
        have = {"indexes": [index]}
        yield _case(base(), migrations.AddIndex("thing", index))
        yield _case(base(**have), migrations.RemoveIndex("thing", "i"))
        yield _case(base(**have), migrations.RenameIndex("thing", old_name="i", new_name="j"))
        yield _case(base(), AddIndexConcurrently("thing", index))
        yield _case(base(), AddIndexConcurrently("thing", index), atomic=False)
        yield _case(base(**have), RemoveIndexConcurrently("thing", "i"), atomic=False)
        yield _beneath(have)
    yield _case(base(indexes=[INDEXES[0]]), RemoveIndexConcurrently("thing", "i"))
    check = CONSTRAINTS[0]
    yield _case(base(), AddConstraintNotValid("thing", check))
    yield _case(base(), AddConstraintNotValid("thing", check), ValidateConstraint("thing", "c"))
    yield _case(
        base(),
        AddConstraintNotValid("thing", check),
        ValidateConstraint("thing", "c"),
        atomic=False,
    )
    together: set[tuple[str, ...]] = {("number", "word")}
    yield _case(base(), migrations.AlterUniqueTogether("thing", together))
    yield _case(base(unique_together=together), migrations.AlterUniqueTogether("thing", set()))
    yield _case(base(index_together=together), migrations.AlterIndexTogether("thing", set()))
    not_null = models.CheckConstraint(condition=Q(word__isnull=False), name="c")
    yield _case(
        base(constraints=[not_null]),
        migrations.AlterField("thing", "word", models.CharField(max_length=20)),
    )


def _beneath(options: dict[str, Any]) -> Case:
    return _case(
        base(**options), migrations.AlterField("thing", "number", models.BigIntegerField())
    )


def removals_and_names() -> Iterator[Case]:
    """Fields and models that go, or get another name."""
    for name, make in KINDS.items():
        if name in ("char40", "array40", "decimal12", "decimal123", "fk2"):
            continue
        state = base(("extra", make(null=True)))
        yield _case(state, migrations.RemoveField("thing", "extra"))
        yield _case(state, migrations.RenameField("thing", "extra", "renamed"))
        yield _case(
            state,
            migrations.RemoveField("thing", "extra"),
            migrations.AddField("thing", "another", make(null=True)),
        )
        yield _case(
            state,
            migrations.RemoveField("thing", "extra"),
            migrations.AddField("thing", "extra", models.TimeField(null=True)),
        )
    many: Field = models.ManyToManyField(f"{APP}.Other")
    state = base(("extra", many))
    yield _case(state, migrations.RemoveField("thing", "extra"))
    yield _case(state, migrations.RenameField("thing", "extra", "renamed"))
    kept = models.ManyToManyField(f"{APP}.Other", db_table="kept")
    yield _case(state, migrations.AlterField("thing", "extra", kept))
    yield _case(
        state, migrations.AlterField("thing", "extra", models.ManyToManyField(f"{APP}.Third"))
    )
    for word in ("thing", "other", "user"):
        yield _case(base(("extra", KINDS["fk"]())), migrations.RenameModel(word, "renamed"))
        yield _case(base(("extra", KINDS["fk"]())), migrations.AlterModelTable(word, "renamed"))
        yield _case(base(db_table="kept"), migrations.RenameModel(word, "renamed"))
    yield _case(base(), migrations.DeleteModel("user"))
    yield _case(base(), migrations.RemoveField("user", "thing"), migrations.DeleteModel("third"))
    yield _case(base(managed=False), migrations.AddField("thing", "extra", KINDS["int"]()))
    order = migrations.AlterOrderWithRespectTo("user", "thing")
    yield _case(base(), order)
    yield _case(base(), migrations.AlterField("other", "id", models.AutoField(primary_key=True)))
    smaller = base()
    smaller.models[APP, "other"].fields["id"] = models.AutoField(primary_key=True)
    yield _case(
        smaller, migrations.AlterField("other", "id", models.BigAutoField(primary_key=True))
    )


def new_tables() -> Iterator[Case]:
    """What would be harmful, on a table that the same migration has created."""
    create = migrations.CreateModel(
        "Fresh",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("number", models.IntegerField()),
            ("word", models.CharField(max_length=20, null=True)),
            ("other", models.ForeignKey(f"{APP}.Other", models.CASCADE)),
        ],
    )
    later: list[list[Operation]] = [
        [migrations.AddIndex("fresh", INDEXES[0])],
        [migrations.AddConstraint("fresh", CONSTRAINTS[0])],
        [migrations.AddConstraint("fresh", CONSTRAINTS[1])],
        [migrations.AddField("fresh", "extra", models.PositiveIntegerField(default=0))],
        [migrations.AlterField("fresh", "word", models.CharField(max_length=10))],
        [migrations.RenameField("fresh", "word", "text")],
        [migrations.RemoveField("fresh", "number")],
        [migrations.AlterUniqueTogether("fresh", {("number", "word")})],
        [migrations.RenameModel("fresh", "newer"), migrations.AddIndex("newer", INDEXES[0])],
        [migrations.DeleteModel("fresh")],
    ]
    for operations in later:
        yield _case(base(), create, *operations)


def examples() -> Iterator[Case]:
    """The examples of the catalogue that are Django's operations alone."""
    for hazard in CATALOGUE.values():
        for example in (hazard.bad, hazard.good):
            try:
                state = ProjectState()
                for source in (BASE, before_source(example)):
                    for operation in _operations(source) if source else []:
                        operation.state_forwards(APP_LABEL, state)
                migration = _migration(migration_source(example))
                yield shape(
                    state,
                    APP_LABEL,
                    list(migration.operations),
                    atomic=migration.atomic,
                    source=hazard.code,
                )
            except (UnknownValueError, SyntaxError, ImportError, LookupError):
                # It is about more than Django's operations, or about an unreadable file.
                continue


def _migration(source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(source, namespace)
    if "Migration" not in namespace:
        raise UnknownValueError("no Migration")
    return namespace["Migration"]


def _operations(source: str) -> list[Operation]:
    found: list[Operation] = _migration(source).operations
    return found


def cases() -> Iterator[Case]:
    """Yield the whole table, equal ones once."""
    known = set()
    for source in (
        additions,
        changes,
        switches,
        rules,
        removals_and_names,
        new_tables,
        examples,
    ):
        for case in source():
            if case.operations and case.identity not in known:
                known.add(case.identity)
                yield case


def main() -> None:
    """Write the table's cases to standard output, without labels."""
    warnings.simplefilter("ignore")
    for case in cases():
        sys.stdout.write(f"{case.as_json()}\n")


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure(
        USE_TZ=True, INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"]
    )
    django.setup()
    main()
