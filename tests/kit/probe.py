"""One quick pass of every kind of ORM call, committed and then removed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.kit.calls import Actor
from tests.kit.case import Case, Generation
from tests.kit.databases import PROBE_ALIAS
from tests.kit.many import ManyToMany
from tests.kit.outcomes import Failure, lost_writes, watch_last_statement

SPACE = 500_000
"""Numbers above this belong to probes; traffic and seeds stay below."""

_probes = itertools.count(1)


def probe(
    case: Case, *generations: Generation, using: str = PROBE_ALIAS, clean_up: bool = True
) -> list[str]:
    """Try everything that running code may do, and say what failed.

    Each generation makes every kind of call on every model; then each one reads what the
    other wrote. Rows are committed call by call and deleted at the end.

    Args:
        case: whose models.
        generations: the code that may be running now: "old", "new" or both.
        using: the database alias, a session of its own.
        clean_up: delete the rows at the end.

    Returns:
        One line for each failed call or lost write; empty when all is well.
    """
    problems: list[str] = []
    actors: list[Actor] = []
    last, recording = watch_last_statement(using)
    with recording:
        for generation in generations:
            number = next(_probes)
            for place, model in enumerate(case.models(generation)):
                start = SPACE + number * 2_000 + place * 200
                actor = Actor(
                    case, generation, model, space=start, using=using, contended=start + 151
                )
                actors.append(actor)
                problems += map(str, _pass(actor, last))
        for actor in actors:
            for reader in generations:
                if case.has_model(reader, actor.generation, actor.label):
                    problems += _read(case, actor, reader, using)
        if case.many_to_many:
            problems += _many_to_many(case, generations, using)
        if clean_up:
            for actor in reversed(actors):
                failure = actor.attempt(f"{actor.label}.clean_up", actor.clean_up, last)
                problems += [str(failure)] if failure else []
    return problems


def _pass(actor: Actor, last: object) -> Sequence[Failure]:
    found = [actor.attempt(name, call, last) for name, call in actor.calls()]  # type: ignore[arg-type]
    return [failure for failure in found if failure is not None]


def _many_to_many(case: Case, generations: Sequence[Generation], using: str) -> list[str]:
    number = next(_probes)
    users = [
        ManyToMany(case, generation, SPACE + number * 2_000 + place * 1_000, using)
        for place, generation in enumerate(generations)
    ]
    problems = [problem for user in users for problem in user.write()]
    problems += [line for user in users for reader in generations for line in user.read(reader)]
    for user in users:
        user.clean_up()
    return problems


def _read(case: Case, actor: Actor, reader: Generation, using: str) -> list[str]:
    try:
        return lost_writes(case, actor.generation, reader, actor.label, actor.owned, using)
    except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
        return [f"{reader} reading {actor.label}: {type(error).__name__}: {error}"]
