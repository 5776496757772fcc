"""Judges transaction control and session settings inside migrations."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.parser import Statement
from django_safemigrations.lint.sql.run import Run
from django_safemigrations.lint.sql.tree import Node

OPENING = ("TRANS_STMT_BEGIN", "TRANS_STMT_START")
CLOSING = (
    "TRANS_STMT_COMMIT",
    "TRANS_STMT_ROLLBACK",
    "TRANS_STMT_PREPARE",
    "TRANS_STMT_COMMIT_PREPARED",
    "TRANS_STMT_ROLLBACK_PREPARED",
)
LASTING = ("VAR_SET_VALUE", "VAR_SET_CURRENT")
UNDONE = ("VAR_RESET", "VAR_SET_DEFAULT")


def transaction(node: Node, run: Run) -> Iterator[Observation]:
    """Django begins and ends the transaction of an atomic migration."""
    kind = node.choice("kind")
    if kind not in (*OPENING, *CLOSING):
        return
    word = kind.removeprefix("TRANS_STMT_").replace("_", " ")
    if run.inside is not None:
        return
    if run.context.is_atomic():
        harm = (
            "warns only, for Django has begun the transaction already, and whoever reads it thinks "
            "that it is short"
            if kind in OPENING
            else "ends the transaction that Django has begun for the migration: what follows runs "
            "without one, and a failure leaves half of the migration behind"
        )
        yield Observation(
            "DSM616",
            f"{word} {harm}.",
            f"Leave {word} out; a migration that needs several transactions gets `atomic = False`, "
            "or is several migrations.",
        )
        return
    if kind in OPENING:
        run.session.began = True
        if not any(_closes(statement) for statement in run.later):
            yield Observation(
                "DSM616",
                f"{word} opens a transaction that nothing in the migration ends: its locks stay "
                "until the connection is closed, and Django's record of the migration goes with it.",
                "End it by COMMIT in the same string, or leave both out and put what belongs "
                "together into an atomic migration.",
            )
    else:
        run.session.end_transaction()


def _closes(statement: Statement) -> bool:
    node = statement.node
    return node.is_a("TransactionStmt") and node.choice("kind") in CLOSING


def set_variable(node: Node, run: Run) -> Iterator[Observation]:
    """A setting without LOCAL stays for the migrations that follow."""
    kind, name = node.choice("kind"), node.text("name")
    if kind == "VAR_SET_MULTI" or kind not in LASTING:
        return
    if node.flag("is_local"):
        if not run.in_transaction:
            yield Observation(
                "DSM617",
                f"SET LOCAL {name} does nothing outside of a transaction, and this migration has "
                "none: the statements behind it run without the setting.",
                f"Use SET {name} = …, and RESET {name} at the end of the migration.",
            )
        return
    if run.inside is None and not _is_undone(name, run):
        yield lasting(name, run)


def lasting(name: str, run: Run) -> Observation:
    """Say that a setting stays."""
    instead = (
        f"SET LOCAL {name} = … ends with the migration's transaction."
        if run.context.is_atomic()
        else f"Add RESET {name} as the last statement."
    )
    return Observation(
        "DSM617",
        f"SET {name} stays in force after the migration: every migration that follows in the same "
        "run has it, too.",
        instead,
    )


def _is_undone(name: str, run: Run) -> bool:
    for statement in run.later:
        node = statement.node
        if node.is_a("DiscardStmt"):
            return True
        if not node.is_a("VariableSetStmt"):
            continue
        kind = node.choice("kind")
        if kind == "VAR_RESET_ALL" or (node.text("name") == name and kind in UNDONE):
            return True
    return False
