"""Rules over a whole file, and over the history that it stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_safemigrations.lint.context import Context, History, Place
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.rules import (
    history_branches,
    history_dependencies,
    history_indexes,
    history_squashes,
    history_transactions,
    history_types,
    names,
)

Judged = tuple[str | None, Observation]
"""The position of an operation, None for the whole file, and what was seen."""


FILE_RULES: tuple[Callable[[Context], Iterable[Judged]], ...] = (
    history_transactions.judge_file,
    history_branches.judge_file,
    history_squashes.judge_file,
    history_dependencies.judge_file,
)


def judge_before(operation: Operation, position: str, context: Context) -> Iterator[Judged]:
    """Judge an operation of the file's own list by what it does to the state, and remember it.

    The context's state is the one before the operation.
    """
    try:
        for observation in history_types.judge_container(operation, context):
            yield position, observation
        for inside in _with_states(operation):
            for observation in names.judge_names(inside, context):
                yield position, observation
    except Exception:  # noqa: BLE001 - custom fields run code of their own; DSM405 says so
        return
    for inside in _with_states(operation):
        history_indexes.note(inside, position, context)


def _with_states(operation: Operation) -> Iterator[Operation]:
    """Yield an operation, or what a container of operations applies to the state."""
    inside = getattr(operation, "state_operations", None)
    if inside is None:
        yield operation
        return
    for nested in inside:
        yield from _with_states(nested)


def judge_file(context: Context) -> Iterator[Judged]:
    """Judge a file as a whole, when all its operations have been judged.

    The context's state is the one behind the file.
    """
    for rule in FILE_RULES:
        try:
            seen: list[Judged] = list(rule(context))
        except Exception as error:  # noqa: BLE001 - operations and fields run code of their own
            yield (
                None,
                Observation(
                    "DSM405",
                    f"The file could not be judged as a whole: {type(error).__name__}: {error}",
                    "Look at what its operations are; those that could be judged have been.",
                ),
            )
        else:
            yield from seen


def judge_history(state: ProjectState, history: History) -> Iterator[tuple[Place, Observation]]:
    """Judge what all files together lead to.

    Args:
        state: behind the last file.
        history: of all of them.
    """
    yield from history_indexes.judge_history(state, history)
