"""One node of the tree that PostgreSQL's parser makes of a statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Node:
    """A node, named and shaped as in PostgreSQL's ``parsenodes.h``, with fields in snake_case.

    Fields that the parser left at their default are empty: ``""``, ``0``, False, None, ``[]``.

    Args:
        message: the parser's own object; only this class and the parser's module look inside.
    """

    __slots__ = ("message",)

    def __init__(self, message: Any) -> None:
        self.message = message

    @property
    def kind(self) -> str:
        """Name of the node's type, such as ``AlterTableStmt``."""
        return str(self.message.DESCRIPTOR.name)

    def is_a(self, *kinds: str) -> bool:
        """Return whether the node is of one of these types."""
        return self.kind in kinds

    def text(self, field: str) -> str:
        """Return a string."""
        return str(getattr(self.message, field))

    def number(self, field: str) -> int:
        """Return a number."""
        return int(getattr(self.message, field))

    def flag(self, field: str) -> bool:
        """Return a boolean."""
        return bool(getattr(self.message, field))

    def choice(self, field: str) -> str:
        """Return the name of an enumerated value, such as ``AT_AddColumn``."""
        found = self.message.DESCRIPTOR.fields_by_name[field]
        return str(found.enum_type.values_by_number[getattr(self.message, field)].name)

    def has(self, field: str) -> bool:
        """Return whether a field that holds one node is there."""
        return bool(self.message.HasField(field))

    def child(self, field: str) -> Node | None:
        """Return the node in a field, or None."""
        return _unwrapped(getattr(self.message, field)) if self.message.HasField(field) else None

    def children(self, field: str) -> list[Node]:
        """Return the nodes of a list."""
        unwrapped = (_unwrapped(item) for item in getattr(self.message, field))
        return [node for node in unwrapped if node is not None]

    def walk(self) -> Iterator[Node]:
        """Yield the node and everything below it."""
        yield self
        for descriptor, value in self.message.ListFields():
            if descriptor.message_type is None:
                continue
            for item in [value] if hasattr(value, "DESCRIPTOR") else value:
                below = _unwrapped(item)
                if below is not None:
                    yield from below.walk()


def _unwrapped(message: Any) -> Node | None:
    """Take a node out of the parser's wrapper for nodes of any type."""
    if message.DESCRIPTOR.name != "Node":
        return Node(message)
    which = message.WhichOneof("node")
    return Node(getattr(message, which)) if which is not None else None
