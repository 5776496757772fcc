"""What a call is made with, and how it is proven that a write was not lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError
from django.db.models.fields.proxy import OrderWrt

from django_safemigrations.rehearsal.generations.pairs import Key
from django_safemigrations.rehearsal.generations.rows import Rows
from django_safemigrations.rehearsal.generations.sides import (
    AnyField,
    AnyModel,
    Side,
    key_of,
)
from django_safemigrations.rehearsal.generations.values import agree, is_djangos, plain

Unreadable = set[tuple[Key, str]]
"""Old models' fields that did not read what they wrote before the plan began."""


class LostWrite(Exception):
    """A row does not hold what was written to it.

    Args:
        message: what is not as it should be.
        about: the names of the fields; what differs in the same ones is told once.
    """

    def __init__(self, message: str, about: str = "") -> None:
        super().__init__(message)
        self.about = about or message


@dataclass(frozen=True)
class Call:
    """One thing that running code does with a model.

    Attributes:
        what: how it is written, "{}" where the fields stand.
        run: does it.
        fields: names of the fields that it is about.
        real: whether it works with values of the copy, which nobody must read in a report.
        key: whether it takes for granted that there is a unique key of these fields.
        extreme: whether it writes the largest value, or the smallest.
    """

    what: str
    run: Callable[[], None]
    fields: tuple[str, ...] = ()
    real: bool = False
    key: bool = False
    extreme: bool = False

    def __str__(self) -> str:
        return self.what.format(", ".join(self.fields))


@dataclass
class Work:
    """A model in the hands of one generation.

    Attributes:
        side: the generation.
        model: its model.
        rows: makes and finds rows.
        both: whether the other generation runs, too, and must read what is written.
        unreadable: fields that are not compared.
        learning: whether nothing of the plan has run: what does not read what it wrote is noted.
    """

    side: Side
    model: AnyModel
    rows: Rows
    both: bool
    unreadable: Unreadable = field(default_factory=set)
    learning: bool = False

    @property
    def all(self) -> Any:
        """All rows of the model, on the session."""
        return self.rows.of(self.model)

    @property
    def keys(self) -> Sequence[Any]:
        """Primary keys of existing rows: at both ends, in between, and some with NULLs."""
        return self.rows.keys.get(self.model, [])

    def create(self) -> Any:
        """Make a row and return it."""
        return self.all.create(**self.rows.row(self.model))

    def _is_readable(self, f: AnyField) -> bool:
        if isinstance(f, OrderWrt):
            # Django numbers new rows itself, whatever they are given.
            return False
        partner = self.side.partner_field(f)
        old = f if self.side.name == "old" else partner
        if old is not None and (key_of(old.model), old.attname) in self.unreadable:
            return False
        if is_djangos(f) or self.side.name == "old":
            return True
        return partner is not None and type(partner) is type(f)

    def verify(self, key: Any, wanted: Mapping[str, Any], *, real: bool = False) -> None:
        """Read a row back as this generation, and as the other one if it is running.

        Args:
            key: the row's primary key.
            wanted: what was written, by attname.
            real: whether values of the copy are among it.

        Raises:
            LostWrite: it is not what was written.
        """
        options = self.model._meta
        names = [f.attname for f in options.concrete_fields]
        found = list(self.all.filter(pk=key).values(*names)[:1])
        if not found:
            raise LostWrite(f"{self.side.name} code does not find the row that it wrote")
        wrong = {}
        for f in options.concrete_fields:
            if f.attname not in wanted or hasattr(wanted[f.attname], "resolve_expression"):
                continue
            value, read = plain(wanted[f.attname]), plain(found[0][f.attname])
            if value == read or not self._is_readable(f) or self._is_filled(f, value):
                continue
            if self.learning:
                self.unreadable.add((key_of(f.model), f.attname))
                continue
            hidden = real or self.rows.copied.get(key_of(self.model))
            told = "is not what was written" if hidden else f"is {read!r}, not {value!r}"
            wrong[f.attname] = f"{f.attname} {told}"
        if wrong:
            raise LostWrite(
                f"{self.side.name} code reads back: {', '.join(wrong.values())}", ", ".join(wrong)
            )
        if self.both:
            self.compare(key, found[0])

    def _is_filled(self, f: AnyField, value: Any) -> bool:
        """Whether a NULL of old code may have become a value, since new code allows none."""
        partner = self.side.partner_field(f)
        return value is None and partner is not None and not partner.null

    def shared(self) -> list[tuple[AnyField, AnyField]]:
        """Return the columns that are comparable, each with the other generation's field."""
        other = self.side.partner(self.model)
        if other is None:
            return []
        columns = set(other._meta.concrete_fields)
        found = []
        for f in self.model._meta.concrete_fields:
            partner = self.side.partner_field(f)
            if partner is None or partner not in columns:
                continue
            same = type(f) is type(partner)
            if self._is_readable(f) and (same or (is_djangos(f) and is_djangos(partner))):
                found.append((f, partner))
        return found

    def compare(self, key: Any, row: Mapping[str, Any]) -> None:
        """Let the other generation read a row that this one has read.

        Raises:
            LostWrite: the values do not mean the same.
        """
        other = self.side.partner(self.model)
        shared = self.shared()
        if other is None or not shared or not self._same_key(other):
            return
        names = [partner.attname for _, partner in shared]
        who = self.side.other.name
        try:
            with self.rows.session.undone():
                found = list(self.rows.of(other).filter(pk=key).values(*names)[:1])
        except DatabaseError:
            # What it can't read at all is found out, and named, by its own calls.
            return
        if not found:
            raise LostWrite(f"{who} code does not find the row that {self.side.name} code has")
        wrong = []
        for f, partner in shared:
            mine, theirs = row[f.attname], found[0][partner.attname]
            filled = mine is None and not partner.null
            if not filled and not agree(mine, theirs, f, partner):
                wrong.append(partner.attname)
        if wrong:
            raise LostWrite(
                f"{who} code does not read in {', '.join(wrong)} what {self.side.name} code has there",
                ", ".join(wrong),
            )

    def _same_key(self, other: AnyModel) -> bool:
        mine, theirs = self.model._meta.pk_fields, other._meta.pk_fields
        return len(mine) == len(theirs) and all(
            self.side.partner_field(a) is b for a, b in zip(mine, theirs, strict=True)
        )
