"""The checklist: seven questions that a plan has to answer before it may run."""

from django_safemigrations.checklist.evidence import plan_hash, record_evidence
from django_safemigrations.checklist.gate import ITEMS, Item, judge_all
from django_safemigrations.checklist.verdicts import Context, State, Verdict

__all__ = [
    "ITEMS",
    "Context",
    "Item",
    "State",
    "Verdict",
    "judge_all",
    "plan_hash",
    "record_evidence",
]
