"""From the command line to a schedule: connection, executor, target, phase."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar

from django.apps import apps
from django.core.management.base import CommandError
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.module_loading import module_has_submodule

from django_safemigrations import ledger
from django_safemigrations.backup.keeping import Keeper
from django_safemigrations.conf import get_settings
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.footprints import Footprint
from django_safemigrations.management.base import PHASES, SafeMigrateBase
from django_safemigrations.management.exit_codes import FAILED
from django_safemigrations.management.targets import Target, find_target, usage
from django_safemigrations.models import PendingContract
from django_safemigrations.phases import Phase
from django_safemigrations.postgres.locks import LockGuard
from django_safemigrations.releases import current_release
from django_safemigrations.schedule import Key, Schedule, build_schedule


class Preparing(SafeMigrateBase):
    """What looking and running have in common.

    Attributes:
        options: as they were typed.
        database: alias of the database.
        waivers: reasons by checklist item.
        resolutions: reasons by pending contract.
    """

    keeps_dropped: ClassVar[bool] = True
    """Whether KEEP_DROPPED counts: on a copy, which is dropped anyway, it does not."""

    options: dict[str, Any]
    database: str
    waivers: dict[str, str]
    resolutions: dict[Key, str]

    def _refuse_combinations(self) -> None:
        options = self.options
        count = options["rollback"]
        if count is not None:
            if count < 1:
                raise usage(f"--rollback {count}: give the number of runs to take back, 1 or more.")
            if options["app_label"] or options["phase"]:
                raise usage(
                    "--rollback takes back whole runs, so it goes with neither app label nor "
                    "--phase. Type: manage.py safemigrate --rollback"
                )
        if options["history"] is not None and options["history"] < 1:
            raise usage(f"--history {options['history']}: give the number of runs to show.")
        if options["watch"] and not options["status"]:
            raise usage("--watch goes with --status. Type: manage.py safemigrate --status --watch")
        if options["watch"] and self.as_json:
            raise usage("--watch is for people: leave --format json out, or --watch.")
        if options["prune"] and not options["app_label"]:
            raise usage(
                "Migrations can be pruned only when an app is specified. "
                "Type: manage.py safemigrate APP_LABEL --prune"
            )
        modes = [
            name
            for name in ("status", "history", "prune", "resolve_contract", "rollback")
            if options[name] not in (None, False, [])
        ]
        if len(modes) > 1:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in modes)
            raise usage(f"{names} are different things to do; type one of them.")
        if options["rollback_plan"] and (modes or options["check_unapplied"]):
            other = f"--{modes[0].replace('_', '-')}" if modes else "--check"
            raise usage(
                f"{other} runs no plan, so there is no way back to write. Type: manage.py "
                f"safemigrate --plan --rollback-plan {options['rollback_plan']}"
            )
        if options["no_wait"] and (modes or options["fake"]):
            other = f"--{modes[0].replace('_', '-')}" if modes else "--fake"
            raise usage(f"{other} runs no backfill, so it does not go with --no-wait.")

    def _connect(self) -> BaseDatabaseWrapper:
        connection = connections[self.database]
        if connection.vendor != "postgresql":
            raise usage(
                f"safemigrate works on PostgreSQL; database {self.database!r} is "
                f"{connection.display_name}. For this one, type: "
                f"manage.py migrate --database {self.database}"
            )
        # Receivers of the migrate signals register where Django looks for them.
        for app_config in apps.get_app_configs():
            if app_config.module and module_has_submodule(app_config.module, "management"):
                import_module(".management", app_config.name)
        try:
            connection.ensure_connection()
        except OperationalError as error:
            raise CommandError(
                f"Could not connect to database {self.database!r}; nothing was changed: {error}",
                returncode=FAILED,
            ) from error
        ledger.refuse_unrouted(self.database)
        return connection

    def _executor(
        self, connection: BaseDatabaseWrapper, guard: LockGuard | None = None
    ) -> PhasedExecutor:
        if guard is not None:
            # It may create an extension; who only looks must not.
            connection.prepare_database()
        executor = PhasedExecutor(connection, guard, self.migration_progress_callback)
        if guard is not None and self.keeps_dropped:
            executor.keeper = Keeper(
                connection,
                get_settings().keep_dropped,
                timezone.now,
                release=current_release(),
            )
        executor.loader.check_consistent_history(connection)
        conflicts = executor.loader.detect_conflicts()
        if conflicts:
            found = "; ".join(f"{', '.join(names)} in {app}" for app, names in conflicts.items())
            raise usage(
                f"Conflicting migrations, several leaf nodes in the migration graph: {found}. "
                "Type: manage.py makemigrations --merge"
            )
        return executor

    @property
    def _asked_phase(self) -> Phase | None:
        return PHASES[self.options["phase"] or "all"]

    def _phase_of_run(self, *, fresh: bool) -> Phase | None:
        if self.options["phase"] is None:
            # Nobody is served by a fresh database, so nothing has to wait.
            return None if fresh else Phase.EXPAND
        return PHASES[self.options["phase"]]

    def _owed(self, executor: PhasedExecutor) -> dict[Key, Footprint]:
        """Return what pending contracts have still to change; writes nothing."""
        if not ledger.exists(executor.connection):
            return {}
        owed, _ = ledger.owed_contracts(executor.connection, executor.loader)
        return footprints_of(owed)

    def _schedule(
        self,
        executor: PhasedExecutor,
        target: Target,
        phase: Phase | None,
        owed: dict[Key, Footprint],
    ) -> Schedule:
        ours = [m for m in target.migrations if m.app_label != ledger.APP_LABEL]
        in_scope = [key for key in owed if target.covers(key)]
        full_plan = executor.full_plan()
        return build_schedule(executor.loader, ours, full_plan, phase, owed, in_scope)

    def _target(self, executor: PhasedExecutor, owed: dict[Key, Footprint]) -> Target:
        options = self.options
        # Without a phase an applied migration is a way back, as in migrate.
        phase = Phase.EXPAND if options["phase"] is None else PHASES[options["phase"]]
        return find_target(
            executor,
            options["app_label"],
            options["migration_name"],
            phase,
            list(owed),
            run_syncdb=options["run_syncdb"],
        )

    def _typed(self) -> str:
        """Write the command line that leads here again, without its waivers."""
        options = self.options
        words = ["manage.py safemigrate"]
        words += [word for word in (options["app_label"], options["migration_name"]) if word]
        if options["phase"]:
            words.append(f"--phase {options['phase']}")
        if self.database != "default":
            words.append(f"--database {self.database}")
        words += [
            f"--waive {shlex.quote(f'{item}={reason}')}" for item, reason in self.waivers.items()
        ]
        return " ".join(words)


def footprints_of(pending: Sequence[PendingContract]) -> dict[Key, Footprint]:
    return {(row.app_label, row.name): Footprint.from_json(row.footprint) for row in pending}
