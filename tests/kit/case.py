"""A case: models before and after a change, the rows in between, and the developer's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeAlias

from django.apps.registry import Apps
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Model
from django.db.models.fields import NOT_PROVIDED
from django.test.utils import isolate_apps

APP = "tests.kit.caseapp"
LABEL = "caseapp"

Generation: TypeAlias = Literal["old", "new"]

Dress: TypeAlias = "Callable[[str, Any, dict[str, Any], dict[str, Any]], Any]"
dressing: ContextVar[Dress | None] = ContextVar("dressing", default=None)
"""Changes what `define` is given (name, base, meta, attributes) and returns the base."""


def define(name: str, /, bases: Any = Model, meta: Any = None, **attributes: Any) -> Any:
    """Define a model of the case app, as a class statement in its models.py would.

    Args:
        name: the class name.
        bases: one base class; `Model` or a model for multi-table inheritance.
        meta: options of class Meta.
        attributes: the fields.
    """
    meta, dress = dict(meta or {}), dressing.get()
    if dress is not None:
        bases = dress(name, bases, meta, attributes)
    options = type("Meta", (), {"app_label": LABEL, **meta})
    return type(name, (bases,), {"__module__": f"{APP}.models", "Meta": options, **attributes})


@dataclass(frozen=True)
class Case:
    """One model change and everything that is needed to try it out.

    Attributes:
        name: readable and unique; the id of the parametrised tests.
        old: defines the models of the code that serves now (see `define`).
        new: defines the models of the code that is deployed next.
        renames: what the developer says was renamed: fields as `model.old` -> `new`, and models
            as `Old` -> `New`.
        default: the developer's answer to "provide a one-off default"; none: "ignore for now".
        rows: how many rows each model gets before the change.
        nulls: whether rows and old traffic hold NULLs in nullable fields.
        values: makers of values by field name, for fields with checks or special types.
        seed: more rows, made with the old models when the plain ones are there.
        after_creation: SQL that a DBA ran on the old schema.
        settings: the SAFE_MIGRATIONS setting of the project.
        not_repeatable: `table.column`s whose values no two runs share (uuid4, now).
        hazards: codes that the linter is to report on the staged files.
        extra: a variant of a mechanism that other cases show; quick runs leave it out.
        filled: what a NULL that old code wrote becomes, by field name.
        plain_hazards: codes that the linter is to report on what plain Django writes, each once;
            None: not looked at.
        repair: SQL by which an operator fills what a removal lost, where plain Django can't come
            back at all: the way back refuses, this is run, and it goes on.
        distinct: relations of which each row gets a target of its own, unique or not.
        many_to_many: whether code also uses the ManyToManyFields whose tables Django makes.
        change: the row of the support matrix that the case speaks for.
        shape: the column of the support matrix: the kind of table.
        unmade: kinds of calls that the tables can't take, whatever code runs.
        new_values: makers of values by field name for new code, where its type is another.
        alike: what values of a field have in common across the generations, by field name;
            None: they are the same.
        lost_keys: unique keys that go, which old code must not upsert on any more; `hazards` say so.
        overlap: whether old and new code can run side by side; where not, `hazards` say so,
            old code is stopped before the contract, and new code started after it.
    """

    name: str
    old: Callable[[], Any]
    new: Callable[[], Any]
    renames: Mapping[str, str] = field(default_factory=dict)
    default: Any = NOT_PROVIDED
    rows: int = 6
    nulls: bool = True
    values: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)
    seed: Callable[[Apps], None] | None = None
    after_creation: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    not_repeatable: tuple[str, ...] = ()
    hazards: tuple[str, ...] = ()
    extra: bool = False
    filled: Mapping[str, Any] = field(default_factory=dict)
    plain_hazards: tuple[str, ...] | None = None
    many_to_many: bool = False
    distinct: tuple[str, ...] = ()
    repair: tuple[str, ...] = ()
    change: str = ""
    shape: str = "ordinary table"
    unmade: tuple[str, ...] = ()
    new_values: Mapping[str, Callable[[int], Any]] = field(default_factory=dict)
    alike: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    overlap: bool = True
    lost_keys: tuple[tuple[str, ...], ...] = ()

    def values_of(self, generation: Generation) -> Mapping[str, Callable[[int], Any]]:
        """Return the makers of values that one generation's code uses."""
        return {**self.values, **self.new_values} if generation == "new" else self.values

    def __str__(self) -> str:
        return self.name

    @property
    def slug(self) -> str:
        """The name as one word, for test ids."""
        letters = "".join(c if c.isalnum() else " " for c in self.name.lower())
        return "_".join(letters.split())

    # Compared and cached by identity: callables and defaults need not be hashable.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def apps(self, generation: Generation) -> Apps:
        """Return the registry that holds one generation's model classes."""
        return _apps(self, generation)

    def models(self, generation: Generation) -> list[type[Model]]:
        """Return one generation's models that have a table of their own."""
        return [
            model
            for model in self.apps(generation).get_models()
            if model._meta.managed and not model._meta.proxy and not model._meta.swapped
        ]

    def model(self, generation: Generation, name: str) -> type[Model]:
        """Return one model of a generation by its name in lower case."""
        return self.apps(generation).get_model(LABEL, name)

    def has_model(self, reader: Generation, writer: Generation, name: str) -> bool:
        """Return whether one generation has the model that the other calls `name`."""
        if reader != writer:
            name = self.model_counterpart(name, writer)
        return name in self.apps(reader).all_models[LABEL]

    def model_counterpart(self, name: str, generation: Generation) -> str:
        """Return what the other generation calls a model (in lower case) of `generation`."""
        names = {a.lower(): b.lower() for a, b in self.renames.items() if "." not in a}
        if generation == "new":
            names = {b: a for a, b in names.items()}
        return names.get(name, name)

    def state(self, generation: Generation, around: ProjectState) -> ProjectState:
        """Return the project's state with this generation's models.

        Args:
            generation: whose models.
            around: the models of the other apps.
        """
        others = {key: state.clone() for key, state in around.models.items() if key[0] != LABEL}
        ours: dict[tuple[str, str], ModelState] = {}
        for model in self.apps(generation).get_models(include_swapped=True):
            ours[LABEL, model._meta.model_name or ""] = ModelState.from_model(model)
        return ProjectState({**others, **ours}, around.real_apps)

    def counterpart(self, model: str, name: str, generation: Generation) -> str:
        """Return what the other generation calls a field (attname or name) of `generation`."""
        suffix = "_id" if name.endswith("_id") else ""
        for old, new in self.renames.items():
            renamed_model, _, old_name = old.partition(".")
            # A field of a renamed model is asked for by the model's new name.
            if renamed_model not in (model, self.model_counterpart(model, generation)):
                continue
            mine, theirs = (old_name, new) if generation == "old" else (new, old_name)
            if name == mine:
                return theirs
            if suffix and name == mine + suffix:
                return theirs + suffix
        return name


@cache
def _apps(case: Case, generation: Generation) -> Apps:
    with isolate_apps(APP) as apps:
        assert apps is not None
        (case.old if generation == "old" else case.new)()
    return apps
