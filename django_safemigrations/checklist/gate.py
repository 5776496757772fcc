"""Asks the seven items in their order and applies levels and waivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django_safemigrations.checklist.backups import backed_up
from django_safemigrations.checklist.evidenced import evidenced
from django_safemigrations.checklist.inspected import batched, concurrent, no_downtime, reversible
from django_safemigrations.checklist.verdicts import Context, State, Verdict
from django_safemigrations.checklist.way_back import way_back
from django_safemigrations.conf import CHECKLIST_ITEMS
from django_safemigrations.profiles import switches_off


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        name: as settings and waivers name it.
        title: what it asks for.
        answer: looks at the plan and returns state, evidence, and what to type next.
    """

    name: str
    title: str
    answer: Callable[[Context], tuple[State, str, str]]

    def judge(self, context: Context) -> Verdict:
        """Judge a plan, and apply the level that settings give the item and its waiver."""
        level = context.settings.checklist.get(self.name, "require")
        if level == "off":
            profile = context.settings.profile
            by = (
                f"by the profile {profile!r}"
                if switches_off(profile, self.name)
                else "in SAFE_MIGRATIONS"
            )
            return Verdict(self.name, State.OFF, level, f"switched off {by}")
        state, evidence, type_next = self.answer(context)
        if state is State.UNMET and self.name in context.waivers:
            reason = context.waivers[self.name]
            return Verdict(self.name, State.WAIVED, level, f"waived: {reason}")
        return Verdict(self.name, state, level, evidence, type_next)


ITEMS = (
    Item("reversible", "every change can be undone", reversible),
    Item("rehearsed", "tested on a copy of production data", partial(evidenced, "rehearsed")),
    Item("batched", "large data migrations run in batches", batched),
    Item("concurrent", "indexes are created concurrently", concurrent),
    Item("no_downtime", "no request fails or waits", no_downtime),
    Item("backup", "there is a way back to the data", backed_up),
    Item("rollback_plan", "the way back is written down", way_back),
)
assert tuple(item.name for item in ITEMS) == CHECKLIST_ITEMS


def judge_all(context: Context) -> tuple[Verdict, ...]:
    """Return the verdicts of all items, in their order."""
    return tuple(item.judge(context) for item in ITEMS)
