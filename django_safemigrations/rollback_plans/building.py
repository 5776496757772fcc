"""Works out the way back of a schedule from its files; asks no database and executes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from django_safemigrations.operations.leaves import leaves
from django_safemigrations.phases import Phase, migration_phase
from django_safemigrations.rollback_plans.fates import fate_of
from django_safemigrations.rollback_plans.plan import Instruction, NoReturn, RollbackPlan, Undone
from django_safemigrations.schedule import Action, Entry

HALF_DONE = (
    "If the run stops in the middle, the same command goes on with it. What it has finished is taken "
    "back as above; a migration without a transaction (atomic = False) that is half done is finished "
    "first, and then taken back."
)
Place = tuple[str, str, str]


def rollback_plan(
    loader: MigrationLoader,
    entries: Sequence[Entry],
    *,
    database: str,
    plan_hash: str,
    seconds: Mapping[Place, float] | None = None,
    taken: Mapping[Place, str] | None = None,
    kept: str = "",
    release: str = "",
    earlier_release: str = "",
) -> RollbackPlan:
    """Return the way back of what is about to run.

    Args:
        loader: the migrations and their graph.
        entries: what runs, in order.
        database: alias of the database.
        plan_hash: of the plan.
        seconds: how long steps took on the way back in a rehearsal, by app, migration and index.
        taken: what the SQL and the functions of some steps take away, by app, migration and index;
            empty where only running them would tell.
        kept: for how long dropped columns and tables are kept; empty if they are not.
        release: name of the release that runs it, if it has one.
        earlier_release: name of the release that serves before it, if it is known.
    """
    steps: list[Undone] = []
    for entry in reversed(entries):
        steps += _undone(entry, seconds or {}, taken or {}, kept)
    phases = {entry.phase for entry in entries if entry.action is not Action.STEP_OVER}
    typed = "manage.py safemigrate"
    on_database = "" if database == "default" else f" --database {database}"
    named = _by_name(loader, entries)
    return RollbackPlan(
        database=database,
        plan_hash=plan_hash,
        instructions=_instructions(phases, f"{typed} --rollback{on_database}", earlier_release),
        by_name=tuple(f"{typed} {app} {name}{on_database}" for app, name in named),
        steps=tuple(steps),
        no_return=_no_return(steps),
        release=release,
        notes=(HALF_DONE,),
    )


def way_back_of(migrations: Sequence[Migration]) -> tuple[Undone, ...]:
    """Return what taking back some applied migrations does, in the given order."""
    steps: list[Undone] = []
    for migration in migrations:
        entry = Entry(migration, Action.APPLY, migration_phase(migration))
        steps += _undone(entry, {}, {}, "")
    return tuple(steps)


def _undone(
    entry: Entry, seconds: Mapping[Place, float], taken: Mapping[Place, str], kept: str
) -> list[Undone]:
    app_label, name = entry.key
    if entry.action is Action.STEP_OVER:
        undo = "is only unrecorded: its database part has not run"
        return [Undone(app_label, name, "", str(entry.phase), undo)]
    found = []
    for index, operation in leaves(entry.migration):
        fate = fate_of(operation)
        place = (app_label, name, index)
        found.append(
            Undone(
                *place,
                phase=str(entry.phase),
                undo=fate.undo,
                meanwhile=fate.meanwhile,
                loses=fate.loses,
                gone=fate.gone or taken.get(place, ""),
                kept=kept if fate.gone and fate.keepable else "",
                stuck=fate.stuck,
                unsure=taken.get(place) == "",
                seconds=seconds.get(place),
            )
        )
    return found[::-1]


def _no_return(steps: Sequence[Undone]) -> NoReturn | None:
    """Return the first step of the way forwards behind which something is gone."""
    for step in reversed(steps):
        if step.stuck:
            return NoReturn(step.name, step.operation, step.undo, stuck=True)
        if step.gone and not step.kept:
            return NoReturn(step.name, step.operation, f"{step.gone} are gone", stuck=False)
    return None


def _instructions(
    phases: set[Phase], command: str, earlier_release: str
) -> tuple[Instruction, ...]:
    earlier = f"release {earlier_release}" if earlier_release else "the release from before"
    take_back = "As long as this is the last run (safemigrate --history tells), take it back:"
    look = Instruction("Look at it first; nothing is changed:", f"{command} --plan")
    if phases == {Phase.CONTRACT}:
        return (
            Instruction(
                "Leave the new code running: it works before and after the contract, while old code "
                "does not work before this is done."
            ),
            look,
            Instruction(take_back, command),
            Instruction(f"Now {earlier} may be deployed again, if that is wanted."),
            Instruction(
                "To take the expand back too, wait until no new code is left, and type the command "
                "once more."
            ),
        )
    if Phase.CONTRACT in phases:
        return (
            Instruction(
                "Stop the application: the run holds both phases, so no code works at every step of "
                "the way back."
            ),
            look,
            Instruction(take_back, command),
            Instruction(f"Deploy {earlier}."),
        )
    return (
        Instruction(
            f"Deploy {earlier} again: it works with the schema as it is now. Wait until no process "
            "of the new code is left."
        ),
        look,
        Instruction(take_back, command),
    )


def _by_name(loader: MigrationLoader, entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return app and migration to go back to, the last app first; nothing where names can't say it."""
    if any(entry.action is Action.RUN_PENDING for entry in entries):
        # It stays recorded, so no name leads back before it.
        return []
    first: dict[str, Migration] = {}
    for entry in entries:
        first.setdefault(entry.migration.app_label, entry.migration)
    found = []
    for app_label, migration in reversed(first.items()):
        node = loader.graph.node_map.get((app_label, migration.name))
        if node is None:
            return []
        parents = sorted(parent.key[1] for parent in node.parents if parent.key[0] == app_label)
        found.append((app_label, parents[-1] if parents else "zero"))
    return found
