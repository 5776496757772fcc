"""What a hazard is: one way in which a migration can block or break the application it serves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DOCS_URL = "https://django-safemigrations.readthedocs.io/en/latest/reference/hazards/"


class Severity(StrEnum):
    """How a finding counts."""

    ERROR = "error"
    """Requests fail or wait when the migration runs against a database under traffic."""
    WARNING = "warning"
    """Somebody should look: the harm depends on what can't be seen in the file."""
    NOTE = "note"
    """Nothing to do, since the table is known to be small; never fails and never unmeets an item."""


class Work(StrEnum):
    """What a hazard makes PostgreSQL do with every row, and with that how its harm grows."""

    NONE = "none"
    """Nothing: the harm is the lock, the deploy or the data, whatever the table's size."""
    SCAN = "scan"
    """Every row is read."""
    BUILD = "build"
    """Every row is read and sorted into an index."""
    REWRITE = "rewrite"
    """The table is written anew as a whole, and every index with it."""
    UPDATE = "update"
    """Every row is updated, and every index with it: slower than a rewrite by far."""


DONE = {
    Work.SCAN: "every row is read",
    Work.BUILD: "every row is read, and put into an index",
    Work.REWRITE: "the table and its indexes are written anew",
    Work.UPDATE: "rows are updated, and every index with them",
}


@dataclass(frozen=True)
class Example:
    """Python source of a migration, shown in the documentation and linted by the tests.

    Attributes:
        source: the body of ``class Migration`` after its dependencies, or with
            ``whole_file`` the text of the file.
        setup: module level source that goes before the class.
        before: body of a migration that comes earlier in the same app, if one is needed.
        also: codes of other hazards that the example carries as well.
        whole_file: whether `source` is the whole file.
        rules: text of ``store/lint.py``, whose `RULES` the setting LINT_RULES names.
        others: whole files of other migrations that are needed, by ``app_label.name``.
        databases: how many databases the project has.
    """

    source: str
    setup: str = ""
    before: str = ""
    also: tuple[str, ...] = ()
    whole_file: bool = False
    rules: str = ""
    others: tuple[tuple[str, str], ...] = ()
    databases: int = 1


@dataclass(frozen=True)
class Hazard:
    """One entry of the catalogue.

    Attributes:
        code: ``DSM`` and three digits; never reused.
        name: the same in words.
        title: one line that says what goes wrong.
        severity: how a finding counts.
        why: what PostgreSQL and Django do, in Markdown.
        lock: PostgreSQL's name of the lock, or a dash when none is the point.
        who_waits: which statements of the application wait, or fail.
        way_out: what to write instead, in Markdown, ready to paste.
        bad: a migration that has the hazard.
        good: a migration that reaches the same end without it.
        work: what is done with every row; with `--stats` the size of the table then decides.
        remains: what goes wrong on a small table, too; empty if nothing does.
    """

    code: str
    name: str
    title: str
    severity: Severity
    why: str
    lock: str
    who_waits: str
    way_out: str
    bad: Example
    good: Example
    work: Work = Work.NONE
    remains: str = ""

    @property
    def url(self) -> str:
        """Address of the hazard's documentation page."""
        return f"{DOCS_URL}{self.code}/"

    @property
    def growth(self) -> str:
        """How the harm grows with the table, in a sentence; empty if it doesn't."""
        if self.work is Work.NONE:
            return ""
        remains = f"; on a small table, too, {self.remains}" if self.remains else ""
        return f"{DONE[self.work]}{remains}."
