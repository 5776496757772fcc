"""Reads DO blocks and the bodies of functions that are called, as far as their SQL is written down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.sql.expressions import called
from django_safemigrations.lint.sql.facts import Function
from django_safemigrations.lint.sql.functions import HARMLESS
from django_safemigrations.lint.sql.names import dotted, strings
from django_safemigrations.lint.sql.parser import (
    Statement,
    SyntaxProblem,
    parse,
    parse_plpgsql,
    shortened,
)
from django_safemigrations.lint.sql.run import Judge, Run
from django_safemigrations.lint.sql.tree import Node

LOOPS = (
    "PLpgSQL_stmt_loop",
    "PLpgSQL_stmt_while",
    "PLpgSQL_stmt_fori",
    "PLpgSQL_stmt_fors",
    "PLpgSQL_stmt_forc",
    "PLpgSQL_stmt_foreach_a",
    "PLpgSQL_stmt_dynfors",
)
DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors")
QUERIES = ("sqlstmt", "query", "expr")
STATEMENTS = (
    "PLpgSQL_stmt_execsql",
    "PLpgSQL_stmt_perform",
    "PLpgSQL_stmt_fors",
    "PLpgSQL_stmt_return_query",
    "PLpgSQL_stmt_call",
)
BUILT_IN_PREFIXES = (
    "pg_",
    "array_",
    "json",
    "regexp_",
    "to_",
    "ts_",
    "st_",
    "string_",
    "date_",
    "has_",
    "uuid_",
    "txid_",
    "range_",
)
REFUSALS = ("syntax error", "missing ", "unterminated", "mismatched", "loop variable")
"""How the parser's messages begin that tell of a mistake, and not of what it doesn't know."""
LOOK = (
    "Look at what it runs, and say what you found: "
    "# safemigrations: ignore DSM405 -- which lock it takes, and for how long"
)


@dataclass(frozen=True)
class Query:
    """SQL inside a body.

    Attributes:
        text: of one statement, or of an expression that gives the statement's text.
        dynamic: whether it is such an expression.
        in_loop: whether it runs again and again.
        commits: whether the loop ends its transaction each time.
    """

    text: str
    dynamic: bool
    in_loop: bool
    commits: bool


def do_block(node: Node, run: Run, judge: Judge) -> Iterator[Observation]:
    """Judge what a DO block runs."""
    options = {option.text("defname"): option for option in node.children("args")}
    language = _string(options.get("language")) or "plpgsql"
    if language.lower() != "plpgsql":
        yield _not_read(f"A DO block in {language}")
        return
    yield from _plpgsql(run.statement.text, "the DO block", run, judge)


def create_function(node: Node, run: Run) -> Iterator[Observation]:
    """Creating a function runs nothing; remember its body for those who call it."""
    name = dotted(strings(node.children("funcname")) or [""])
    options = {option.text("defname"): option for option in node.children("options")}
    volatility = _string(options.get("volatility"))
    run.session.created.add(name)
    run.facts.functions[name] = Function(
        language=(_string(options.get("language")) or "sql").lower(),
        body=_string(options.get("as")),
        statement=run.statement.text,
        node=node,
        stable=volatility in ("stable", "immutable"),
    )
    return
    yield


def _string(option: Node | None) -> str:
    value = option.child("arg") if option is not None else None
    if value is None:
        return ""
    if value.is_a("List"):
        value = next(iter(value.children("items")), None)
    return value.text("sval") if value is not None and value.is_a("String") else ""


def calls(node: Node, run: Run, judge: Judge) -> Iterator[Observation]:
    """Judge the functions that a SELECT or CALL runs."""
    for name in dict.fromkeys(called(node)):
        if name in HARMLESS or name in run.called:
            continue
        function = run.facts.functions.get(name)
        if function is None:
            if not name.startswith(BUILT_IN_PREFIXES):
                yield _not_read(f"The function {name}(), which no migration before this defines,")
            continue
        yield from _body(name, function, replace(run, called=run.called | {name}), judge)


def _body(name: str, function: Function, run: Run, judge: Judge) -> Iterator[Observation]:
    inside = f"the function {name}()"
    if function.language == "plpgsql":
        yield from _plpgsql(function.statement, inside, run, judge)
    elif function.language == "sql":
        statements = parse(function.body) if function.body else _atomic(function.node)
        for statement in statements:
            if isinstance(statement, Statement):
                yield from judge(statement.node, run.within(statement, inside))
            else:
                yield _not_read(f"{_capital(inside)}: {statement.message}; it")
    else:
        yield _not_read(f"{_capital(inside)}, written in {function.language},")


def _atomic(node: Node) -> list[Statement | SyntaxProblem]:
    """Return the statements of a body that begins with BEGIN ATOMIC, or is one RETURN."""
    body = node.child("sql_body")
    if body is None:
        return []
    items = body.children("items") if body.is_a("List") else [body]
    found: list[Statement | SyntaxProblem] = []
    for item in items:
        for inner in item.children("items") if item.is_a("List") else [item]:
            found.append(Statement(inner, inner.kind, 1))
    return found


def _plpgsql(text: str, inside: str, run: Run, judge: Judge) -> Iterator[Observation]:
    try:
        tree = parse_plpgsql(text)
    except ValueError as error:
        if str(error).startswith(REFUSALS):
            yield Observation(
                "DSM601",
                f"PL/pgSQL in {inside} can't be parsed: {error}. The statement fails.",
                "Mend it; psql shows the place with a caret.",
            )
        else:
            yield _not_read(f"{_capital(inside)}, which can't be read here ({error}),")
        return
    variables = frozenset(_variables(tree))
    for query in _queries(tree, in_loop=False, commits=False):
        known = frozenset() if query.in_loop and not query.commits else variables
        batched = query.commits and not run.context.is_atomic()
        text = query.text if not query.dynamic else (_constant(query.text) or "")
        if not text:
            yield _not_read(
                f"{_capital(inside)} builds SQL when it runs (EXECUTE {shortened(query.text)}): it"
            )
            continue
        for statement in parse(text):
            if isinstance(statement, SyntaxProblem):
                yield Observation(
                    "DSM601",
                    f"SQL in {inside} can't be parsed: {statement.message}: {statement.words}",
                    "Mend it; psql shows the place with a caret.",
                )
                continue
            within = run.within(statement, inside, batched=batched)
            yield from judge(statement.node, replace(within, variables=known))


def _variables(tree: Any) -> Iterator[str]:
    """Yield the names of the variables of a body."""
    if isinstance(tree, list):
        for item in tree:
            yield from _variables(item)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("PLpgSQL_var", "PLpgSQL_rec", "PLpgSQL_row") and "refname" in value:
                yield value["refname"]
            yield from _variables(value)


def _queries(tree: Any, *, in_loop: bool, commits: bool) -> Iterator[Query]:
    """Yield the SQL of a body in the order in which it is written."""
    if isinstance(tree, list):
        for item in tree:
            yield from _queries(item, in_loop=in_loop, commits=commits)
        return
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key in STATEMENTS or key in DYNAMIC:
            for name in QUERIES:
                text = _text(value.get(name))
                if text:
                    yield Query(text, key in DYNAMIC, in_loop, commits)
        loops = key in LOOPS
        ends = commits or (loops and _commits(value))
        yield from _queries(value, in_loop=in_loop or loops, commits=ends)


def _text(expression: Any) -> str:
    if not isinstance(expression, dict):
        return ""
    return str(expression.get("PLpgSQL_expr", {}).get("query", ""))


def _commits(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(_commits(item) for item in tree)
    if isinstance(tree, dict):
        return "PLpgSQL_stmt_commit" in tree or any(_commits(v) for v in tree.values())
    return False


def _constant(expression: str) -> str | None:
    """Return the text that an expression of constants gives."""
    (statement,) = parse(f"SELECT {expression}")
    if isinstance(statement, SyntaxProblem):
        return None
    (target,) = statement.node.children("target_list")
    return _folded(target.child("val"))


def _folded(node: Node | None) -> str | None:
    if node is None:
        return None
    if node.is_a("A_Const"):
        value = node.child("sval")
        return value.text("sval") if value is not None else None
    if node.is_a("A_Expr") and strings(node.children("name")) == ["||"]:
        left, right = _folded(node.child("lexpr")), _folded(node.child("rexpr"))
        return left + right if left is not None and right is not None else None
    return None


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _not_read(what: str) -> Observation:
    return Observation("DSM405", f"{what} is not inspected.", LOOK)
