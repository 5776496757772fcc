"""How long the copy for a rehearsal takes, against pg_dump -j and pg_restore -j typed by hand.

Both copy the shop from one server to another, in turns; ours counts everything from the settings to
a copy that can be used, its server's start too. By hand the server runs already, and has the
settings that ours is filled with.

    python -m benchmarks.copying [--orders 600000] [--rounds 3] [--large]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import django
import psycopg

from testproject.database import own_server, wanted_version
from testproject.demo.seed import STATEMENTS

LARGE = 5_000_000
SERVER_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
WAYS = {"as typed": (), "uncompressed": ("--compress=0", "--no-sync")}
NAME = "copied_shop"


def fill(url: str, orders: int) -> int:
    """Fill the shop; return its size in bytes."""
    with psycopg.connect(url, autocommit=True) as session:
        for statement in STATEMENTS:
            session.execute(
                statement.format(customers=20_000, products=1_000, orders=orders).encode()
            )
        session.execute("VACUUM (FREEZE, ANALYZE)")
        session.execute("CHECKPOINT")
        row = session.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def ours(connection: Any, directory: Path, jobs: int) -> float:
    """Make a copy as a rehearsal does; return the seconds until it can be used."""
    from django_safemigrations.rehearsal.copies import open_copy
    from django_safemigrations.rehearsal_settings import RehearsalSettings

    settings = RehearsalSettings(directory=str(directory), jobs=jobs)
    began = time.monotonic()
    with open_copy(connection, settings, progress=lambda line: None):
        return time.monotonic() - began


def by_hand(connection: Any, directory: Path, jobs: int, more: tuple[str, ...]) -> float:
    """Dump and restore with the programs alone, into a server that runs; return the seconds."""
    from django_safemigrations.postgres.programs import (
        connection_parameters,
        environment,
        find_programs,
    )
    from django_safemigrations.rehearsal.copies.places import COPYING, SERVING
    from django_safemigrations.rehearsal.copies.scratch_server import scratch_server
    from django_safemigrations.rehearsal.copies.workspaces import workspace

    programs = find_programs((*SERVING, *COPYING), connection.pg_version // 10000)
    with (
        workspace(str(directory)) as space,
        scratch_server(programs, space, lambda line: None) as server,
    ):
        with psycopg.connect(**server.parameters, autocommit=True) as session:
            session.execute("CREATE DATABASE copied TEMPLATE template0")
        target = environment({**server.parameters, "dbname": "copied"}, server.environment)
        dump = [programs.path("pg_dump"), "-Fd", f"-j{jobs}", "-f", str(space.dump), *more]
        restore = [programs.path("pg_restore"), f"-j{jobs}", "--no-owner", "--dbname="]
        began = time.monotonic()
        subprocess.run(dump, env=environment(connection_parameters(connection)), check=True)
        subprocess.run([*restore, str(space.dump)], env=target, check=True)
        return time.monotonic() - began


def main() -> None:
    """Measure, and print every figure and the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--large", action="store_true", help="about 2 GB")
    options = parser.parse_args()
    server = own_server(wanted_version(), f"copying-{os.getpid()}", SERVER_SETTINGS)
    directory = Path(tempfile.mkdtemp(prefix="dsm_bench_"))
    directory.chmod(0o755)
    try:
        server.create_database(NAME)
        os.environ["DATABASE_URL"] = server.dsn(NAME)
        os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        size = fill(server.dsn(NAME), LARGE if options.large else options.orders)
        print(f"{size / 1024**2:.0f} MB, {options.jobs} sessions, {os.cpu_count()} processors")
        ratios: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(options.rounds):
            names = ["ours", *WAYS]
            seconds = {}
            for name in names if number % 2 == 0 else reversed(names):
                seconds[name] = (
                    ours(connection, directory, options.jobs)
                    if name == "ours"
                    else by_hand(connection, directory, options.jobs, WAYS[name])
                )
                print(f"round {number + 1}: {name} {seconds[name]:.1f} s", flush=True)
            for way in WAYS:
                ratios[way].append(seconds["ours"] / seconds[way])
        for way, found in ratios.items():
            print(
                f"ours / by hand, {way}: median {statistics.median(found):.2f}, "
                f"from {min(found):.2f} to {max(found):.2f}"
            )
        connection.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        server.stop()
        if server.cluster is not None:
            server.cluster.remove()


if __name__ == "__main__":
    main()
