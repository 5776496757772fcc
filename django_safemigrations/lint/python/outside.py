"""Names of Django's and of other packages' functions that matter to a migration, and errors kept quiet."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.events import CHANGES, Event, Kind
from django_safemigrations.lint.python.values import Extent, Listing, Row, Rows, Value

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader
    from django_safemigrations.lint.python.scope import Scope

ATOMIC = frozenset({"django.db.transaction.atomic", "django.db.transaction.Atomic"})

SLEEP = "sleep"
NETWORK = "network"
THREADS = "threads"
PROCESSES = "processes"
MAIL = "mail"
QUEUE = "queue"
FILES = "files"

WAITS: tuple[tuple[str, str], ...] = (
    ("time.sleep", SLEEP),
    ("asyncio.sleep", SLEEP),
    ("requests.", NETWORK),
    ("httpx.", NETWORK),
    ("aiohttp.", NETWORK),
    ("urllib.request.", NETWORK),
    ("urllib3.", NETWORK),
    ("http.client.", NETWORK),
    ("socket.", NETWORK),
    ("boto3.", NETWORK),
    ("stripe.", NETWORK),
    ("redis.", NETWORK),
    ("elasticsearch.", NETWORK),
    ("google.cloud.", NETWORK),
    ("threading.Thread", THREADS),
    ("concurrent.futures.", THREADS),
    ("multiprocessing.", PROCESSES),
    ("subprocess.", PROCESSES),
    ("os.system", PROCESSES),
    ("os.popen", PROCESSES),
    ("smtplib.", MAIL),
    ("django.core.mail.", MAIL),
    ("django.core.files.storage.default_storage.", FILES),
    ("os.rename", FILES),
    ("os.replace", FILES),
    ("os.remove", FILES),
    ("os.unlink", FILES),
    ("shutil.move", FILES),
    ("shutil.rmtree", FILES),
    ("shutil.copy", FILES),
)
"""Calls that wait for something besides the database, by the beginning of their name."""

HARMLESS_ENDS = ("Error", "Exception", "Timeout", "Path", "cpu_count")
"""Ends of names that stand below these modules and wait for nothing."""

QUEUED = frozenset({"delay", "apply_async", "enqueue", "send_task"})

BROAD = frozenset({"Exception", "BaseException"})
DATABASE_ERRORS = frozenset(
    {
        "DatabaseError",
        "IntegrityError",
        "OperationalError",
        "ProgrammingError",
        "InternalError",
        "DataError",
    }
)


ABSENCE = frozenset({"LookupError", "AttributeError", "FieldError", "FieldDoesNotExist"})


def what_it_waits_for(path: str) -> str:
    """Return what a function waits for, by its dotted name; empty if for nothing."""
    if path.endswith(HARMLESS_ENDS):
        return ""
    return next((what for start, what in WAITS if path.startswith(start)), "")


def expects_absence(node: ast.Try) -> bool:
    """Return whether a model or attribute that isn't there is taken care of."""
    return any(
        handler.type is None or bool(set(_caught(handler.type)) & (BROAD | ABSENCE))
        for handler in node.handlers
    )


def note_swallowed(
    reader: Reader, node: ast.Try, tried: Sequence[Event], _scope: Scope, savepoints: int
) -> None:
    """Write down handlers that go on after a database error."""
    for handler in node.handlers:
        names = set(_caught(handler.type))
        broad = handler.type is None or bool(names & BROAD)
        if not broad and not names & DATABASE_ERRORS:
            continue
        if any(isinstance(part, ast.Raise) for inner in handler.body for part in ast.walk(inner)):
            continue
        kinds = CHANGES | {Kind.SQL} if broad else CHANGES | {Kind.SQL, Kind.READ}
        unprotected = [
            event for event in tried if event.kind in kinds and event.savepoints == savepoints
        ]
        if unprotected:
            silent = all(_does_nothing(statement) for statement in handler.body)
            reader.note(
                Kind.SWALLOW,
                handler,
                text=_head(handler),
                model=unprotected[0].model,
                detail="silent" if silent and broad else "",
                fields=(unprotected[0].text,),
            )
            return


def _head(handler: ast.ExceptHandler) -> str:
    return f"except {ast.unparse(handler.type)}" if handler.type else "except"


def _caught(kind: ast.expr | None) -> Iterator[str]:
    if isinstance(kind, ast.Tuple):
        for element in kind.elts:
            yield from _caught(element)
    elif isinstance(kind, ast.Name):
        yield kind.id
    elif isinstance(kind, ast.Attribute):
        yield kind.attr


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Continue) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def note_resave(
    reader: Reader, node: ast.For | ast.AsyncFor, iterable: Value, _scope: Scope
) -> None:
    """Write down a loop that saves rows and changes nothing of them."""
    items = iterable.items if isinstance(iterable, Listing) else None
    if isinstance(iterable, Rows | Listing) and iterable.extent is Extent.FEW:
        return
    rows = isinstance(iterable, Rows) and not iterable.values
    if not rows and not (isinstance(items, Row) and not items.fresh):
        return
    if not isinstance(node.target, ast.Name):
        return
    model = (
        iterable.model
        if isinstance(iterable, Rows)
        else items.model
        if isinstance(items, Row)
        else None
    )
    if model is None or not model.historical:
        return
    saved = _only_saved(node.body, node.target.id)
    if saved is not None and not reader.facts.resave_matters(model):
        reader.note(Kind.RESAVE, saved, model=model, extent=Extent.FEW)


def _only_saved(body: Sequence[ast.stmt], name: str) -> ast.Call | None:
    """Return the call of ``save`` if nothing else is ever done with a row."""
    saved: ast.Call | None = None
    uses = 0
    for statement in body:
        for part in ast.walk(statement):
            if isinstance(part, ast.Name) and part.id == name:
                uses += 1
            if (
                isinstance(part, ast.Call)
                and isinstance(part.func, ast.Attribute)
                and part.func.attr == "save"
                and isinstance(part.func.value, ast.Name)
                and part.func.value.id == name
                and not any(keyword.arg == "update_fields" for keyword in part.keywords)
            ):
                saved = part
    return saved if uses == 1 else None
