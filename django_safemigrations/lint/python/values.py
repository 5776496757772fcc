"""What an expression in a data migration can stand for, as far as its harm depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_safemigrations.lint.python.names import Names
    from django_safemigrations.lint.python.scope import Scope
    from django_safemigrations.lint.python.sources import FunctionNode


class Extent(IntEnum):
    """How many rows: bounded by what is written, by the size of a batch, or by nothing."""

    FEW = 0
    PART = 1
    WHOLE = 2


class Form(Enum):
    """Whether rows are still a query, or have been read into the memory of the process."""

    QUERY = "query"
    ITERATOR = "iterator"
    LIST = "list"


@dataclass(frozen=True)
class Value:
    """Anything; subclasses know more."""


@dataclass(frozen=True)
class Unknown(Value):
    """Something of which at most the dotted name is known.

    Attributes:
        path: such as ``time.sleep``; empty if there is none.
    """

    path: str = ""


@dataclass(frozen=True)
class Constant(Value):
    """A value that is written in the source."""

    value: Any


@dataclass(frozen=True)
class Tuple(Value):
    """Values side by side, for unpacking."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Listing(Value):
    """A collection in memory.

    Attributes:
        items: what each element is.
        extent: how many there are.
        born: the number of loops around the place where it was made.
        grouped: whether an element stands for several rows.
        turns: whether it gives batches one after the other.
        source: the model of the rows that decide how many elements there are.
    """

    items: Value
    extent: Extent = Extent.FEW
    born: int = 0
    grouped: bool = False
    turns: bool = False
    source: Model | None = None


@dataclass(frozen=True)
class Apps(Value):
    """A registry of models: the historical one that Django passes in, or today's."""

    historical: bool


@dataclass(frozen=True)
class Editor(Value):
    """The schema editor."""


@dataclass(frozen=True)
class Connection(Value):
    """A database connection: the schema editor's, or one that was imported."""

    given: bool


@dataclass(frozen=True)
class Cursor(Value):
    """A cursor of a connection."""

    given: bool


@dataclass(frozen=True)
class Function(Value):
    """A function whose source is at hand.

    Attributes:
        node: its definition.
        names: of its module.
        closure: the scope in which it was defined, if that is a function's.
        before: arguments that are already given.
        keywords: the same by name.
    """

    node: FunctionNode
    names: Names
    closure: Scope | None = None
    before: tuple[Value, ...] = ()
    keywords: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Instance(Value):
    """An object of a class of the project, or the class itself."""

    cls: type
    is_class: bool = False


@dataclass(frozen=True)
class Model(Value):
    """A model class.

    Attributes:
        label, name: lower case; empty if they are not known.
        historical: whether it comes from the registry that Django passes in.
        shown: how the source calls it.
    """

    label: str
    name: str
    historical: bool
    shown: str

    @property
    def key(self) -> tuple[str, str]:
        """Key in the state."""
        return self.label, self.name


NO_MODEL = Model("", "", historical=True, shown="rows")


@dataclass(frozen=True)
class Rows(Value):
    """Rows of a table: a manager, a queryset, or what was read from one.

    Attributes:
        model: whose.
        extent: how many.
        form: query, iterator or list.
        values: whether they are values instead of instances.
        born: the number of loops around the place where it was made.
        filtered: whether something was left out.
        names: annotations and the like, which are no fields.
        joined: relations that come with the rows.
        lower, upper: bounds that have been set, by the field.
        distinct: whether equal values were folded.
        manager: whether nothing was called on it yet.
        using: whether a database was named.
        locked: whether reading them locks them.
    """

    model: Model
    extent: Extent = Extent.WHOLE
    form: Form = Form.QUERY
    values: bool = False
    born: int = 0
    filtered: bool = False
    names: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    lower: frozenset[str] = frozenset()
    upper: frozenset[str] = frozenset()
    distinct: bool = False
    manager: bool = False
    using: bool = False
    locked: bool = False


@dataclass(frozen=True)
class Row(Value):
    """One row as an instance of its model.

    Attributes:
        model: whose.
        looped: whether it is one of many that a loop goes through.
        fresh: whether it was made here and not read.
        names, joined: as of the rows that it comes from.
        using: whether a database was named for it.
    """

    model: Model
    looped: bool = False
    fresh: bool = False
    names: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    using: bool = False


@dataclass(frozen=True)
class Part(Value):
    """A value that was read from a row, or one row of values."""

    row: Row | None
    name: str = ""
    looped: bool = False


@dataclass(frozen=True)
class Pages(Value):
    """A Paginator."""

    rows: Rows


@dataclass(frozen=True)
class Bound(Value):
    """A method that is about to be called."""

    owner: Value
    name: str


@dataclass(frozen=True)
class Condition(Value):
    """A ``Q`` object."""

    keywords: tuple[tuple[str, Value], ...]
    alternatives: bool = False


@dataclass(frozen=True)
class Expression(Value):
    """An expression of SQL; `fields` are those that it reads."""

    fields: frozenset[str] = frozenset()


UNKNOWN = Unknown()
