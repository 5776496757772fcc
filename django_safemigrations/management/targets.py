"""What the command line asks for: which migrations, in which direction, and from which scope."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.apps import apps
from django.core.management.base import CommandError
from django.db.migrations import Migration
from django.db.migrations.loader import AmbiguityError

from django_safemigrations.conf import CHECKLIST_ITEMS, nearest
from django_safemigrations.executor import PhasedExecutor
from django_safemigrations.ledger import APP_LABEL
from django_safemigrations.management.exit_codes import USAGE
from django_safemigrations.phases import Phase
from django_safemigrations.schedule import Key


def usage(message: str) -> CommandError:
    """An error in what was typed."""
    return CommandError(message, returncode=USAGE)


@dataclass(frozen=True)
class Target:
    """Where the database is to be brought.

    Attributes:
        keys: Django's targets; a name of None means before the first migration.
        migrations: what has to be applied, or taken back, in order.
        backwards: whether they are to be taken back.
        scope: every migration that the targets cover; pending contracts outside of it are
            left alone. None for everything.
    """

    keys: tuple[tuple[str, str | None], ...]
    migrations: tuple[Migration, ...]
    backwards: bool
    scope: frozenset[Key] | None

    def covers(self, key: Key) -> bool:
        """Whether a pending contract is in the scope."""
        return self.scope is None or key in self.scope


def find_target(
    executor: PhasedExecutor,
    app_label: str | None,
    name: str | None,
    phase: Phase | None,
    pending: Collection[Key],
    *,
    run_syncdb: bool = False,
) -> Target:
    """Find out what was meant.

    Args:
        executor: has the loaded migrations.
        app_label: an app, or None for all.
        name: a migration's name or the beginning of it, "zero", or None for the last one.
        phase: the phase that was asked for by name; with the contract phase an applied
            migration is no way back, for pending contracts count as applied.
        pending: the contracts that the ledger holds.
        run_syncdb: whether the app may be one without migrations.

    Raises:
        CommandError: unknown app, unknown or ambiguous migration.
    """
    graph = executor.loader.graph
    if app_label is None:
        keys: list[tuple[str, str | None]] = list(graph.leaf_nodes())
        return _forwards(executor, keys, None)
    _check_app(executor, app_label, run_syncdb=run_syncdb)
    if name is None:
        leaves: list[tuple[str, str | None]] = [
            key for key in graph.leaf_nodes() if key[0] == app_label
        ]
        return _forwards(executor, leaves, _covered(executor, leaves))
    if name == "zero":
        return _backwards(executor, [(app_label, None)])
    key = _find(executor, app_label, name)
    applied = key in executor.loader.applied_migrations
    forwards = phase is Phase.CONTRACT or (phase is None and key in pending)
    if applied and not forwards:
        return _backwards(executor, [key])
    if applied:
        scope = _covered(executor, [key]) | {key}
        return Target((key,), (), backwards=False, scope=scope)
    return _forwards(executor, [key], _covered(executor, [key]))


def _forwards(
    executor: PhasedExecutor,
    keys: list[tuple[str, str | None]],
    scope: frozenset[Key] | None,
) -> Target:
    plan = executor.migration_plan(keys)
    return Target(tuple(keys), tuple(m for m, _ in plan), backwards=False, scope=scope)


def _backwards(executor: PhasedExecutor, keys: list[tuple[str, str | None]]) -> Target:
    plan = executor.migration_plan(keys)
    if any(migration.app_label == APP_LABEL for migration, _ in plan):
        raise usage(
            f"safemigrate can't take back {APP_LABEL}: its ledger is kept there. "
            f"Type: manage.py migrate {keys[0][0]} {keys[0][1] or 'zero'}"
        )
    return Target(tuple(keys), tuple(m for m, _ in plan), backwards=True, scope=None)


def _covered(executor: PhasedExecutor, keys: Iterable[tuple[str, str | None]]) -> frozenset[Key]:
    graph = executor.loader.graph
    return frozenset(
        needed for key in keys if key in graph.nodes for needed in graph.forwards_plan(key)
    )


def _check_app(executor: PhasedExecutor, app_label: str, *, run_syncdb: bool) -> None:
    loader = executor.loader
    labels = [config.label for config in apps.get_app_configs()]
    if app_label not in labels:
        raise usage(
            f"There is no installed app with label {app_label!r}. {nearest(app_label, labels)}"
        )
    if run_syncdb:
        if app_label in loader.migrated_apps:
            raise usage(
                f"Can't use --run-syncdb with app {app_label!r}: it has migrations. "
                f"Type: manage.py safemigrate {app_label}"
            )
    elif app_label not in loader.migrated_apps:
        raise usage(
            f"App {app_label!r} does not have migrations. "
            f"Type: manage.py makemigrations {app_label}"
        )


def _find(executor: PhasedExecutor, app_label: str, name: str) -> Key:
    loader = executor.loader
    names = sorted(key[1] for key in loader.disk_migrations or {} if key[0] == app_label)
    if (app_label, name) in (loader.disk_migrations or {}):
        key = (app_label, name)
    else:
        try:
            key = (app_label, loader.get_migration_by_prefix(app_label, name).name)
        except AmbiguityError:
            found = [one for one in names if one.startswith(name)]
            raise usage(
                f"More than one migration of {app_label!r} begins with {name!r}: "
                f"{', '.join(found)}. Type one of these names."
            ) from None
        except KeyError:
            raise usage(
                f"App {app_label!r} has no migration whose name begins with {name!r}. "
                f"{nearest(name, names)}"
            ) from None
    if key not in loader.graph.nodes and key in loader.replacements:
        # A squash that is applied in part is not in the graph: its last part stands for it.
        replaced = loader.replacements[key].replaces[-1]
        return (replaced[0], replaced[1])
    return key


def parse_waivers(given: Iterable[str]) -> dict[str, str]:
    """Read ``--waive ITEM=REASON``.

    Raises:
        CommandError: unknown item, or no reason.
    """
    waivers: dict[str, str] = {}
    for text in given:
        item, _, reason = text.partition("=")
        item, reason = item.strip(), reason.strip()
        if item not in CHECKLIST_ITEMS:
            raise usage(
                f"--waive {text}: there is no checklist item {item!r}. "
                f"{nearest(item, CHECKLIST_ITEMS)}"
            )
        if not reason:
            raise usage(
                f"--waive {item}: a waiver needs a reason, which the ledger keeps. "
                f'Type: --waive {item}="why it is safe without"'
            )
        waivers[item] = reason
    return waivers


def parse_resolutions(given: Iterable[str]) -> dict[Key, str]:
    """Read ``--resolve-contract APP.NAME=REASON``.

    Raises:
        CommandError: not of that form, or no reason.
    """
    found: dict[Key, str] = {}
    for text in given:
        name, _, reason = text.partition("=")
        app_label, dot, migration = name.strip().partition(".")
        if not (dot and app_label and migration and reason.strip()):
            raise usage(
                f"--resolve-contract {text}: give the migration and how its work was done. "
                'Type: --resolve-contract shop.0003_contract="dropped the column by hand"'
            )
        found[app_label, migration] = reason.strip()
    return found
