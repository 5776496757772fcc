"""The four items that the files themselves answer, through what lintmigrations finds in them."""

from __future__ import annotations

from collections.abc import Sequence

from django_safemigrations.checklist.evidenced import evidenced, rehearsal_command
from django_safemigrations.checklist.verdicts import Context, State
from django_safemigrations.hazards import Severity
from django_safemigrations.lint import Finding
from django_safemigrations.schedule import is_reversible

IRREVERSIBLE = ("DSM401",)
UNBATCHED = ("DSM402",)
NOT_CONCURRENT = ("DSM101", "DSM102", "DSM103")
SHOWN = 5

Answer = tuple[State, str, str]


def reversible(context: Context) -> Answer:
    """Every operation can be taken back."""
    found = _found(context, IRREVERSIBLE)
    places = {(finding.app_label, finding.migration) for finding in found}
    lines = [_line(finding) for finding in found]
    for migration in context.migrations:
        key = (migration.app_label, migration.name)
        stuck = [o.describe() for o in migration.operations if not is_reversible(o)]
        if stuck and key not in places:
            lines.append(f"{'.'.join(key)}: can't be undone: {stuck[0]}")
    return _answer(context, lines, "every operation can be undone", IRREVERSIBLE)


def batched(context: Context) -> Answer:
    """No statement changes a whole table at once."""
    lines = [_line(finding) for finding in _found(context, UNBATCHED)]
    return _answer(context, lines, "no data migration touches a table all at once", UNBATCHED)


def concurrent(context: Context) -> Answer:
    """Indexes are built and dropped without blocking anybody."""
    lines = [_line(finding) for finding in _found(context, NOT_CONCURRENT)]
    return _answer(context, lines, "no index build or drop blocks the table", NOT_CONCURRENT)


def no_downtime(context: Context) -> Answer:
    """Nothing else blocks or breaks requests; before a contract, no old code is left to break."""
    others = (*IRREVERSIBLE, *UNBATCHED, *NOT_CONCURRENT)
    # What old code may not bear was tried on the copy; the work itself is done in an instant.
    rehearsed = evidenced("rehearsed", context)[0] is State.MET
    bearable = (Severity.NOTE, Severity.WARNING) if rehearsed else (Severity.NOTE,)
    found: list[Finding] = []
    small: list[Finding] = []
    for finding, light in zip(context.findings, context.weighed or context.findings, strict=True):
        if finding.severity == Severity.ERROR and finding.code not in others:
            (small if light.severity in bearable else found).append(light)
    codes = tuple(dict.fromkeys(finding.code for finding in found))
    state, evidence, type_next = _answer(
        context,
        [_line(finding) for finding in found],
        "no operation blocks or breaks requests",
        codes,
    )
    if state is State.MET:
        evidence = "\n".join([evidence, *map(_line, small[:SHOWN])])
    elif not rehearsed and all(
        light.severity in (Severity.NOTE, Severity.WARNING) for light in found
    ):
        type_next = rehearsal_command(context.command)
    old = context.old_code
    if old is None:
        return state, evidence, type_next
    if not old.problems:
        return state, "\n".join([evidence, *old.notes]), type_next
    said = [evidence] if state is State.UNMET else []
    type_next = type_next or old.type_next or context.waiver_command("no_downtime")
    return State.UNMET, "\n".join([*said, *old.problems, *old.notes]), type_next


def _found(context: Context, codes: Sequence[str]) -> list[Finding]:
    return [
        finding
        for finding in context.findings
        if finding.code in codes and finding.severity is not Severity.NOTE
    ]


def _line(finding: Finding) -> str:
    return f"{finding.code} {finding.app_label}.{finding.migration}: {finding.message}"


def _answer(context: Context, lines: Sequence[str], met: str, codes: Sequence[str]) -> Answer:
    if not lines:
        count = len(context.migrations)
        return State.MET, f"{met} ({count} migration{'s' if count != 1 else ''} read)", ""
    shown = [*lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"and {len(lines) - SHOWN} more")
    code = next((code for code in codes if any(line.startswith(code) for line in lines)), codes[0])
    return State.UNMET, "\n".join(shown), f"manage.py lintmigrations --explain {code}"
