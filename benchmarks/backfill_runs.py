"""What the backfill benchmark measures, each in a process of its own: a way to fill, or a writer.

    python -m benchmarks.backfill_runs WAY URL ROWS

prints one JSON object. WAY is one of `WAYS`, or `writer`, which writes until its standard input ends.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import django
import psycopg
from django.conf import settings

from testproject.database import Address

TABLE = "shop_order"
COLUMN = "total_cents"
EXPRESSION = '("total" * 100)::bigint'
NEEDED = f'"{COLUMN}" IS DISTINCT FROM {EXPRESSION}'
WRITES_A_SECOND = 200
PEER = "django-deferred-migrations"


def configure(url: str) -> None:
    """Set Django up with the ledger and nothing else."""
    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": Address.parse(url).django()},
        INSTALLED_APPS=["django.contrib.contenttypes", "django_safemigrations"],
    )
    django.setup()


class Profile:
    """Where the seconds of a run go, as its client sees them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.batches = 0

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        """Time a statement; see django.db.connection.execute_wrapper."""
        text = str(sql)
        if text.startswith("UPDATE") and TABLE in text:
            what = "UPDATE of the batches"
            self.batches += 1
        elif text.startswith("SELECT count(*) FROM"):
            what = "the proof"
        elif " OFFSET " in text and TABLE in text:
            what = "finding the batches' bounds"
        elif "TABLESAMPLE" in text or " DESC LIMIT 1" in text:
            what = "splitting the table"
        else:
            what = "ledger, leases and looks of the throttle"
        with self.timing(what):
            return execute(sql, params, many, context)

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Add the seconds of the block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[what] = self.seconds.get(what, 0.0) + spent


def update() -> int:
    """Fill with one UPDATE."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE "{TABLE}" SET "{COLUMN}" = {EXPRESSION} WHERE {NEEDED}')
        return int(cursor.rowcount)


def ours(*, throttled: bool, profile: Profile) -> int:
    """Fill with this package: one worker, progress in the ledger, default settings."""
    from django.db import connection

    from django_safemigrations.backfill.keyset import Fill, fill
    from django_safemigrations.backfill.leases import LedgerProgress
    from django_safemigrations.backfill.surroundings import surrounded_by, unthrottled
    from django_safemigrations.backfill.throttle import throttling
    from django_safemigrations.postgres.catalog import Catalog
    from django_safemigrations.postgres.runner import runner

    def sleep(seconds: float) -> None:
        with profile.timing("waiting for VACUUM"):
            time.sleep(seconds)

    def commit() -> None:
        with profile.timing("commits"):
            committing()

    connection.ensure_connection()
    wrapper: Any = connection
    committing = wrapper._commit
    wrapper._commit = commit
    table = Catalog(connection).find_table(f'"public"."{TABLE}"')
    assert table is not None
    task = Fill(table, {COLUMN: EXPRESSION}, NEEDED, "benchmark")
    store = LedgerProgress(connection, "benchmark", table.qualified)
    with (
        surrounded_by(throttle=throttling if throttled else unthrottled),
        connection.execute_wrapper(profile),
        connection.schema_editor(atomic=False) as editor,
        runner(editor) as means,
    ):
        return fill(means, task, store, sleep=sleep)


def peer() -> int:
    """Fill with django-deferred-migrations' backfill and its default settings."""
    from deferred_migrations.backfill import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        run_batched_update,
    )
    from django.db import connection

    with Path(os.devnull).open("w") as nowhere:
        printed, sys.stdout = sys.stdout, nowhere
        try:
            return int(
                run_batched_update(
                    connection,
                    TABLE,
                    "id",
                    f'"{COLUMN}" = {EXPRESSION}',
                    NEEDED,
                    "benchmark",
                )
            )
        finally:
            sys.stdout = printed


def peer_version() -> str:
    """Return the installed version of the package compared with; empty without it."""
    try:
        return version(PEER)
    except PackageNotFoundError:
        return ""


def server_cpu(pid: int) -> float | None:
    """Return the CPU seconds of a session's process; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


WAYS = ("update", "ours", "unthrottled", "peer")


def run(way: str, url: str) -> dict[str, Any]:
    """Fill the table one way; return seconds, rows, peak memory and a profile."""
    from django.db import connection

    configure(url)
    # As a process that runs migrations: all that it needs is imported before the clock starts.
    connection.ensure_connection()
    with suppress(ImportError):
        import_module(
            "deferred_migrations.backfill"
            if way == "peer"
            else "django_safemigrations.backfill.keyset"
        )
    profile = Profile()
    begun = time.perf_counter()
    if way == "update":
        changed = update()
    elif way == "peer":
        changed = peer()
    else:
        changed = ours(throttled=way == "ours", profile=profile)
    seconds = time.perf_counter() - begun
    if profile.seconds:
        profile.seconds["Python"] = seconds - sum(profile.seconds.values())
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss  # kilobytes, but bytes on macOS
    server = server_cpu(connection.connection.info.backend_pid)
    return {
        "seconds": seconds,
        "changed": changed,
        "cpu": None if server is None else server + used.ru_utime + used.ru_stime,
        "peak_mib": peak / (1024**2 if sys.platform == "darwin" else 1024),
        "profile": profile.seconds,
        "batches": profile.batches,
    }


def write(url: str, rows: int) -> dict[str, Any]:
    """Update single rows by key at a steady rate until standard input ends.

    A latency is that of one statement with its commit, from sending to answer: what the one
    request feels that meets a locked row. Requests of others go on meanwhile.
    """
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    chance = random.Random(1)
    latencies = []
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
        due = time.perf_counter()
        while not ended.is_set():
            due = max(due + 1 / WRITES_A_SECOND, time.perf_counter() - 0.1)
            time.sleep(max(0.0, due - time.perf_counter()))
            begun = time.perf_counter()
            connection.execute(
                f'UPDATE "{TABLE}" SET state = %s WHERE id = %s',
                ["paid", chance.randint(1, rows)],
            )
            latencies.append(time.perf_counter() - begun)
    return {"latencies": latencies}


if __name__ == "__main__":
    way, url, rows = sys.argv[1:]
    print(json.dumps(write(url, int(rows)) if way == "writer" else run(way, url)))
