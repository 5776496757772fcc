"""Decides which of the things seen in a function do harm, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.python import verdicts_models, verdicts_rows, verdicts_running
from django_safemigrations.lint.python.events import Reading
from django_safemigrations.lint.python.place import Place


def judge(reading: Reading, place: Place) -> Iterator[Observation]:
    """Yield what does harm in a function, one observation a code."""
    for rule in RULES:
        observation = rule(reading, place)
        if observation is not None:
            yield observation


RULES: tuple[Callable[[Reading, Place], Observation | None], ...] = (
    verdicts_rows.unbatched,
    verdicts_rows.row_by_row,
    verdicts_rows.stale_rows,
    verdicts_rows.in_memory,
    verdicts_models.real_models,
    verdicts_models.lacking,
    verdicts_models.absent,
    verdicts_running.swallowed,
    verdicts_running.waits,
    verdicts_models.other_database,
    verdicts_running.resaved,
    verdicts_running.not_reentrant,
    verdicts_running.not_read,
)

__all__ = ["Place", "judge"]
