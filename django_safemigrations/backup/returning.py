"""Puts kept data back into columns and tables that are there again."""

from __future__ import annotations

from collections.abc import Callable

from django_safemigrations.backfill.fills import Fill
from django_safemigrations.backfill.work import escaped
from django_safemigrations.backup.copies import PutBack, fill_here, images_differ
from django_safemigrations.backup.kept import Kept
from django_safemigrations.exceptions import BackfillFailed, DataDiffers
from django_safemigrations.postgres.catalog import Table, quote
from django_safemigrations.postgres.runner import Runner

SEQUENCES = """
SELECT a.attname, pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""


def put_back(runner: Runner, kept: Kept, say: Callable[[str], None]) -> None:
    """Copy values or rows back in batches, and say how many there were.

    A row that can't take its value (a constraint forbids it) is named, and left as it is.

    Locks: ROW EXCLUSIVE; the rows of a batch for about BATCH_TIME milliseconds.
    """
    table = runner.catalog.find_table(kept.source)
    source = runner.catalog.find_table(kept.qualified)
    if table is None or source is None:
        return
    if kept.column:
        _put_back_column(runner, kept, table, say)
    else:
        _put_back_table(runner, kept, table, source, say)


def _put_back_column(runner: Runner, kept: Kept, table: Table, say: Callable[[str], None]) -> None:
    column = quote(kept.column)
    # The kept table's columns have names of their own, so that these are those of the rows.
    matched = " AND ".join(
        f"kept.dsm_key{number} = {quote(name)}" for number, name in enumerate(kept.key, start=1)
    )
    unchanged = matched
    if kept.witness:
        differs = images_differ(["kept.dsm_witness"], [quote(kept.witness)])
        unchanged += f" AND NOT ({differs})"
    differ = images_differ(["kept.dsm_value"], [column])
    work = Fill(
        table=table,
        assignments={
            kept.column: f"(SELECT kept.dsm_value FROM {kept.qualified} kept WHERE {matched})"
        },
        needed=f"EXISTS (SELECT FROM {kept.qualified} kept WHERE {unchanged} AND {differ})",
        title=f"putting back {kept.title}",
    )
    failed = _filled(runner, work, kept)
    back = _count(runner, table, f"EXISTS (SELECT FROM {kept.qualified} kept WHERE {unchanged})")
    without = _count(
        runner, table, f"NOT EXISTS (SELECT FROM {kept.qualified} kept WHERE {matched})"
    )
    line = f"Put back: {kept.title}, in {back:,} rows"
    if without:
        line += f"; {without:,} rows were inserted since and have no kept value"
    if kept.witness:
        changed = (
            _count(runner, table, f"EXISTS (SELECT FROM {kept.qualified} kept WHERE {matched})")
            - back
        )
        if changed:
            line += (
                f"; {changed:,} rows were changed in {quote(kept.witness)} since and keep what "
                "was made from that"
            )
    say(line)
    if failed:
        say(f"Not put back: {failed}; the values stay in {kept.qualified} until {kept.until[:16]}")


def _put_back_table(
    runner: Runner, kept: Kept, table: Table, source: Table, say: Callable[[str], None]
) -> None:
    there = {
        name
        for (name,) in runner.catalog.rows(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = ''",
            [table.oid],
        )
    }
    columns = tuple(name for name in kept.columns if name in there)
    lost = [name for name in kept.columns if name not in there]
    work = PutBack(source, table.qualified, columns, kept.key, f"putting back {kept.title}")
    failed = _filled(runner, work, kept)
    for name, sequence in runner.catalog.rows(SEQUENCES, [table.oid]):
        if sequence is not None:
            runner.catalog.value(
                f"SELECT setval(%s::regclass, greatest(max({escaped(quote(name))}), "
                f"(SELECT last_value FROM {escaped(sequence)}))) FROM {escaped(table.qualified)} "
                f"HAVING count(*) > 0",
                [sequence],
            )
    back = _count(runner, table, "true")
    say(
        f"Put back: {kept.title}, {back:,} rows"
        + (f"; it has no columns {', '.join(map(quote, lost))} any more" if lost else "")
    )
    if failed:
        say(f"Not put back: {failed}; the rows stay in {kept.qualified} until {kept.until[:16]}")


def _filled(runner: Runner, work: Fill | PutBack, kept: Kept) -> str:
    """Do the work; return what could not be done, in words."""
    try:
        fill_here(runner, work, f"{kept.name} back")
    except (BackfillFailed, DataDiffers) as error:
        # What could be put back is; the migration was taken back, and must not be in the way.
        return str(error).strip().split("\n")[0]
    return ""


def _count(runner: Runner, table: Table, where: str) -> int:
    with runner.guard.as_long_as_it_takes():
        return int(runner.catalog.value(f"SELECT count(*) FROM {table.qualified} WHERE {where}"))
