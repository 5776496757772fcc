"""A way back as values: what to do, what each step undoes, and from where on there is none."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django_safemigrations.rollback_plans.fates import NOTHING

WIDTH = 100


@dataclass(frozen=True)
class Instruction:
    """One thing to do.

    Attributes:
        text: what, and what has to be true before.
        command: what to type; empty if it is nothing to type.
    """

    text: str
    command: str = ""


@dataclass(frozen=True)
class Undone:
    """One operation on the way back.

    Attributes:
        app_label: app of the migration.
        migration: its name.
        operation: index in ``operations``, nested as "3.0"; empty for the migration as a whole.
        phase: "expand" or "contract".
        undo: what the way back does.
        meanwhile: what becomes of data that was written since the operation ran.
        loses: whether the way back takes data away that nothing else holds.
        gone: what the way forwards takes away for good.
        kept: for how long KEEP_DROPPED keeps that; empty if it does not.
        stuck: whether there is no way back over it.
        unsure: whether only running it would tell what it does to data.
        seconds: how long it took in a rehearsal; None if nobody knows.
    """

    app_label: str
    migration: str
    operation: str
    phase: str
    undo: str
    meanwhile: str = ""
    loses: bool = False
    gone: str = ""
    kept: str = ""
    stuck: bool = False
    unsure: bool = False
    seconds: float | None = None

    @property
    def name(self) -> str:
        """The migration as ``app_label.name``."""
        return f"{self.app_label}.{self.migration}"


@dataclass(frozen=True)
class NoReturn:
    """The first operation of the plan behind which not everything can be had back.

    Attributes:
        migration: as ``app_label.name``.
        operation: its index in the migration.
        why: what is gone, or what can't be undone.
        stuck: there is no way back at all; else only data is gone.
    """

    migration: str
    operation: str
    why: str
    stuck: bool


@dataclass(frozen=True)
class RollbackPlan:
    """The way back of one plan on one database.

    Attributes:
        database: alias of the database.
        plan_hash: of the plan; the way back is that of exactly these files.
        instructions: what to do, in order.
        by_name: the same without the ledger, by app and migration; empty if there is no such way.
        steps: what is undone, in the order of the way back.
        no_return: the point of no return; None if there is none.
        release: the release that the plan is run by; empty if it has no name.
        notes: what else one has to know.
    """

    database: str
    plan_hash: str
    instructions: tuple[Instruction, ...]
    by_name: tuple[str, ...]
    steps: tuple[Undone, ...]
    no_return: NoReturn | None = None
    release: str = ""
    notes: tuple[str, ...] = ()

    @property
    def stuck(self) -> tuple[Undone, ...]:
        """What can't be taken back, in the order of the way forwards."""
        return tuple(step for step in reversed(self.steps) if step.stuck)

    @property
    def losses(self) -> tuple[str, ...]:
        """What the way back itself takes away."""
        return tuple(dict.fromkeys(step.meanwhile for step in self.steps if step.loses))

    @property
    def seconds(self) -> float | None:
        """How long the steps took in a rehearsal, as far as that is known."""
        known = [step.seconds for step in self.steps if step.seconds is not None]
        return sum(known) if known else None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return {
            **document,
            "can_be_rolled_back": not self.stuck,
            "losses": list(self.losses),
            "seconds": self.seconds,
        }

    def lines(self) -> Iterator[str]:
        """Yield it as text of 100 columns; commands are not wrapped, for they are copied."""
        yield f"Way back on database {self.database!r}, for the plan"
        yield f"  {self.plan_hash}"
        if self.release:
            yield f"run by release {self.release}"
        yield ""
        if self.stuck:
            yield "There is no whole way back. These operations can't be undone:"
            for step in self.stuck:
                yield from _wrapped(f"{step.name} {step.operation}: {step.undo}", "  ", "    ")
            yield from _wrapped(
                "Give them a reverse (reverse_sql, reverse_code, backwards), or run the plan with "
                "--waive reversible=… --waive rollback_plan=… and keep a backup to restore from.",
                "  ",
                "  ",
            )
            yield ""
        yield "What to do, in this order:"
        for number, instruction in enumerate(self.instructions, start=1):
            yield from _wrapped(instruction.text, f"  {number}. ", "     ")
            if instruction.command:
                yield f"       {instruction.command}"
        if self.by_name:
            yield "  The same by name, when other runs came after this one (it takes back these too):"
            for command in self.by_name:
                yield f"       {command}"
        yield ""
        yield from self._no_return_lines()
        yield ""
        yield "What is undone, in this order, and what becomes of data written meanwhile:"
        for name, found in groupby(self.steps, key=lambda step: step.name):
            yield f"  {name}"
            steps = list(found)
            for step in [step for step in steps if step.undo != NOTHING] or steps[:1]:
                yield from _step_lines(step)
        if self.seconds is not None:
            yield ""
            yield f"It took {_seconds(self.seconds)} in the rehearsal."
        for note in self.notes:
            yield ""
            yield from _wrapped(note, "", "")

    def _no_return_lines(self) -> Iterator[str]:
        if self.no_return is None:
            kept = {step.kept for step in self.steps if step.kept}
            unsure = [f"{step.name} {step.operation}" for step in self.steps if step.unsure]
            text = "Point of no return: none; all of it can be had back."
            if unsure:
                text = (
                    "Point of no return: none that the files tell of. What this does to data only "
                    f"running it tells: {', '.join(unsure)}."
                )
            if kept:
                text = (
                    f"Point of no return: {max(kept)} after the run, when what was dropped is not "
                    "kept any longer (KEEP_DROPPED)."
                )
            yield from _wrapped(text, "", "  ")
            return
        point = self.no_return
        what = "there is no way back behind it" if point.stuck else "only a backup has it then"
        yield from _wrapped(
            f"Point of no return: {point.migration}, operation {point.operation}: {point.why}; "
            f"{what}.",
            "",
            "  ",
        )


def _step_lines(step: Undone) -> Iterator[str]:
    time = f" ({_seconds(step.seconds)} in the rehearsal)" if step.seconds is not None else ""
    yield from _wrapped(f"{step.operation:<5}{step.undo}{time}", "    ", "         ")
    if step.gone:
        kept = f"; kept for {step.kept}, and put back" if step.kept else ", and not brought back"
        yield from _wrapped(f"gone: {step.gone}{kept}", "         ", "         ")
    if step.meanwhile:
        yield from _wrapped(f"data written meanwhile: {step.meanwhile}", "         ", "         ")


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _wrapped(text: str, first: str, rest: str) -> Sequence[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
