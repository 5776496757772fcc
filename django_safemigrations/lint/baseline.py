"""The file of findings that a project has accepted as they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.lint.finding import Finding, Hidden, HiddenBy

VERSION = 1
WITHOUT_REASON = "accepted when the baseline was written"


class BadBaseline(SafeMigrationsError):
    """The baseline file can't be used."""


@dataclass(frozen=True)
class Entry:
    """One accepted finding.

    Attributes:
        code, app_label, migration, operation: of the finding.
        fingerprint: of the operation's text, so that its lines may move.
        reason: why it is accepted, for the reader; may be empty.
    """

    code: str
    app_label: str
    migration: str
    operation: str | None
    fingerprint: str
    reason: str = ""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What a finding must share with it, wherever in the file the operation stands now."""
        return self.code, self.app_label, self.migration, self.fingerprint

    def describe(self) -> str:
        """Say for people which finding it was."""
        where = f", operation {self.operation}" if self.operation is not None else ""
        return f"{self.code} in {self.app_label}.{self.migration}{where}"


def entry_of(finding: Finding, reason: str = "") -> Entry:
    """Return the entry that accepts a finding."""
    return Entry(
        code=finding.code,
        app_label=finding.app_label,
        migration=finding.migration,
        operation=finding.operation,
        fingerprint=finding.fingerprint,
        reason=reason,
    )


def read_baseline(path: str) -> tuple[Entry, ...]:
    """Read a baseline file.

    Raises:
        BadBaseline: it isn't there, or isn't a baseline; the message says what is wrong where.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadBaseline(
            f"The baseline {path} can't be read: {error.strerror}. Write it with: "
            f"manage.py lintmigrations --baseline {path} --write-baseline"
        ) from error
    except ValueError as error:
        raise BadBaseline(f"The baseline {path} is not JSON: {error}.") from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        found = raw.get("version") if isinstance(raw, dict) else None
        raise BadBaseline(f"The baseline {path} has version {found!r}, and not {VERSION}.")
    entries = raw.get("findings")
    if not isinstance(entries, list):
        raise BadBaseline(f"The baseline {path} has no list of findings.")
    return tuple(_entry(path, number, entry) for number, entry in enumerate(entries))


def _entry(path: str, number: int, raw: Any) -> Entry:
    wanted = {"code": str, "app_label": str, "migration": str, "fingerprint": str}
    if not isinstance(raw, dict):
        raise BadBaseline(f"The baseline {path}: findings[{number}] is not an object.")
    for key, kind in wanted.items():
        if not isinstance(raw.get(key), kind):
            raise BadBaseline(f"The baseline {path}: findings[{number}] has no text for {key!r}.")
    operation, reason = raw.get("operation"), raw.get("reason") or ""
    if not isinstance(operation, str | None) or not isinstance(reason, str):
        raise BadBaseline(f"The baseline {path}: findings[{number}]: operation or reason is wrong.")
    return Entry(
        raw["code"], raw["app_label"], raw["migration"], operation, raw["fingerprint"], reason
    )


def accept(
    findings: Iterable[Finding], entries: Sequence[Entry]
) -> tuple[list[Finding], list[Entry]]:
    """Hide what the entries accept; return all findings, and the entries that match none.

    An entry accepts one finding of its code, migration and operation's text. If several are
    alike, the one at the entry's own place comes first.
    """
    found = list(findings)
    free: dict[tuple[str, str, str, str], list[int]] = {}
    for index, finding in enumerate(found):
        if finding.hidden is None:
            free.setdefault(entry_of(finding).place, []).append(index)
    stale: list[Entry] = []
    exact_first = sorted(
        entries,
        key=lambda entry: all(
            found[index].operation != entry.operation for index in free.get(entry.place, ())
        ),
    )
    for entry in exact_first:
        alike = free.get(entry.place, [])
        same = [index for index in alike if found[index].operation == entry.operation]
        if not alike:
            stale.append(entry)
            continue
        chosen = (same or alike)[0]
        alike.remove(chosen)
        reason = entry.reason or WITHOUT_REASON
        found[chosen] = replace(found[chosen], hidden=Hidden(HiddenBy.BASELINE, reason))
    return found, [entry for entry in entries if entry in stale]


def written(findings: Iterable[Finding], earlier: Sequence[Entry], kept: Sequence[Entry]) -> str:
    """Return the text of a baseline that accepts the findings.

    Args:
        findings: what to accept.
        earlier: entries of the file as it was; their reasons are kept.
        kept: entries to keep as they are, since this run didn't look at their migrations.
    """
    reasons: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in earlier:
        reasons.setdefault(entry.place, []).append(entry.reason)
    entries = list(kept)
    for finding in findings:
        entry = entry_of(finding)
        given = reasons.get(entry.place)
        entries.append(replace(entry, reason=given.pop(0) if given else ""))
    entries.sort(key=_order)
    listed = [
        {
            "code": entry.code,
            "app_label": entry.app_label,
            "migration": entry.migration,
            "operation": entry.operation,
            "fingerprint": entry.fingerprint,
            "reason": entry.reason,
        }
        for entry in entries
    ]
    return json.dumps({"version": VERSION, "findings": listed}, indent=2) + "\n"


def _order(entry: Entry) -> tuple[str, str, list[int], str, str]:
    position = [int(part) for part in (entry.operation or "-1").split(".")]
    return entry.app_label, entry.migration, position, entry.code, entry.fingerprint
