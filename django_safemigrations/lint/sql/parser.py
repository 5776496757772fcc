"""The only place that knows the package which carries PostgreSQL's parser.

postgast brings libpg_query with the grammar of PostgreSQL 18. It is an extra, and imported
when the first RunSQL is read: most runs of lintmigrations need neither its memory nor its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from django_safemigrations.lint.sql.tree import Node

PACKAGE = "postgast"
INSTALL = 'pip install "django-safemigrations[sql]"'
GRAMMAR = "PostgreSQL 18"
SHOWN = 60


def is_installed() -> bool:
    """Return whether SQL can be parsed, without importing anything."""
    return find_spec(PACKAGE) is not None


@dataclass(frozen=True)
class Statement:
    """One statement of a string.

    Attributes:
        node: its tree.
        text: as it was written, without what surrounds it.
        line: on which it starts in the string, from 1.
    """

    node: Node
    text: str
    line: int

    @property
    def words(self) -> str:
        """The start of its text on one line."""
        return shortened(self.text)


@dataclass(frozen=True)
class SyntaxProblem:
    """A statement that PostgreSQL would refuse.

    Attributes:
        message: the parser's, such as ``syntax error at or near "FORM"``.
        text: what could not be parsed.
        line: of the error in the string, from 1.
    """

    message: str
    text: str
    line: int

    @property
    def words(self) -> str:
        """The start of its text on one line."""
        return shortened(self.text)


def shortened(text: str) -> str:
    """Return the start of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def parse(sql: str) -> list[Statement | SyntaxProblem]:
    """Parse a string as PostgreSQL would; what can't be parsed is told, the rest is returned."""
    import postgast

    raw = sql.encode()
    try:
        tree = postgast.parse(sql)
    except postgast.PgQueryError as error:
        return _piecewise(raw, error)
    found: list[Statement | SyntaxProblem] = []
    for item in tree.stmts:
        start, length = item.stmt_location, item.stmt_len or len(raw) - item.stmt_location
        wrapper = item.stmt
        node = Node(getattr(wrapper, wrapper.WhichOneof("node")))
        begins = _first_word(raw, start, start + length)
        text = raw[begins : start + length].decode().rstrip().rstrip(";").rstrip()
        found.append(Statement(node, text, raw.count(b"\n", 0, begins) + 1))
    return found


def _piecewise(raw: bytes, error: Any) -> list[Statement | SyntaxProblem]:
    """Parse what stands between semicolons one by one."""
    pieces = list(_pieces(raw))
    if len(pieces) < 2:
        return [_problem(raw, 0, raw, error)]
    found: list[Statement | SyntaxProblem] = []
    for start, piece in pieces:
        lines = raw.count(b"\n", 0, start)
        for one in _one(raw, start, piece):
            line = one.line + lines if isinstance(one, Statement) else one.line
            made = Statement(one.node, one.text, line) if isinstance(one, Statement) else one
            found.append(made)
    return found


def _one(raw: bytes, start: int, piece: bytes) -> list[Statement | SyntaxProblem]:
    import postgast

    try:
        postgast.parse(piece.decode())
    except postgast.PgQueryError as error:
        return [_problem(raw, start, piece, error)]
    return parse(piece.decode())


def _pieces(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield where each piece starts, and the piece; a semicolon in parentheses ends none."""
    import postgast

    try:
        tokens = postgast.scan(raw.decode()).tokens
    except postgast.PgQueryError as error:
        # A quote or comment without an end: what stands before it can still be scanned.
        end = max(error.cursorpos - 1, 0)
        head = raw[:end].rpartition(b";")[0]
        if not head or len(head) >= len(raw):
            yield 0, raw
            return
        yield from _pieces(head)
        yield len(head) + 1, raw[len(head) + 1 :]
        return
    start = depth = 0
    for token in tokens:
        word = raw[token.start : token.end]
        depth += (word == b"(") - (word == b")")
        if word == b";" and depth <= 0:
            yield start, raw[start : token.start]
            start, depth = token.end, 0
    if raw[start:].strip():
        yield start, raw[start:]


def _problem(raw: bytes, start: int, piece: bytes, error: Any) -> SyntaxProblem:
    position = start + max(error.cursorpos - 1, 0)
    # An error at the end is told at the last line that says anything.
    said = raw[:position].rstrip() if position >= len(raw.rstrip()) else raw[:position]
    return SyntaxProblem(str(error.message), piece.decode().strip(), line=said.count(b"\n") + 1)


def _first_word(raw: bytes, start: int, end: int) -> int:
    """Return where a statement begins behind blank space and comments."""
    while start < end:
        if raw[start : start + 1].isspace():
            start += 1
        elif raw[start : start + 2] == b"--":
            stop = raw.find(b"\n", start)
            start = end if stop < 0 else stop + 1
        elif raw[start : start + 2] == b"/*":
            start = _behind_comment(raw, start, end)
        else:
            return start
    return start


def _behind_comment(raw: bytes, start: int, end: int) -> int:
    depth, at = 1, start + 2
    while at < end and depth:
        pair = raw[at : at + 2]
        depth += (pair == b"/*") - (pair == b"*/")
        at += 2 if pair in (b"/*", b"*/") else 1
    return at


def written(node: Node, change: Callable[[Any], None] | None = None) -> str:
    """Return a statement's SQL, changed in one way if wanted.

    Args:
        node: of the statement.
        change: changes a copy of the parser's object.
    """
    import postgast

    tree = postgast.ParseResult()
    wrapper: Any = tree.stmts.add().stmt
    field = next(
        f.name for f in wrapper.DESCRIPTOR.fields if f.message_type is node.message.DESCRIPTOR
    )
    copy = getattr(wrapper, field)
    copy.CopyFrom(node.message)
    if change is not None:
        change(copy)
    return str(postgast.deparse(tree))


def written_expression(node: Node) -> str:
    """Return an expression's SQL."""
    import postgast

    tree = postgast.ParseResult()
    select: Any = tree.stmts.add().stmt.select_stmt
    value = select.target_list.add().res_target.val
    field = next(
        f.name for f in value.DESCRIPTOR.fields if f.message_type is node.message.DESCRIPTOR
    )
    getattr(value, field).CopyFrom(node.message)
    return str(postgast.deparse(tree)).removeprefix("SELECT ")


def parse_plpgsql(statement: str) -> list[Any]:
    """Return the tree of a DO block or a PL/pgSQL function, as lists and dicts.

    Raises:
        ValueError: its body can't be parsed; the message says where.
    """
    import postgast

    try:
        return list(postgast.parse_plpgsql(statement))
    except postgast.PgQueryError as error:
        where = f" ({error.context})" if error.context else ""
        raise ValueError(f"{error.message}{where}") from error
