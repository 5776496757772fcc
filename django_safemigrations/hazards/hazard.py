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
    """

    source: str
    setup: str = ""
    before: str = ""
    also: tuple[str, ...] = ()
    whole_file: bool = False


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

    @property
    def url(self) -> str:
        """Address of the hazard's documentation page."""
        return f"{DOCS_URL}{self.code}/"
