"""Walks the migration files once, in the order of their dependencies, and judges each operation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from django_safemigrations.conf import Settings, get_settings
from django_safemigrations.exceptions import MixedPhases
from django_safemigrations.lint.ancestry import Ancestry
from django_safemigrations.lint.context import Context, History, Key
from django_safemigrations.lint.custom import Judges
from django_safemigrations.lint.finding import Finding, Observation
from django_safemigrations.lint.loader import LoadProblem, Unread, migration_path, replaced_by
from django_safemigrations.lint.placing import Placing
from django_safemigrations.lint.rulebook import Rulebook, read_rulebook
from django_safemigrations.lint.rules import judge, judge_before, judge_file, judge_history
from django_safemigrations.lint.states import move
from django_safemigrations.lint.stats import Scale, Stats
from django_safemigrations.lint.suppressions import Seen
from django_safemigrations.phases import Phase, migration_phase, operation_phase


def lint_migrations(
    loader: MigrationLoader,
    keys: Collection[Key] | None = None,
    settings: Settings | None = None,
    *,
    stats: Stats | None = None,
    details: bool = False,
    fingerprints: bool | None = None,
    book: Rulebook | None = None,
) -> list[Finding]:
    """Judge migration files and return what is unsafe in them, in the order they would run.

    The states of all migrations are walked, whatever is asked for; they are
    never rendered, and no database connection is opened. Files are judged, not
    the plan of a particular database: a squashed migration and the ones that
    it replaces are all read.

    Args:
        loader: a loaded graph; a `LintLoader` also reports what can't be read.
        keys: (app label, name) of the migrations to report on; None for all.
        settings: the settings in force: severities, codes and apps to leave out, own rules.
        stats: sizes of production's tables; findings are weighed by them.
        details: return also the findings that comments hide, marked so.
        fingerprints: give all findings the fingerprints of their operations; by default if
            `details` are wanted.
        book: what `read_rulebook` has read from the settings, if that was done already.

    Raises:
        SettingsError: a rule of the project can't be loaded, or a setting names a code or an
            app that doesn't exist.
    """
    settings = settings or get_settings()
    book = book or read_rulebook(settings)
    scale = None
    if stats is not None:
        fixed = frozenset(book.severities)
        scale = Scale(stats, settings.lint_small_rows, settings.lint_large_rows, fixed)
    placing = Placing(book, scale, details, details if fingerprints is None else fingerprints)
    return list(Walk(loader, keys, placing).findings())


class Walk:
    """One pass over a loader's migrations."""

    def __init__(
        self, loader: MigrationLoader, keys: Collection[Key] | None, placing: Placing
    ) -> None:
        self.placing = placing
        stats = placing.scale.stats if placing.scale else None
        self.own_rules = Judges(placing.book.rules, stats)
        self.loader = loader
        self.graph = loader.graph
        self.keys = None if keys is None else frozenset(keys)
        self.aside = _anchors(loader)
        self.ancestry = Ancestry()
        self.seen: dict[Key, list[Seen]] = {}
        self.complete = not getattr(loader, "problems", ())

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, file by file."""
        reports = list(self._walk())
        for key, report in reports:
            if isinstance(report, Migration):
                yield from self.placing.of_file(key, report, self.seen[key])
            else:
                yield from report

    def _walk(self) -> Iterator[tuple[Key, Migration | list[Finding]]]:
        """Walk all files once; what is seen late, as in the last state, finds its way back."""
        problems: dict[Key, list[LoadProblem]] = {}
        for problem in [*getattr(self.loader, "problems", []), *conflicts(self.loader)]:
            problems.setdefault(problem.key, []).append(problem)
        state = ProjectState(real_apps=set(self.loader.unmigrated_apps))
        history = History()
        for key in self._order():
            yield key, list(self._report_problems(key, problems.pop(key, [])))
            for other in self.aside.pop(key, ()):
                yield from self._walk_aside(other, state, history)
            migration = self.graph.nodes[key]
            parents = [node.key for node in self.graph.node_map[key].parents]
            self.ancestry.add(key, parents, replaced_by(migration))
            yield from self._walk_file(key, migration, state, history)
        for key, rest in problems.items():
            yield key, list(self._report_problems(key, rest))
        for (key, position), observation in judge_history(state, history):
            if key in self.seen:
                self.seen[key].append((position, observation))

    def _order(self) -> Iterator[Key]:
        seen: set[Key] = set()
        for leaf in self.graph.leaf_nodes():
            for key in self.graph.forwards_plan(leaf):
                if key not in seen:
                    seen.add(key)
                    yield key

    def _is_wanted(self, key: Key) -> bool:
        if key[0] in self.placing.book.excluded:
            return False
        return self.keys is None or key in self.keys

    def _walk_aside(
        self, keys: list[Key], state: ProjectState, history: History
    ) -> Iterator[tuple[Key, Migration | list[Finding]]]:
        """Judge files that the graph left out, on a copy of the state where they would begin."""
        if not any(self._is_wanted(key) for key in keys):
            # The expands of replaced files still count for contracts that are not replaced.
            for key in keys:
                self.ancestry.add_after_all(key)
                self._note_expands(key, self.loader.disk_migrations[key], state, history)
            return
        copy, past = state.clone(), history.copy()
        for key in keys:
            migration = self.loader.disk_migrations[key]
            self.ancestry.add_after_all(key)
            if migration.replaces:
                yield from self._walk_file(key, migration, copy.clone(), past.copy())
            else:
                yield from self._walk_file(key, migration, copy, past)
        history.begun.update(past.begun)

    def _note_expands(
        self, key: Key, migration: Migration, state: ProjectState, history: History
    ) -> None:
        context = self._context(key, migration, state, history.copy())
        for position, operation in enumerate(migration.operations):
            if operation_phase(operation) is Phase.EXPAND:
                for _ in judge(operation, str(position), context):
                    pass
        history.begun.update(context.history.begun)

    def _context(
        self, key: Key, migration: Migration, state: ProjectState, history: History
    ) -> Context:
        return Context(
            migration=migration,
            state=state,
            history=history,
            files=self.loader.disk_migrations,
            place=key,
            graph=self.graph,
            ancestry=self.ancestry,
            migrated_apps=self.loader.migrated_apps,
            complete=self.complete,
        )

    def _walk_file(
        self, key: Key, migration: Migration, state: ProjectState, history: History
    ) -> Iterator[tuple[Key, Migration | list[Finding]]]:
        """Judge one file and bring the state behind it."""
        context = self._context(key, migration, state, history)
        seen: list[Seen] = list(_mixed_phases(migration))
        for index, operation in enumerate(migration.operations):
            seen += judge(operation, str(index), context)
            if self._is_wanted(key):
                seen += self.own_rules.judge(operation, str(index), context)
            seen += judge_before(operation, str(index), context)
            try:
                move(operation, migration.app_label, state)
            except Exception as error:  # noqa: BLE001 - operations run code of their own
                # After an unreadable file this is expected; it has been reported.
                if self.complete:
                    seen.append((str(index), _no_state(error)))
        seen += judge_file(context)
        if self._is_wanted(key) and not isinstance(migration, Unread):
            self.seen[key] = seen
            yield key, migration

    def _report_problems(self, key: Key, problems: Iterable[LoadProblem]) -> Iterator[Finding]:
        if not self._is_wanted(key):
            return
        for problem in problems:
            yield from self.placing.of_problem(key, problem)


def _anchors(loader: MigrationLoader) -> dict[Key, list[list[Key]]]:
    """Return the files that are not in the graph, by the migration before which they are walked.

    Those that a squashed migration replaces are walked before it, as one run; a squashed
    migration that isn't used is walked before the first of those that it would replace.
    """
    nodes = loader.graph.nodes
    anchors: dict[Key, list[list[Key]]] = {}
    for key, migration in loader.disk_migrations.items():
        if not migration.replaces:
            continue
        replaced = replaced_by(migration)
        if key in nodes:
            run = [k for k in _unfolded(loader, replaced) if k not in nodes]
            if run:
                anchors.setdefault(key, []).append(run)
        elif first := next((k for k in replaced if k in nodes), None):
            anchors.setdefault(first, []).append([key])
    return anchors


def _unfolded(loader: MigrationLoader, keys: Iterable[Key]) -> Iterator[Key]:
    """Yield files on disk in order, each squashed one before the ones that it replaces."""
    given = list(keys)
    for key in given:
        migration = loader.disk_migrations.get(key)
        if migration is None:
            continue
        yield key
        yield from _unfolded(loader, [k for k in replaced_by(migration) if k not in given])


def conflicts(loader: MigrationLoader) -> Iterator[LoadProblem]:
    """Yield a problem for each app with more than one last migration."""
    broken = {problem.key[0] for problem in getattr(loader, "problems", [])}
    for app_label, names in sorted(loader.detect_conflicts().items()):
        if app_label in broken:
            # A dependency that was cut leaves two ends; it has been reported.
            continue
        last = names[-1]
        migration = loader.graph.nodes[app_label, last]
        yield LoadProblem(
            key=(app_label, last),
            path=migration_path(migration),
            line=0,
            message=f"{app_label} has {len(names)} last migrations: {', '.join(names)}. "
            "migrate refuses to run any.",
            hint=f"Join them: manage.py makemigrations --merge {app_label}",
        )


def _mixed_phases(migration: Migration) -> Iterator[Seen]:
    try:
        migration_phase(migration)
    except MixedPhases as error:
        position = None
        for index, operation in enumerate(migration.operations):
            try:
                is_contract = operation_phase(operation) is Phase.CONTRACT
            except MixedPhases:
                is_contract = True
            if is_contract:
                position = str(index)
                break
        hint = "Move the Contract operations into a migration of their own that depends on it."
        yield position, Observation("DSM403", str(error).replace(hint, "").strip(), hint)


def _no_state(error: Exception) -> Observation:
    return Observation(
        "DSM904",
        f"The operation doesn't fit what the migrations before it built: "
        f"{type(error).__name__}: {error}.",
        "Look for a model or field that an earlier migration lacks, or for a missing dependency.",
    )
