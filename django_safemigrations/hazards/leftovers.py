"""The hazard of what is left in a database of changes that are over."""

from __future__ import annotations

from django_safemigrations.hazards.hazard import Example, Hazard, Severity

STOP = (
    "from django_safemigrations.operations import Contract, Expand, FillNullsOnWrite, "
    "StopFillingNulls\n"
)

FILLING = """
atomic = False
operations = [
    Expand(database_operations=[FillNullsOnWrite("customer", "email", "")]),
]
"""

FAKED = """
atomic = False
operations = [
    Contract(database_operations=[StopFillingNulls("customer", "email", "")]),
]
"""

HAZARDS = (
    Hazard(
        code="DSM418",
        name="leftover-of-contract",
        title="The database holds what a contract should have removed, and no migration will",
        severity=Severity.WARNING,
        why=(
            "A contract that was faked, a file that was deleted before it ran everywhere, or a "
            "build that was stopped leaves something behind: a second column, which every write "
            "fills by a trigger, a view under an old name, a default that only old code needed, an "
            "INVALID index, which costs writes and serves no query, a constraint that nobody "
            "validated. It is found in a database (`lintmigrations --leftovers`), by comparing the "
            "catalog with the migrations that are recorded as applied; what an unapplied migration "
            "or a pending contract will still see to is not reported."
        ),
        lock="-",
        who_waits="Nobody; every write pays for it.",
        way_out=(
            "Take the contract back in Django's record alone, and run it:\n\n"
            "```console\n"
            "$ python manage.py migrate store 0002_before --fake\n"
            "$ python manage.py safemigrate store 0003_example --phase contract\n"
            "```\n\n"
            "Where later migrations depend on it, or its file is gone, the finding gives the SQL "
            "that removes what is left. Don't fake contracts: `safemigrate` keeps one pending "
            "that may not run yet."
        ),
        bad=Example(FAKED, setup=STOP, before=FILLING),
        good=Example(FAKED, setup=STOP, before=FILLING),
    ),
)

IN_DATABASE = frozenset({"DSM418"})
"""Codes of what is found in a database and not in the files, whose examples lint clean."""
