"""What a rewrite gives: operations left as they are, or a chain of expand and contract."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.migrations.operations.base import Operation


@dataclass(frozen=True)
class Plain:
    """An operation that is left as Django wrote it.

    Attributes:
        operation: the operation.
        note: what its author should know, or an empty text.
    """

    operation: Operation
    note: str = ""


@dataclass(frozen=True)
class Chain:
    """One logical change in stages.

    Attributes:
        title: the change in words, with the user's names.
        name: a part of the names of its files.
        expand: operations of the expand phase.
        contract: operations of the contract phase.
        why: why it is staged; one sentence for the docstrings of its files.
        after: what the contract waits for or does, for its docstring.
        note: what its author should know, or an empty text.
    """

    title: str
    name: str
    expand: tuple[Operation, ...] = ()
    contract: tuple[Operation, ...] = ()
    why: str = ""
    after: str = ""
    note: str = ""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All its operations."""
        return (*self.expand, *self.contract)


Step = Plain | Chain
