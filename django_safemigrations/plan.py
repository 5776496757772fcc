"""What a plan is made of: migrations as steps, steps as statements, each with its price."""

from __future__ import annotations

from dataclasses import dataclass

from django_safemigrations.phases import Phase


@dataclass(frozen=True)
class Statement:
    """One SQL statement and what it costs the others.

    Attributes:
        sql: the statement.
        lock: the strongest table lock it takes, by PostgreSQL's name, or None.
        blocks: who waits while the lock is held: "reads and writes", "writes", "writes to the
            same rows", "schema changes only", "nobody" or "unknown".
        work: what it does while it holds the lock: "rewrite", "build", "scan", "none" or "unknown".
        table: the table, with its schema if the statement names one.
    """

    sql: str
    lock: str | None
    blocks: str
    work: str
    table: str | None


@dataclass(frozen=True)
class Step:
    """One operation of a migration, or one stage of an Expand or Contract.

    Attributes:
        app_label: app of the migration.
        migration: name of the migration.
        operation: index in ``operations``, nested as ``"3.0"``.
        phase: when it runs.
        description: what it does.
        statements: its SQL, as far as it can be known before it runs.
        table_rows: estimated rows of its largest table, None if there is none yet.
        table_bytes: size of that table with indexes and TOAST.
        hazards: codes that lintmigrations finds here.
        note: why its SQL is not (all) shown.
    """

    app_label: str
    migration: str
    operation: str
    phase: Phase
    description: str
    statements: tuple[Statement, ...]
    table_rows: int | None
    table_bytes: int | None
    hazards: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """The steps to run on one database, in order."""

    steps: tuple[Step, ...]
    database: str
