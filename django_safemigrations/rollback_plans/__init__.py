"""The way back of a plan, worked out before the plan runs."""

from django_safemigrations.rollback_plans.building import rollback_plan, way_back_of
from django_safemigrations.rollback_plans.plan import Instruction, NoReturn, RollbackPlan, Undone

__all__ = ["Instruction", "NoReturn", "RollbackPlan", "Undone", "rollback_plan", "way_back_of"]
