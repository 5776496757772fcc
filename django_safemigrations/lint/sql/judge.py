"""Judges the SQL of one RunSQL, statement by statement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.migrations import RunSQL

from django_safemigrations.lint.context import Context, flattened
from django_safemigrations.lint.finding import Observation, on_table
from django_safemigrations.lint.rules.history_transactions import LONG
from django_safemigrations.lint.sql import (
    alter_table,
    code,
    indexes,
    objects,
    rows,
    settings,
    triggers,
    upkeep,
)
from django_safemigrations.lint.sql.names import object_name, relation
from django_safemigrations.lint.sql.parser import GRAMMAR, Statement, SyntaxProblem
from django_safemigrations.lint.sql.run import Judge, Run
from django_safemigrations.lint.sql.script import Sent, sent_strings
from django_safemigrations.lint.sql.tables import table_of_index
from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.costs import Lock

JUDGES: dict[str, Judge] = {
    "AlterDomainStmt": objects.alter_domain,
    "AlterEnumStmt": objects.alter_enum,
    "AlterObjectSchemaStmt": objects.set_schema,
    "AlterSystemStmt": upkeep.outside_only,
    "AlterTableMoveAllStmt": alter_table.move_all,
    "AlterTableStmt": alter_table.alter_table,
    "ClusterStmt": upkeep.cluster,
    "CopyStmt": rows.copy_rows,
    "CreateDomainStmt": objects.create_domain,
    "CreateForeignTableStmt": objects.create_table,
    "CreateFunctionStmt": code.create_function,
    "CreateStmt": objects.create_table,
    "CreateTableAsStmt": objects.create_table_as,
    "CreateTableSpaceStmt": upkeep.outside_only,
    "CreateTrigStmt": triggers.create_trigger,
    "CreatedbStmt": upkeep.outside_only,
    "DeleteStmt": rows.change_rows,
    "DropOwnedStmt": objects.drop_owned,
    "DropTableSpaceStmt": upkeep.outside_only,
    "DropdbStmt": objects.drop_database,
    "IndexStmt": indexes.create_index,
    "InsertStmt": rows.change_rows,
    "LockStmt": upkeep.lock_table,
    "MergeStmt": rows.change_rows,
    "RefreshMatViewStmt": upkeep.refresh,
    "ReindexStmt": indexes.reindex,
    "RenameStmt": objects.rename,
    "RuleStmt": triggers.create_rule,
    "TransactionStmt": settings.transaction,
    "TruncateStmt": rows.truncate,
    "UpdateStmt": rows.change_rows,
    "VacuumStmt": upkeep.vacuum,
    "VariableSetStmt": settings.set_variable,
    "ViewStmt": objects.create_view,
}
_HARMLESS = """
    AlterCollationStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt
    AlterDefaultPrivilegesStmt AlterEventTrigStmt AlterExtensionContentsStmt AlterExtensionStmt
    AlterFdwStmt AlterForeignServerStmt AlterFunctionStmt AlterObjectDependsStmt AlterOpFamilyStmt
    AlterOperatorStmt AlterOwnerStmt AlterPolicyStmt AlterPublicationStmt AlterRoleSetStmt
    AlterRoleStmt AlterSeqStmt AlterStatsStmt AlterSubscriptionStmt AlterTSConfigurationStmt
    AlterTSDictionaryStmt AlterTableSpaceOptionsStmt AlterTypeStmt AlterUserMappingStmt
    CheckPointStmt ClosePortalStmt CommentStmt CompositeTypeStmt ConstraintsSetStmt CreateAmStmt
    CreateCastStmt CreateConversionStmt CreateEnumStmt CreateEventTrigStmt CreateExtensionStmt
    CreateFdwStmt CreateForeignServerStmt CreateOpClassStmt CreateOpFamilyStmt CreatePLangStmt
    CreatePolicyStmt CreatePublicationStmt CreateRangeStmt CreateRoleStmt CreateSchemaStmt
    CreateSeqStmt CreateStatsStmt CreateSubscriptionStmt CreateTransformStmt CreateUserMappingStmt
    DeallocateStmt DeclareCursorStmt DefineStmt DiscardStmt DropRoleStmt DropSubscriptionStmt
    DropUserMappingStmt FetchStmt GrantRoleStmt GrantStmt ImportForeignSchemaStmt ListenStmt
    LoadStmt NotifyStmt PrepareStmt ReassignOwnedStmt SecLabelStmt UnlistenStmt VariableShowStmt
    ReplicaIdentityStmt
"""
HARMLESS = frozenset(_HARMLESS.split())
"""Statements that take no strong lock on a table, or for an instant only, and break no one."""


def judge_sql(
    operation: RunSQL, context: Context, *, contract: bool = False
) -> Iterator[Observation]:
    """Judge what a RunSQL runs.

    Args:
        operation: the RunSQL.
        context: of it; brought up to date with what its SQL does.
        contract: whether no old code is left when it runs.
    """
    strings = script_of(operation, context)
    count = sum(len(sent.statements) or 1 for sent in strings)
    after = list(_later(operation, context)) if strings else []
    together: list[Observation] = []
    number = 0
    for place, sent in enumerate(strings):
        if not context.is_atomic() and not context.sql.began:
            context.sql.end_transaction()
        rest = [s for other in strings[place + 1 :] for s in _parsed(other.statements)]
        if sent.problem is not None:
            number += 1
            yield _told(number, count, 0, _refused(sent.problem))
        for index, statement in enumerate(sent.statements):
            number += 1
            if isinstance(statement, SyntaxProblem):
                yield _told(number, count, statement.line, _syntax(statement))
                continue
            same = _parsed(sent.statements[index + 1 :])
            later = [*same, *rest, *after]
            joined = context.is_atomic() or context.sql.began
            run = Run(
                context=context,
                operation=operation,
                statement=statement,
                following=later if joined else same,
                later=later,
                in_transaction=joined or sent.is_script,
                script=sent.is_script,
                contract=contract,
            )
            before = dict(context.sql.locks_of(operation)) if run.in_transaction else {}
            found = list(_distinct(judge_statement(statement.node, run)))
            if not together:
                together = list(_held_together(found, before, run))
                found += together
            for observation in found:
                yield _told(number, count, statement.line, observation)


def _held_together(
    found: Sequence[Observation], before: Mapping[str, Lock], run: Run
) -> Iterator[Observation]:
    """Report locks of earlier statements that a long one makes everybody wait for.

    Those of earlier operations are reported by the rule over the whole file.
    """
    work = next((one for one in found if one.code in LONG), None)
    if work is None:
        return
    # A foreign key's finding names both tables.
    keys = run.facts.keys.items() if work.code == "DSM509" else ()
    told = {work.table, *(target for (table, _), target in keys if table == work.table)}
    waiting = [
        f"{'reads of and writes to' if lock is Lock.ACCESS_EXCLUSIVE else 'writes to'} {table}"
        for table, lock in before.items()
        if table not in told and not run.table(table).created
    ]
    if before.get(work.table) is Lock.ACCESS_EXCLUSIVE and run.node.is_a("IndexStmt"):
        waiting.append(f"reads of {work.table}")
    if waiting:
        yield Observation(
            "DSM406",
            f"While {run.statement.words} works through {work.table or 'its table'}, the "
            "transaction still holds the locks of the statements before it, so these wait as "
            f"long: {', '.join(waiting)}.",
            "Give the statement a migration of its own; the locks of the others are then held for "
            "an instant.",
            table=work.table,
        )


def script_of(operation: RunSQL, context: Context) -> list[Sent]:
    """Return what a RunSQL sends, parsed once."""
    scripts = context.sql.scripts
    if id(operation) not in scripts:
        scripts[id(operation)] = sent_strings(operation.sql)
    return scripts[id(operation)]


def _later(operation: RunSQL, context: Context) -> Iterator[Statement]:
    """Yield the statements of the RunSQLs behind one in its migration."""
    behind = False
    for other in flattened(context.migration.operations):
        if other is operation:
            behind = True
        elif behind and isinstance(other, RunSQL):
            for sent in script_of(other, context):
                yield from _parsed(sent.statements)


def _parsed(statements: Sequence[Statement | SyntaxProblem]) -> list[Statement]:
    return [statement for statement in statements if isinstance(statement, Statement)]


def judge_statement(node: Node, run: Run) -> Iterator[Observation]:
    """Judge one statement, and what it runs inside."""
    table = ""
    for observation in _judged(node, run):
        table = table or _table(node, run)
        yield on_table(observation, table)


def _table(node: Node, run: Run) -> str:
    """Return the table whose rows a statement works on; empty if it has none or several."""
    if "relation" in node.message.DESCRIPTOR.fields_by_name and node.has("relation"):
        name = relation(node.child("relation"))
        if node.is_a("ReindexStmt") and node.choice("kind") == "REINDEX_OBJECT_INDEX":
            return table_of_index(name, run.context) or ""
        return name
    for field in ("relations", "objects"):
        if field in node.message.DESCRIPTOR.fields_by_name:
            names = [object_name(item) for item in node.children(field)]
            if node.is_a("DropStmt") and node.choice("remove_type") == "OBJECT_INDEX":
                names = [table_of_index(name, run.context) or "" for name in names]
            return names[0] if len(names) == 1 else ""
    return ""


def _judged(node: Node, run: Run) -> Iterator[Observation]:
    kind = node.kind
    judge = JUDGES.get(kind)
    if judge is not None:
        yield from judge(node, run)
    elif kind == "SelectStmt":
        yield from rows.select(node, run)
        yield from _setting(node, run)
        yield from code.calls(node, run, judge_statement)
    elif kind == "CallStmt":
        yield from code.calls(node, run, judge_statement)
    elif kind == "DoStmt":
        yield from code.do_block(node, run, judge_statement)
    elif kind == "DropStmt":
        yield from _drop(node, run)
    elif kind == "ExplainStmt":
        yield from _explained(node, run)
    elif kind == "CreateSchemaStmt":
        run.session.created.add(node.text("schemaname"))
    elif kind not in HARMLESS:
        yield Observation("DSM405", f"{run.statement.words} is not inspected.", code.LOOK)


def _drop(node: Node, run: Run) -> Iterator[Observation]:
    if node.choice("remove_type") == "OBJECT_INDEX":
        yield from indexes.drop_index(node, run)
    else:
        yield from objects.drop(node, run)


def _explained(node: Node, run: Run) -> Iterator[Observation]:
    """EXPLAIN ANALYZE runs what it explains."""
    query = node.child("query")
    options = {option.text("defname") for option in node.children("options")}
    if query is not None and "analyze" in options:
        yield from judge_statement(query, run)


def _setting(node: Node, run: Run) -> Iterator[Observation]:
    """set_config() with false is a SET without LOCAL."""
    for inside in node.walk():
        if not inside.is_a("FuncCall"):
            continue
        arguments = inside.children("args")
        if [part.text("sval") for part in inside.children("funcname")][-1:] != ["set_config"]:
            continue
        if len(arguments) == 3 and _is_false(arguments[2]) and arguments[0].is_a("A_Const"):
            value = arguments[0].child("sval")
            if value is not None and run.inside is None:
                yield settings.lasting(value.text("sval"), run)


def _is_false(node: Node) -> bool:
    value: Any = node.child("boolval") if node.is_a("A_Const") else None
    return value is not None and not value.flag("boolval")


def _distinct(observations: Iterator[Observation]) -> Iterator[Observation]:
    seen = set()
    for observation in observations:
        if observation not in seen:
            seen.add(observation)
            yield observation


def _told(number: int, count: int, line: int, observation: Observation) -> Observation:
    """Say which statement is meant, where there are several."""
    if count < 2 and line < 2:
        return observation
    where = f"Statement {number}" + (f" (line {line})" if line else "")
    return replace(observation, message=f"{where}: {observation.message}")


def _syntax(problem: SyntaxProblem) -> Observation:
    return Observation(
        "DSM601",
        f"{problem.message}, in line {problem.line} of its string, by the grammar of {GRAMMAR}: "
        f"{problem.words}. PostgreSQL refuses it, and migrate fails.",
        "Mend it; psql shows the place with a caret. A percent sign is written %% only where "
        "parameters are given.",
    )


def _refused(problem: str) -> Observation:
    return Observation(
        "DSM601",
        f"Django or psycopg refuses the statement before it is sent: {problem}.",
        "Give one parameter for each %s, and write %% for a percent sign.",
    )
