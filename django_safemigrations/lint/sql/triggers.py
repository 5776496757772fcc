"""Judges triggers and rules that SQL creates."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.names import relation
from django_safemigrations.lint.sql.run import Run
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock


def create_trigger(node: Node, run: Run) -> Iterator[Observation]:
    """Every write runs the function from then on, old code's included."""
    table = run.used(relation(node.child("relation")))
    if table is None:
        return
    run.hold(table.name, Lock.SHARE_ROW_EXCLUSIVE)
    name = node.text("trigname")
    yield Observation(
        "DSM611",
        f"From now on the trigger {name} runs with writes to {table.name}, old code's and "
        "backfills' included; if it fails, they fail. Writes wait while it is created (SHARE ROW "
        "EXCLUSIVE until the transaction ends).",
        "Keep the transaction short, see that its function takes rows as old code writes them, and "
        "say so: # safemigrations: ignore DSM611 -- why",
    )


def create_rule(node: Node, run: Run) -> Iterator[Observation]:
    """A rule rewrites statements of all code."""
    table = run.used(relation(node.child("relation")))
    if table is None or table.name in run.facts.views:
        return
    run.hold(table.name, Lock.ACCESS_EXCLUSIVE)
    yield Observation(
        "DSM611",
        f"From now on the rule {node.text('rulename')} rewrites statements on {table.name}, old "
        "code's included: rows may go elsewhere or nowhere, and the counts that Django gets change.",
        "Use a trigger or a view instead, or see that old code's statements are right with it and "
        "say so: # safemigrations: ignore DSM611 -- why",
    )
