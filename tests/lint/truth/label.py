"""Traces cases on a scratch database and writes them with their labels.

    python -m tests.lint.truth.label < cases.jsonl > labelled.jsonl

Cases that plain Django can't run, whatever the rows are, are left out and counted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EXTENSIONS = ("bloom", "btree_gin", "btree_gist", "citext", "hstore", "pg_trgm", "unaccent")


@contextmanager
def prepared_database() -> Iterator[None]:
    """Use a database of its own as `default`, with the extensions that the server has."""
    from django.db import connection

    from tests.kit.databases import scratch_database

    with scratch_database():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name FROM pg_available_extensions WHERE name = ANY(%s)", [list(EXTENSIONS)]
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {name} SCHEMA public")
        yield


def main(lines: Iterable[str]) -> None:
    """Label the cases of standard input."""
    from tests.lint.truth.cases import from_json
    from tests.lint.truth.labels import labels
    from tests.lint.truth.tracer import CantTraceError, trace

    left_out: Counter[str] = Counter()
    with prepared_database():
        for number, line in enumerate(lines, 1):
            case = from_json(line, f"line {number}")
            try:
                found = labels(case, trace(case))
            except CantTraceError as error:
                left_out[str(error).partition("\n")[0][:100]] += len(case.operations)
            else:
                sys.stdout.write(f"{case.labelled(found).as_json()}\n")
    for what, times in left_out.most_common():
        sys.stderr.write(f"{times:5} operations left out: {what}\n")


if __name__ == "__main__":
    import django

    warnings.simplefilter("ignore")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    main(sys.stdin)
