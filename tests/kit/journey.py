"""A case taken through its whole life once, with everything noted that the invariants ask for."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.core.management import call_command
from django.db import connection

from django_safemigrations.phases import Phase, migration_phase
from tests.kit import chain as chains
from tests.kit.case import LABEL, Generation
from tests.kit.held import LockWatch, observe_held
from tests.kit.prepared import Content, Prepared
from tests.kit.probe import probe
from tests.kit.statements import watch_changes

BOOKKEEPING = ("django_migrations", "django_safemigrations_")
"""Statements about these tables change nothing that the application's code could notice."""


@dataclass
class Leg:
    """One part of a journey.

    Attributes:
        problems: what running code could not do, with the place.
        boundaries: how many step boundaries code was tried at.
        content: what the database held at the end.
        error: the traceback that ended it, or "".
    """

    problems: list[str] = field(default_factory=list)
    boundaries: int = 0
    content: Content | None = None
    error: str = ""

    def check(self) -> Content:
        """Return the content at the end of the leg.

        Raises:
            AssertionError: the leg did not get there.
        """
        assert not self.error, self.error
        assert self.content is not None, "an earlier leg failed, so this one was not begun"
        return self.content


@dataclass
class Journey:
    """The legs, in their order.

    Attributes:
        there: from the old schema to the end of the chain, with code running.
        back: from there to the old schema, with nothing but the migrator.
        again: expand, and back before any contract ran.
        finally_: the whole way once more.
        held_back: what a second session saw of the locks on the way back.
        held: the same for the last way there.
    """

    prepared: Prepared
    there: Leg = field(default_factory=Leg)
    back: Leg = field(default_factory=Leg)
    again: Leg = field(default_factory=Leg)
    finally_: Leg = field(default_factory=Leg)
    held_back: LockWatch = field(default_factory=LockWatch)
    held: LockWatch = field(default_factory=LockWatch)


def travel(prepared: Prepared, *, short: bool = False) -> Journey:
    """Take the `default` database, which holds the old schema, through a case's life.

    Args:
        prepared: the case.
        short: only there and back.
    """
    journey = Journey(prepared)
    expands = prepared.expands

    def watched(held: LockWatch, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            with observe_held(held):
                work()

        return run

    def there_and_back_before_contract() -> None:
        if expands:
            chains.migrate(prepared.chain, expands[-1])
        prepared.reverse()

    legs: list[tuple[Leg, Callable[[], None]]] = [
        (journey.there, lambda: _run_with_code(prepared, journey.there)),
        (journey.back, watched(journey.held_back, prepared.reverse)),
        (journey.again, there_and_back_before_contract),
        (journey.finally_, watched(journey.held, prepared.run)),
    ]
    for leg, work in legs[:2] if short else legs:
        try:
            work()
        except Exception:  # noqa: BLE001 - the invariant that asks for the leg reports it
            leg.error = prepared.explain([traceback.format_exc()])
            break
        leg.content = prepared.content()
    return journey


@dataclass
class FreshJourney:
    """The way from a database without any migration applied to the end, and back to nothing."""

    empty: Content
    there: Leg = field(default_factory=Leg)
    back: Leg = field(default_factory=Leg)


def travel_fresh(prepared: Prepared) -> FreshJourney:
    """Run `migrate` on the `default` database, which no migration was ever applied to, and undo it."""
    journey = FreshJourney(prepared.content())
    legs = [(journey.there, [LABEL]), (journey.back, [LABEL, "zero"])]
    for leg, arguments in legs:
        try:
            with prepared.chain.installed():
                call_command("migrate", *arguments, verbosity=0, interactive=False)
        except Exception:  # noqa: BLE001 - the invariant that asks for the leg reports it
            leg.error = prepared.explain([traceback.format_exc()])
            break
        leg.content = prepared.content()
    return journey


def _run_with_code(prepared: Prepared, leg: Leg) -> None:
    case = prepared.case

    def look(where: str, *generations: Generation) -> None:
        leg.boundaries += 1
        leg.problems += [f"{where}: {problem}" for problem in probe(case, *generations)]

    contracts_begun = False
    left = len(prepared.expands)
    for migration in prepared.migrations:
        contract = migration_phase(migration) is Phase.CONTRACT
        if left == 0 and not contracts_begun:
            both: tuple[Generation, ...] = ("old", "new") if case.overlap else ("old",)
            look(f"before {migration.name}", *both)
        contracts_begun = contracts_begun or contract
        # Old code is the only one until the last expand has ended, new code from the contract on.
        running: Generation = "new" if contracts_begun else "old"
        stopped = contract and not case.overlap
        with at_every_boundary(
            lambda sql, name=migration.name, who=running, stopped=stopped: (  # type: ignore[misc]
                None if stopped else look(f"{name}, after {sql}", who)
            )
        ):
            chains.migrate(prepared.chain, migration.name)
        left -= not contract
        if contracts_begun:
            look(f"after {migration.name}", "new")
        elif left:
            look(f"after {migration.name}", "old")
    if not contracts_begun:
        look("at the end", "old", "new")


@contextmanager
def at_every_boundary(look: Callable[[str], None]) -> Iterator[None]:
    """Call `look` with the statement whenever `default` has made a change visible to others."""

    def durable(sql: str) -> None:
        if not any(table in sql for table in BOOKKEEPING):
            look(" ".join(sql.split())[:160])

    with watch_changes(connection, durable=durable):
        yield
