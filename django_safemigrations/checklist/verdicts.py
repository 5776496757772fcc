"""What the checklist judges, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.migrations import Migration

from django_safemigrations.backup.risk import AtRisk
from django_safemigrations.checklist.old_code import OldCode
from django_safemigrations.conf import Settings
from django_safemigrations.lint import Finding
from django_safemigrations.models import Evidence
from django_safemigrations.rollback_plans import RollbackPlan


class State(StrEnum):
    """How an item stands."""

    MET = "met"
    UNMET = "unmet"
    WAIVED = "waived"
    OFF = "off"


@dataclass(frozen=True)
class Verdict:
    """The answer to one item.

    Attributes:
        item: name of the item.
        state: how it stands.
        level: what the settings ask for: "require", "warn" or "off".
        evidence: what this rests on.
        type_next: what to type to get further; empty if nothing is needed.
    """

    item: str
    state: State
    level: str
    evidence: str
    type_next: str = ""

    @property
    def refuses(self) -> bool:
        """Whether the plan may not run because of it."""
        return self.state is State.UNMET and self.level == "require"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON output and ledger show it."""
        return {**asdict(self), "state": str(self.state)}


@dataclass(frozen=True)
class Context:
    """What the items judge.

    Attributes:
        using: alias of the database.
        migrations: the migrations that are about to run.
        plan_hash: hash of their names and files and of the database.
        findings: what lintmigrations says of them.
        weighed: the same, lighter where the table is so small that nobody notices the work.
        evidence: what the ledger holds of each item, the newest first; of other plans, too.
        settings: the settings in force.
        now: the time at which evidence must still count.
        command: the command line that was typed, up to its waivers.
        waivers: reasons by item.
        rollback_plan: the way back, as it was worked out.
        old_code: what was found before contracts; None if there are none.
        at_risk: what the migrations drop or overwrite; None if nobody looked.
    """

    using: str
    migrations: tuple[Migration, ...]
    plan_hash: str
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...]
    settings: Settings
    now: datetime
    command: str
    waivers: Mapping[str, str] = field(default_factory=dict)
    rollback_plan: RollbackPlan | None = None
    old_code: OldCode | None = None
    weighed: tuple[Finding, ...] = ()
    at_risk: tuple[AtRisk, ...] | None = None

    def waiver_command(self, item: str) -> str:
        """Return what to type to waive an item."""
        return f'{self.command} --waive {item}="why it is safe without"'
