"""Every kind of call on ManyToManyFields whose tables Django makes, with rows of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models

from tests.kit.case import Case, Generation
from tests.kit.outcomes import LostWriteError
from tests.kit.values import Values


@dataclass
class _Link:
    """An object and what was linked to it.

    Attributes:
        generation: the code that made it.
        label: its model's name in lower case.
        field: the ManyToManyField's name.
        owner: the object.
        targets: all objects that were made to be linked.
        linked: keys of those that are.
    """

    generation: Generation
    label: str
    field: str
    owner: models.Model
    targets: list[models.Model]
    linked: set[Any]


class ManyToMany:
    """What one generation does with all its ManyToManyFields.

    Args:
        case: whose models.
        generation: which of them.
        space: start of a number range of its own.
        using: the database alias.
    """

    def __init__(self, case: Case, generation: Generation, space: int, using: str) -> None:
        self.case = case
        self.generation = generation
        self.number = space
        self.using = using
        self.values = Values(case.values, nulls=case.nulls, using=using)
        self.links: list[_Link] = []

    def write(self) -> list[str]:
        """Link, unlink and read back; return what failed."""
        problems = []
        for model in self.case.models(self.generation):
            for f in model._meta.local_many_to_many:
                if f.remote_field.through._meta.auto_created:  # type: ignore[union-attr]
                    problems += self._attempt(model, f)
        return problems

    def _attempt(self, model: type[models.Model], f: Any) -> list[str]:
        try:
            self._use(model, f)
        except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
            where = f"{self.generation} {model._meta.model_name}.{f.name}"
            return [f"{where}: {type(error).__name__}: {error}"]
        return []

    def _make(self, model: type[models.Model]) -> models.Model:
        self.number += 1
        values = self.values.row(model, self.number)
        return model._base_manager.using(self.using).create(**values)

    def _use(self, model: type[models.Model], f: Any) -> None:
        owner = self._make(model)
        targets = [self._make(f.related_model) for _ in range(3)]
        a, b, c = targets
        link = _Link(
            self.generation, model._meta.model_name or "", f.name, owner, targets, {a.pk, b.pk}
        )
        self.links.append(link)
        manager = getattr(owner, f.name)
        manager.add(a, c)
        manager.add(a)
        manager.remove(c)
        manager.set([b, c])
        manager.clear()
        manager.set([a, b])
        _expect(link, set(manager.values_list("pk", flat=True)))
        rows = model._base_manager.using(self.using)
        fetched = rows.prefetch_related(f.name).get(pk=owner.pk)
        _expect(link, {target.pk for target in getattr(fetched, f.name).all()})
        if not rows.filter(pk=owner.pk, **{f.name: a.pk}).exists():
            raise LostWriteError("a join finds nothing")

    def read(self, reader: Generation) -> list[str]:
        """Read all links with a generation's models; return what is not as it was written."""
        problems = []
        for link in self.links:
            label, name = link.label, link.field
            if reader != link.generation:
                if not self.case.has_model(reader, link.generation, label):
                    continue
                name = self.case.counterpart(label, name, link.generation)
                label = self.case.model_counterpart(label, link.generation)
            model = self.case.model(reader, label)
            if not any(f.name == name for f in model._meta.local_many_to_many):
                continue
            try:
                owner = model._base_manager.using(self.using).get(pk=link.owner.pk)
                _expect(link, set(getattr(owner, name).values_list("pk", flat=True)))
            except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
                problems.append(
                    f"{reader} reading {label}.{name}, written by {link.generation}: "
                    f"{type(error).__name__}: {error}"
                )
        return problems

    def clean_up(self) -> None:
        """Delete every row that was made."""
        for link in self.links:
            for row in (link.owner, *link.targets):
                row.delete(using=self.using)
        for made in self.values.made:
            type(made)._base_manager.using(self.using).filter(pk=made.pk).delete()


def _expect(link: _Link, found: set[Any]) -> None:
    if found != link.linked:
        raise LostWriteError(f"{link.label}.{link.field} is {found}, not {link.linked}")
