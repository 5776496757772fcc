"""Reads the migrations of a checkout without running any of it: source in, operations out.

    python -m tests.lint.truth.extract CHECKOUT [CHECKOUT …] > cases.jsonl

Fields of the project's own are taken for the plain Django field that they subclass. What can't be
understood this way is left out and counted.
"""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import hashlib
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from django.contrib.postgres import operations as postgres_operations
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from tests.lint.truth.values import CALLABLES, KEPT_OPTIONS, UnknownValueError, find_class

Key = tuple[str, str]
DIRECTORIES = ("migrations", "db_migrations")

THIRD_PARTY: dict[str, str] = {
    "AutoCreatedField": "DateTimeField",
    "AutoLastModifiedField": "DateTimeField",
    "AutoSlugField": "SlugField",
    "CountryField": "CharField",
    "CreationDateTimeField": "DateTimeField",
    "EncryptedCharField": "CharField",
    "EncryptedTextField": "TextField",
    "ModificationDateTimeField": "DateTimeField",
    "MonitorField": "DateTimeField",
    "MultiSelectField": "CharField",
    "NullBooleanField": "BooleanField",
    "PhoneNumberField": "CharField",
    "StatusField": "CharField",
    "StreamField": "TextField",
    "RichTextField": "TextField",
    "MarkdownxField": "TextField",
    "TimeZoneField": "CharField",
    "TreeForeignKey": "ForeignKey",
    "ParentalKey": "ForeignKey",
    "ParentalManyToManyField": "ManyToManyField",
    "SortedManyToManyField": "ManyToManyField",
    "CITextField": "TextField",
    "CICharField": "CharField",
    "CIEmailField": "EmailField",
    "JSONBField": "JSONField",
    "ThumbnailerImageField": "ImageField",
    "ShortUUIDField": "CharField",
}
"""Fields of well known packages, and fields that Django has dropped."""

OPERATIONS: dict[str, Callable[..., Operation]] = {
    name: getattr(module, name)
    for module, names in (
        (
            migrations,
            "AddConstraint AddField AddIndex AlterField AlterIndexTogether AlterModelOptions "
            "AlterModelTable AlterModelTableComment AlterOrderWithRespectTo AlterUniqueTogether "
            "CreateModel DeleteModel RemoveConstraint RemoveField RemoveIndex RenameField "
            "RenameIndex RenameModel SeparateDatabaseAndState",
        ),
        (
            postgres_operations,
            "AddIndexConcurrently RemoveIndexConcurrently AddConstraintNotValid ValidateConstraint",
        ),
    )
    for name in names.split()
}

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.Div: operator.truediv,
}


def unknown_function() -> None:
    """Stands for a callable of the project."""


@dataclass
class File:
    """One migration as it was read.

    Attributes:
        key: app label and name.
        atomic: whether it runs in one transaction.
        dependencies: keys, also of files of other projects.
        replaces: keys of the files that it squashes.
        operations: those that could be understood.
    """

    key: Key
    atomic: bool = True
    dependencies: list[Key] = field(default_factory=list)
    replaces: list[Key] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


class Checkout:
    """The Python sources of one project.

    Args:
        root: the directory that holds them.

    Attributes:
        left_out: how many operations, fields and values were not understood, by kind.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: Counter[str] = Counter()
        self.sources = sorted(
            path for path in root.rglob("*.py") if "/node_modules/" not in str(path)
        )
        self.bases: dict[str, list[str]] = {}
        self.user = "auth.User"
        self.trees: dict[Path, ast.Module] = {}
        labels: dict[Path, str] = {}
        for path in self.sources:
            try:
                text = path.read_text(encoding="utf-8")
                tree = ast.parse(text)
            except (SyntaxError, ValueError, OSError):
                continue
            if path.parent.name in DIRECTORIES:
                self.trees[path] = tree
            else:
                self._learn_classes(tree, path, labels)
            found = re.search(r"^AUTH_USER_MODEL\s*=\s*['\"]([\w.]+)['\"]", text, re.MULTILINE)
            if found and "/test" not in str(path):
                self.user = found.group(1)
        self.labels = labels

    def _learn_classes(self, tree: ast.Module, path: Path, labels: dict[Path, str]) -> None:
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            names = [_last_name(base) for base in node.bases]
            self.bases.setdefault(node.name, [name for name in names if name])
            if path.name == "apps.py":
                label = _constant_in(node, "label")
                module = _constant_in(node, "name")
                if label or module:
                    labels.setdefault(path.parent, label or str(module).rpartition(".")[2])

    def plain_field(self, name: str) -> str | None:
        """Return Django's field class that a class of this name comes down to; None if none."""
        seen: set[str] = set()
        names = [name]
        while names:
            name = names.pop(0)
            if name in seen:
                continue
            seen.add(name)
            known = THIRD_PARTY.get(name, name)
            try:
                found = find_class(known)
            except UnknownValueError:
                names += self.bases.get(name, [])
                continue
            if isinstance(found, type) and issubclass(found, models.Field) and known != "Field":
                return known
        return None

    def files(self) -> Iterator[File]:
        """Yield all migrations, each after those that it depends on."""
        found: dict[Key, File] = {}
        for path, tree in self.trees.items():
            app = self.labels.get(path.parent.parent, path.parent.parent.name)
            node = next(
                (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Migration"),
                None,
            )
            if node is not None:
                file = Reader(self, tree, (app, path.stem)).read(node)
                found[file.key] = file
        # Either the files that a squash replaces, or the squash.
        for file in list(found.values()):
            if any(key in found for key in file.replaces):
                del found[file.key]
            else:
                for key in file.replaces:
                    found.setdefault(key, File(key, dependencies=[file.key]))
        yield from _in_order(found)


def _in_order(found: dict[Key, File]) -> Iterator[File]:
    first: dict[str, Key] = {}
    last: dict[str, Key] = {}
    for key in sorted(found):
        first.setdefault(key[0], key)
        last[key[0]] = key
    graph: dict[Key, set[Key]] = {}
    for key, file in sorted(found.items()):
        before = set()
        for other in file.dependencies:
            wanted = {"__first__": first, "__latest__": last}.get(other[1], {}).get(other[0], other)
            if wanted in found and wanted != key:
                before.add(wanted)
        graph[key] = before
    while True:
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = error.args[1]
            graph[circle[1]].discard(circle[0])
        else:
            break
    for key in order:
        yield found[key]


class Reader:
    """Evaluates what one migration file says, as far as it names only Django's things."""

    def __init__(self, checkout: Checkout, tree: ast.Module, key: Key) -> None:
        self.checkout = checkout
        self.key = key
        self.constants: dict[str, ast.expr] = {}
        self.renamed: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom | ast.Import):
                for alias in node.names:
                    if alias.asname:
                        self.renamed[alias.asname] = alias.name
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                if isinstance(target, ast.Name):
                    self.constants[target.id] = statement.value
            elif isinstance(statement, ast.ClassDef) and statement.name != "Migration":
                names = [_last_name(base) for base in statement.bases]
                checkout.bases.setdefault(statement.name, [name for name in names if name])

    def read(self, node: ast.ClassDef) -> File:
        """Read the Migration class."""
        file = File(self.key)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and statement.value is not None:
                name, value = _last_name(statement.target), statement.value
            elif isinstance(statement, ast.Assign):
                name, value = _last_name(statement.targets[0]), statement.value
            else:
                continue
            if name == "atomic":
                file.atomic = not (isinstance(value, ast.Constant) and value.value is False)
            elif name in ("dependencies", "replaces"):
                keys = [key for part in self._elements(value) if (key := self._key(part))]
                setattr(file, name, keys)
            elif name == "operations":
                file.operations = list(self._operations(value))
        return file

    def _elements(self, value: ast.expr) -> list[ast.expr]:
        if isinstance(value, ast.List | ast.Tuple):
            return value.elts
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            return self._elements(value.left) + self._elements(value.right)
        if isinstance(value, ast.Name) and value.id in self.constants:
            return self._elements(self.constants[value.id])
        return []

    def _key(self, value: ast.expr) -> Key | None:
        if isinstance(value, ast.Call):
            app = self.checkout.user.partition(".")[0]
            return app, "__first__"
        try:
            app, name = self.value(value)
        except (UnknownValueError, TypeError, ValueError):
            return None
        return str(app), str(name)

    def _operations(self, value: ast.expr) -> Iterator[Operation]:
        for node in self._elements(value):
            name = _last_name(node.func) if isinstance(node, ast.Call) else None
            try:
                if name not in OPERATIONS or not isinstance(node, ast.Call):
                    raise UnknownValueError(name or "computed")
                yield self._operation(name, node)
            except (UnknownValueError, TypeError, ValueError, AttributeError, KeyError) as error:
                kind = name if name in OPERATIONS or name in ("RunPython", "RunSQL") else "other"
                self.checkout.left_out[f"operation {kind}"] += 1
                if name in OPERATIONS:
                    self.checkout.left_out[f"because of {error}"] += 1

    def _operation(self, name: str, node: ast.Call) -> Operation:
        if name == "SeparateDatabaseAndState":
            parts: dict[str, list[Operation]] = {}
            for number, argument in enumerate(node.args):
                parts[("database_operations", "state_operations")[number]] = list(
                    self._operations(argument)
                )
            for keyword in node.keywords:
                parts[str(keyword.arg)] = list(self._operations(keyword.value))
            return migrations.SeparateDatabaseAndState(**parts)
        args = [self._argument(name, None, argument) for argument in node.args]
        options = {
            str(keyword.arg): self._argument(name, keyword.arg, keyword.value)
            for keyword in node.keywords
            if keyword.arg not in ("managers", "bases")
        }
        if name == "CreateModel":
            options["bases"] = self._bases(node)
        if name == "AlterModelOptions":
            options["options"] = {}
        return OPERATIONS[name](*args, **options)

    def _argument(self, operation: str, name: str | None, value: ast.expr) -> Any:
        if operation == "CreateModel" and name == "fields":
            return list(self._fields(value))
        if operation == "CreateModel" and name == "options":
            return self._options(value)
        if operation == "AlterModelOptions" and name == "options":
            return {}
        return self.value(value)

    def _fields(self, value: ast.expr) -> Iterator[tuple[str, Any]]:
        for part in self._elements(value):
            if not isinstance(part, ast.Tuple) or not isinstance(part.elts[0], ast.Constant):
                continue
            try:
                yield str(part.elts[0].value), self.value(part.elts[1])
            except (UnknownValueError, TypeError, ValueError, AttributeError) as error:
                self.checkout.left_out["field of a CreateModel"] += 1
                self.checkout.left_out[f"because of {error}"] += 1

    def _options(self, value: ast.expr) -> dict[str, Any]:
        wanted = {
            "db_table",
            "managed",
            "proxy",
            "unique_together",
            "index_together",
            "indexes",
            "constraints",
            "order_with_respect_to",
        }
        found: dict[str, Any] = {}
        if not isinstance(value, ast.Dict):
            return found
        for key, part in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in wanted:
                found[str(key.value)] = self.value(part)
        return found

    def _bases(self, node: ast.Call) -> tuple[Any, ...]:
        given = next((k.value for k in node.keywords if k.arg == "bases"), None)
        if len(node.args) > 3:
            given = node.args[3]
        names = [
            str(part.value)
            for part in (self._elements(given) if given is not None else [])
            if isinstance(part, ast.Constant)
        ]
        return tuple(names) or (models.Model,)

    def value(self, node: ast.expr) -> Any:
        """Evaluate an expression.

        Raises:
            UnknownValueError: it names something that is not Django's or a constant.
        """
        match node:
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple() | ast.Set():
                items = [self.value(item) for item in node.elts]
                return items if isinstance(node, ast.List) else tuple(items)
            case ast.Dict():
                return {
                    self.value(key): self.value(part)
                    for key, part in zip(node.keys, node.values, strict=True)
                    if key is not None
                }
            case ast.UnaryOp(op=ast.USub()):
                return -self.value(node.operand)
            case ast.UnaryOp(op=ast.Invert()):
                return ~self.value(node.operand)
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                return ARITHMETIC[type(node.op)](self.value(node.left), self.value(node.right))
            case ast.Name() if node.id in self.constants:
                return self.value(self.constants[node.id])
            case ast.Attribute() | ast.Name():
                return self._named(node)
            case ast.Call():
                return self._call(node)
        raise UnknownValueError(type(node).__name__)

    def _named(self, node: ast.Attribute | ast.Name) -> Any:
        path = _dotted(node)
        last = path.rpartition(".")[2]
        if path == "settings.AUTH_USER_MODEL":
            return self.checkout.user
        if path.startswith("Deferrable.") or ".Deferrable." in path:
            return models.Deferrable[last]
        if last in ("dict", "list"):
            return CALLABLES[last]
        if path.endswith("uuid.uuid4") or path == "uuid4":
            return CALLABLES["uuid4"]
        if path in ("timezone.now", "django.utils.timezone.now", "datetime.now"):
            return CALLABLES["now"]
        raise UnknownValueError(path)

    def _call(self, node: ast.Call) -> Any:
        path = _dotted(node.func)
        name = path.rpartition(".")[2]
        name = self.renamed.get(name, name).rpartition(".")[2]
        if name in ("timedelta", "Decimal", "date", "datetime"):
            source: Any = decimal if name == "Decimal" else dt
            return getattr(source, name)(
                *[self.value(argument) for argument in node.args],
                **{str(k.arg): self.value(k.value) for k in node.keywords},
            )
        if name in ("list", "set", "tuple", "frozenset", "dict"):
            return self.value(node.args[0]) if node.args else ({} if name == "dict" else [])
        plain = self.checkout.plain_field(name)
        if plain is not None:
            return self._field(plain, name, node)
        options = {str(k.arg): self.value(k.value) for k in node.keywords}
        if name == "CheckConstraint" and "check" in options:
            options["condition"] = options.pop("check")
        return find_class(name)(*[self.value(argument) for argument in node.args], **options)

    def _field(self, plain: str, name: str, node: ast.Call) -> models.Field[Any, Any]:
        cls = find_class(plain)
        options: dict[str, Any] = {}
        unseen: list[str] = []
        args = list(node.args)
        for keyword in node.keywords:
            if keyword.arg in KEPT_OPTIONS and keyword.arg != "help_text":
                options[keyword.arg] = self._option(keyword.arg, keyword.value)
            elif keyword.arg:
                unseen.append(f"{keyword.arg}={ast.dump(keyword.value)}")
        if issubclass(cls, models.ForeignKey | models.ManyToManyField):
            if args:
                options["to"] = self.value(args.pop(0))
            options["to"] = str(options["to"])
            if cls is not models.ManyToManyField:
                options["on_delete"] = models.CASCADE
        elif args:
            # The first argument of most fields is what people read.
            first = args.pop(0)
            if cls.__name__ == "ArrayField":
                options["base_field"] = self.value(first)
            else:
                unseen.append(ast.dump(first))
        if name == "NullBooleanField":
            options["null"] = True
        if plain == "CharField" and name in ("PhoneNumberField", "CountryField"):
            options.setdefault("max_length", 128 if name.startswith("Phone") else 2)
        if plain == "CharField" and "max_length" not in options and name != "CharField":
            options["max_length"] = 100
        if cls is models.DecimalField and "max_digits" not in options:
            options.update(max_digits=14, decimal_places=4)
        if name == "AutoCreatedField":
            options.setdefault("default", CALLABLES["now"])
        if name == "CreationDateTimeField":
            options["auto_now_add"] = True
        if name in ("ModificationDateTimeField",):
            options["auto_now"] = True
        if unseen:
            text = " ".join(sorted(unseen))
            options["help_text"] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        field_: models.Field[Any, Any] = cls(**options)
        return field_

    def _option(self, name: str, value: ast.expr) -> Any:
        try:
            return self.value(value)
        except UnknownValueError:
            if name == "default":
                return unknown_function
            raise


def _last_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise UnknownValueError(type(node).__name__)


def _constant_in(node: ast.ClassDef, name: str) -> str | None:
    for statement in node.body:
        if (
            isinstance(statement, ast.Assign)
            and _last_name(statement.targets[0]) == name
            and isinstance(statement.value, ast.Constant)
        ):
            return str(statement.value.value)
    return None
