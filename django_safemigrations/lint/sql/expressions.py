"""What can be said about an SQL expression without a database."""

from __future__ import annotations

from collections.abc import Iterator

from django_safemigrations.lint.sql.functions import CHANGING, HARMLESS
from django_safemigrations.lint.sql.names import dotted, strings
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.volatility import STABLE, VOLATILE


def called(node: Node) -> Iterator[str]:
    """Yield the names of the functions in a tree."""
    for inside in node.walk():
        if inside.is_a("FuncCall"):
            yield dotted(strings(inside.children("funcname")) or [""])


def volatile_call(node: Node, stable: frozenset[str] = frozenset()) -> str | None:
    """Return the first function that PostgreSQL computes anew for each row, or None.

    A function that isn't known to be immutable or stable counts as volatile.

    Args:
        node: the expression.
        stable: further functions that are known not to be volatile.
    """
    for name in called(node):
        if name in VOLATILE | CHANGING or name not in STABLE | HARMLESS | stable:
            return name
    return None


def conjuncts(node: Node | None) -> Iterator[Node]:
    """Yield the conditions that all have to hold."""
    if node is None:
        return
    if node.is_a("BoolExpr") and node.choice("boolop") == "AND_EXPR":
        for part in node.children("args"):
            yield from conjuncts(part)
    else:
        yield node


def not_null_columns(node: Node | None) -> frozenset[str]:
    """Return the columns that a CHECK proves not to be NULL, as PostgreSQL would see it."""
    found = set()
    for part in conjuncts(node):
        if part.is_a("NullTest") and part.choice("nulltesttype") == "IS_NOT_NULL":
            name = column_of(part.child("arg"))
            if name is not None:
                found.add(name)
    return frozenset(found)


def column_of(node: Node | None) -> str | None:
    """Return the column that a plain reference names, without its table."""
    if node is None or not node.is_a("ColumnRef"):
        return None
    parts = strings(node.children("fields"))
    return parts[-1] if parts and len(parts) == len(node.children("fields")) else None


def is_constant(node: Node | None, variables: frozenset[str] = frozenset()) -> bool:
    """Return whether a node is a value that is written down, or a list of such.

    Args:
        node: the expression.
        variables: names that stand for one value, too.
    """
    if node is None:
        return False
    if node.is_a("ColumnRef"):
        parts = strings(node.children("fields"))
        return bool(parts) and parts[0] in variables
    if node.is_a("A_Const", "ParamRef"):
        return True
    if node.is_a("TypeCast"):
        return is_constant(node.child("arg"), variables)
    if node.is_a("A_ArrayExpr"):
        return all(is_constant(part, variables) for part in node.children("elements"))
    if node.is_a("List"):
        return all(is_constant(part, variables) for part in node.children("items"))
    if node.is_a("A_Expr") and node.child("lexpr") is None:
        return is_constant(node.child("rexpr"), variables)
    if node.is_a("RowExpr"):
        return all(is_constant(part, variables) for part in node.children("args"))
    return False


def is_null(node: Node | None) -> bool:
    """Return whether a default is NULL, which is no default at all."""
    if node is not None and node.is_a("TypeCast"):
        return is_null(node.child("arg"))
    return node is not None and node.is_a("A_Const") and node.flag("isnull")


def operator(node: Node) -> str:
    """Return the operator of an expression."""
    return dotted(strings(node.children("name")) or [""])


def has_few_rows(select: Node | None) -> bool:
    """Return whether a query's rows are counted where it is written: by LIMIT or VALUES."""
    if select is None or not select.is_a("SelectStmt"):
        return False
    if select.has("limit_count"):
        return is_constant(select.child("limit_count"))
    return bool(select.children("values_lists"))


def compared(
    where: Node | None, variables: frozenset[str] = frozenset()
) -> tuple[set[str], set[str], bool]:
    """Return how a WHERE narrows rows down.

    Args:
        where: the condition.
        variables: names that stand for one value.

    Returns:
        The columns that have to equal values which are written down, those that have to lie
        between two of them, and whether the rows are counted by a LIMIT inside.
    """
    equal: set[str] = set()
    bounds: dict[str, set[str]] = {}
    counted = False
    for part in conjuncts(where):
        if part.is_a("SubLink") and part.choice("sub_link_type") == "ANY_SUBLINK":
            counted = counted or has_few_rows(part.child("subselect"))
        if not part.is_a("A_Expr"):
            continue
        left, right = part.child("lexpr"), part.child("rexpr")
        name, kind = column_of(left), part.choice("kind")
        if name is None and kind == "AEXPR_OP" and is_constant(left, variables):
            name, right = column_of(right), left
        if name is None:
            continue
        sign = operator(part)
        if kind == "AEXPR_BETWEEN" and is_constant(right, variables):
            bounds.setdefault(name, set()).update("<>")
        elif kind == "AEXPR_OP_ANY" and sign == "=" and _from_counted(right):
            counted = True
        elif sign == "=" and kind in ("AEXPR_OP", "AEXPR_IN", "AEXPR_OP_ANY"):
            if is_constant(right, variables) or (kind == "AEXPR_OP" and _is_one_value(right)):
                equal.add(name)
        elif (
            kind == "AEXPR_OP" and sign in ("<", "<=", ">", ">=") and is_constant(right, variables)
        ):
            bounds.setdefault(name, set()).add(sign[0])
    between = {name for name, signs in bounds.items() if signs == {"<", ">"}}
    return equal, between, counted


def _is_one_value(node: Node | None) -> bool:
    """Return whether a query gives one value, whatever it is: more than one row is an error."""
    if node is None or not node.is_a("SubLink"):
        return False
    return node.choice("sub_link_type") == "EXPR_SUBLINK"


def _from_counted(node: Node | None) -> bool:
    """Return whether ``ANY(ARRAY(SELECT … LIMIT n))`` is meant."""
    if node is None or not node.is_a("SubLink"):
        return False
    return has_few_rows(node.child("subselect"))
