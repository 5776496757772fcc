"""A plan with a mistake, as data: what is in its files, why it is refused, and how it is repaired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.command.project import Project


@dataclass(frozen=True)
class File:
    """A migration of the store.

    Attributes:
        name: what follows its number.
        operations: source of its operations.
        before: source of what stands above the class.
        atomic: whether it has a transaction of its own.
    """

    name: str
    operations: str
    before: str = ""
    atomic: bool = True


@dataclass(frozen=True)
class Mistake:
    """A plan with one mistake.

    Attributes:
        name: what is wrong.
        bad: its files.
        good: the files repaired.
        reasons: what safemigrate says against it; all of them.
        start: files that are applied before the plan.
        rows: SQL that runs before the plan.
        phase: the phase that is run.
    """

    name: str
    bad: tuple[File, ...]
    good: tuple[File, ...]
    reasons: tuple[str, ...]
    start: tuple[File, ...] = ()
    rows: tuple[str, ...] = ()
    phase: str = "expand"

    def write(self, project: Project, files: tuple[File, ...]) -> list[str]:
        """Write files after those that are there, and return their names."""
        names = []
        for file in files:
            number = len(list(project.path("store", "x").parent.glob("0*.py"))) + 1
            name = f"{number:04}_{file.name}"
            imports = "from django_safemigrations.operations import *\n" + file.before
            project.write("store", name, file.operations, before=imports, atomic=file.atomic)
            names.append(name)
        return names

    @property
    def slug(self) -> str:
        """The name as a test id."""
        return "_".join(self.name.replace(",", "").split())


def sql(name: str, forwards: str, backwards: str = "SELECT 1", **more: Any) -> File:
    """Return a file with one RunSQL."""
    return File(name, f"migrations.RunSQL({forwards!r}, {backwards!r}),", **more)


def within(container: str, stages: str, state: str = "") -> str:
    """Return the source of an Expand or Contract."""
    state = f", state_operations=[{state}]" if state else ""
    return f"{container}(database_operations=[{stages}]{state}),"
