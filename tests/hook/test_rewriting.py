"""Which operations become chains, which are left alone, and that what is written ends where it should."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import models
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.operations.base import Operation
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.models import CheckConstraint, Index, Q, UniqueConstraint
from django.test import override_settings

from django_safemigrations.operations import (
    AddSyncedColumns,
    Contract,
    CreateIndexConcurrently,
    DropSyncedColumns,
    Expand,
    FillNullsOnWrite,
    SetNotNull,
)
from django_safemigrations.phases import Phase, migration_phase
from tests.kit import chain as chains
from tests.kit.case import LABEL, Case, define
from tests.kit.chain import Chain, make_chain
from tests.kit.databases import scratch_database
from tests.kit.prepared import Prepared, base_template, content, fresh_copy, prepare


def names_of(operations: list[Operation]) -> list[str]:
    return [type(operation).__name__ for operation in operations]


def written(chain: Chain) -> list[Migration]:
    return [chain.migration(name) for name in chain.change]


def every_name(case: Case) -> list[str]:
    """Return the class names of all operations that makemigrations writes for a case."""
    return [name for m in written(make_chain(case)) for name in names_of(list(m.operations))]


def both(old: Callable[[], object], new: Callable[[], object], **more: Any) -> Case:
    return Case("rewriting", lambda: old() and None, lambda: new() and None, **more)


class TestLeftAlone:
    """Tables that nobody uses yet, or that are none of Django's."""

    def order(self, **options: Any) -> Any:
        more = options.pop("fields", {})
        return define("Order", meta=options, number=models.IntegerField(null=True), **more)

    def test_models_created_in_the_same_run(self) -> None:
        index = [Index(fields=["number"], name="order_number")]
        case = both(
            lambda: define("Other", code=models.IntegerField()),
            lambda: [
                define("Other", code=models.IntegerField()),
                self.order(indexes=index, fields={"code": models.SlugField()}),
            ],
        )
        assert set(every_name(case)) == {"CreateModel"}

    def test_unmanaged_models(self) -> None:
        index = [Index(fields=["number"], name="order_number")]
        names = every_name(
            both(
                lambda: self.order(managed=False), lambda: self.order(managed=False, indexes=index)
            )
        )
        assert "Expand" not in names

    def test_fields_of_unmanaged_models(self) -> None:
        def model(name: str) -> Any:
            return define(
                "Order", meta={"managed": False}, **{name: models.IntegerField(null=True)}
            )

        case = both(
            lambda: model("total"), lambda: model("amount"), renames={"order.total": "amount"}
        )
        assert "Expand" not in every_name(case)

    def test_proxies(self) -> None:
        def proxy(**options: Any) -> Any:
            return define("Small", bases=self.order(), meta={"proxy": True, **options})

        case = both(lambda: proxy(), lambda: proxy(ordering=["number"], verbose_name="x"))
        assert "Expand" not in every_name(case)

    def test_swapped_models(self) -> None:
        def model(*indexes: Index) -> Any:
            return define(
                "Order",
                meta={"swappable": "CASE_ORDER_MODEL", "indexes": list(indexes)},
                number=models.IntegerField(),
            )

        with override_settings(CASE_ORDER_MODEL="auth.User"):
            names = every_name(
                both(lambda: model(), lambda: model(Index(fields=["number"], name="order_number")))
            )
        assert "Expand" not in names
        with override_settings(CASE_ORDER_MODEL="caseapp.Order"):
            names = every_name(
                both(lambda: model(), lambda: model(Index(fields=["number"], name="order_number")))
            )
        assert names == ["Expand"]

    def test_many_to_many_fields_whose_table_keeps_its_name(self) -> None:
        def model(name: str) -> Any:
            tag = define("Tag", code=models.IntegerField())
            return define("Order", **{name: models.ManyToManyField(tag, db_table="order_tags")})

        case = both(
            lambda: model("tags"), lambda: model("labels"), renames={"order.tags": "labels"}
        )
        assert every_name(case) == ["RenameField"]

    def test_generated_fields_and_primary_keys_are_noted_with_the_way_out(self) -> None:
        def model(name: str) -> Any:
            return define("Order", **{name: models.CharField(max_length=5, primary_key=True)})

        chain = chains.empty_chain(
            case := both(lambda: model("code"), lambda: model("key"), renames={"order.code": "key"})
        )
        with chain.installed():
            chain.initial = chain.write("old", MigrationAutodetector)
            [migration] = chain.detect("new", chains.installed_autodetector())[LABEL]
        assert names_of(migration.operations) == ["RenameField"]
        [note] = migration.notes
        assert "DSM302" in note
        assert 'db_column="code"' in note
        assert case.renames

    def test_operations_of_other_packages(self) -> None:
        """A subclass of AddIndex has reasons of its own."""
        from django.db.migrations import AddIndex
        from django.db.migrations.state import ModelState, ProjectState

        from django_safemigrations.conf import Settings
        from django_safemigrations.rewrites import Plain, rewrite

        class Theirs(AddIndex):
            pass

        state = ProjectState()
        fields: list[Any] = [
            ("id", models.BigAutoField(primary_key=True)),
            ("number", models.IntegerField()),
        ]
        state.add_model(ModelState("shop", "Order", fields))
        index = Index(fields=["number"], name="order_number")
        [step] = rewrite("shop", [Theirs("order", index)], state, Settings(), set())
        assert isinstance(step, Plain)
        [step] = rewrite("shop", [AddIndex("order", index)], state, Settings(), set())
        assert not isinstance(step, Plain)


ASPECTS: dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any]]] = {
    "null, index and length": (
        lambda: models.CharField(max_length=9, null=True),
        lambda: models.CharField(max_length=20, db_index=True),
        {"default": "x"},
    ),
    "null, index gone and length": (
        lambda: models.CharField(max_length=9, null=True, db_index=True),
        lambda: models.CharField(max_length=20),
        {"default": "x"},
    ),
    "null without a default, index gone": (
        lambda: models.CharField(max_length=9, null=True, db_index=True),
        lambda: models.CharField(max_length=9),
        {"nulls": False},
    ),
    "null and a default in the database": (
        lambda: models.IntegerField(null=True),
        lambda: models.IntegerField(db_default=7, db_index=True),
        {},
    ),
    "null, index and a comment": (
        lambda: models.IntegerField(null=True),
        lambda: models.IntegerField(db_index=True, db_comment="it's a value"),
        {"default": 7},
    ),
    "index and help text": (
        lambda: models.IntegerField(help_text="a"),
        lambda: models.IntegerField(help_text="b", db_index=True),
        {},
    ),
    "null and choices": (
        lambda: models.IntegerField(null=True),
        lambda: models.IntegerField(choices=[(7, "seven")]),
        {"default": 7},
    ),
}


class TestAspects:
    """One AlterField that changes several things."""

    @pytest.fixture(params=ASPECTS)
    def prepared(self, request: pytest.FixtureRequest) -> Iterator[Prepared]:
        old, new, more = ASPECTS[request.param]
        case = both(
            lambda: define("Order", value=old(), number=models.IntegerField()),
            lambda: define("Order", value=new(), number=models.IntegerField()),
            **more,
        )
        with prepare(case) as found:
            yield found

    def test_each_is_a_step_of_its_own_and_the_end_is_django_s(self, prepared: Prepared) -> None:
        with prepared.database():
            prepared.run()
            lines = prepared.content().differences(prepared.after)
            assert lines == [], prepared.explain(lines)
        with prepared.chain.installed():
            assert prepared.chain.detect("new", chains.installed_autodetector()) == {}
        for migration in prepared.migrations:
            for operation in migration.operations:
                if isinstance(operation, Expand | Contract):
                    assert len(operation.state_operations) <= 1
        phases = [migration_phase(m) for m in prepared.migrations]
        assert phases == sorted(phases, key=[Phase.EXPAND, Phase.CONTRACT].index)

    def test_it_can_be_undone(self, prepared: Prepared) -> None:
        with prepared.database():
            prepared.run()
            prepared.reverse()
            lines = prepared.content().differences(prepared.back)
            assert lines == [], prepared.explain(lines)


def pair(total: str, condition: Q | None = None, **options: Any) -> Any:
    return define(
        "Order",
        meta=options,
        number=models.IntegerField(),
        **{total: models.IntegerField()},
    )


TOGETHER: dict[str, Case] = {
    "a constraint whose condition changes with the rename": both(
        lambda: pair("total", constraints=[CheckConstraint(condition=Q(total__gt=-9), name="c")]),
        lambda: pair(
            "amount", constraints=[CheckConstraint(condition=Q(amount__gt=-99), name="c")]
        ),
        renames={"order.total": "amount"},
        values={"total": lambda n: n, "amount": lambda n: n},
    ),
    "an index that gets another column with the rename": both(
        lambda: pair("total", indexes=[Index(fields=["total"], name="i")]),
        lambda: pair("amount", indexes=[Index(fields=["amount", "number"], name="i")]),
        renames={"order.total": "amount"},
    ),
    "an index that gets another name with the rename": both(
        lambda: pair("total", indexes=[Index(fields=["total"], name="i_total")]),
        lambda: pair("amount", indexes=[Index(fields=["amount"], name="i_amount")]),
        renames={"order.total": "amount"},
    ),
    "a unique constraint that goes with the rename": both(
        lambda: pair("total", constraints=[UniqueConstraint(fields=["total"], name="u")]),
        lambda: pair("amount"),
        renames={"order.total": "amount"},
    ),
    "an index of the same name with another definition": both(
        lambda: pair("total", indexes=[Index(fields=["total"], name="i")]),
        lambda: pair("total", indexes=[Index(fields=["-total", "number"], name="i")]),
    ),
    "a field that goes together with its index": both(
        lambda: define(
            "Order",
            meta={"indexes": [Index(fields=["total"], name="i")]},
            number=models.IntegerField(),
            total=models.IntegerField(null=True),
        ),
        lambda: define("Order", number=models.IntegerField()),
    ),
}


class TestTogether:
    @pytest.fixture(params=TOGETHER)
    def prepared(self, request: pytest.FixtureRequest) -> Iterator[Prepared]:
        with prepare(TOGETHER[request.param]) as found:
            yield found

    def test_the_end_is_django_s_and_so_is_the_way_back(self, prepared: Prepared) -> None:
        with prepared.database():
            prepared.run()
            lines = prepared.content().differences(prepared.after)
            assert lines == [], prepared.explain(lines)
            prepared.reverse()
            lines = prepared.content().differences(prepared.back)
            assert lines == [], prepared.explain(lines)
        with prepared.chain.installed():
            assert prepared.chain.detect("new", chains.installed_autodetector()) == {}


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(lambda: models.IntegerField(help_text="x"), id="a_help_text"),
        pytest.param(lambda: models.IntegerField(db_index=True), id="an_index"),
        pytest.param(lambda: models.IntegerField(null=True), id="null"),
    ],
)
def test_an_index_is_dropped_in_contract_whatever_else_changes(new: Callable[[], Any]) -> None:
    """Old code may need it; a change of another field gives no reason to drop it at once."""
    case = both(
        lambda: define(
            "Order",
            meta={"indexes": [Index(fields=["number"], name="gone")]},
            number=models.IntegerField(),
            value=models.IntegerField(),
        ),
        lambda: define("Order", number=models.IntegerField(), value=new()),
    )
    migrations = written(make_chain(case))
    dropping = [
        migration_phase(m)
        for m in migrations
        for operation in m.operations
        if "gone" in repr(getattr(operation, "database_operations", ""))
        or "gone" in operation.describe()
    ]
    assert dropping == [Phase.CONTRACT]


class TestOptimizer:
    CREATE = CreateModel(
        "Order",
        [("id", models.BigAutoField(primary_key=True)), ("total", models.IntegerField(null=True))],
    )

    @pytest.mark.parametrize(
        "later",
        [
            pytest.param(
                [
                    Expand(database_operations=[AddSyncedColumns("order", {"total": "amount"})]),
                    Contract(database_operations=[DropSyncedColumns("order", {"total": "amount"})]),
                ],
                id="rename",
            ),
            pytest.param(
                [Expand(database_operations=[CreateIndexConcurrently("order", "i")])], id="index"
            ),
            pytest.param(
                [
                    Expand(
                        database_operations=[
                            FillNullsOnWrite("order", "total", 1),
                            SetNotNull("order", "total"),
                        ]
                    )
                ],
                id="not_null",
            ),
        ],
    )
    def test_a_stage_is_not_folded_into_anything(self, later: list[Operation]) -> None:
        operations = [self.CREATE, *later]
        assert MigrationOptimizer().optimize(operations, "shop") == operations
        reordered = [self.CREATE, *later, AddField("order", "more", models.IntegerField())]
        assert MigrationOptimizer().optimize(reordered, "shop") == reordered

    def test_core_operations_around_stages_are_still_folded(self) -> None:
        add = AddField("order", "more", models.IntegerField(null=True))
        stage = Expand(database_operations=[CreateIndexConcurrently("order", "i")])
        found = MigrationOptimizer().optimize([self.CREATE, add, stage], "shop")
        assert names_of(found) == ["CreateModel", "Expand"]


def full(new: bool) -> Any:
    """An index, a NOT NULL and a rename of one table, and a relation."""
    customer = define("Customer", code=models.CharField(max_length=9, unique=True))
    name = "amount" if new else "total"
    return define(
        "Order",
        meta={"indexes": [Index(fields=[f"-{name}"], name="order_total")] if new else []},
        customer=models.ForeignKey(customer, models.CASCADE),
        note=models.CharField(max_length=9, null=not new, db_index=new),
        **{name: models.IntegerField(unique=True)},
    )


class TestSquash:
    @pytest.fixture
    def prepared(self) -> Iterator[Prepared]:
        case = both(
            lambda: full(new=False),
            lambda: full(new=True),
            renames={"order.total": "amount"},
            default="x",
        )
        with prepare(case) as found:
            yield found

    def squash(self, prepared: Prepared) -> str:
        chain = prepared.chain
        before = {path.stem for path in chain.path.glob("0*.py")}
        out = io.StringIO()
        with chain.installed():
            call_command(
                "squashmigrations",
                LABEL,
                chain.change[-1],
                interactive=False,
                stdout=out,
                stderr=out,
            )
        [name] = {path.stem for path in chain.path.glob("0*.py")} - before
        return name

    def test_a_squashed_chain_loads_and_is_of_the_expand_phase(self, prepared: Prepared) -> None:
        name = self.squash(prepared)
        migration = prepared.chain.migration(name)
        assert len(migration.replaces) == len(prepared.chain.initial + prepared.chain.change)
        assert migration_phase(migration) is Phase.EXPAND
        with prepared.chain.installed():
            assert prepared.chain.detect("new", chains.installed_autodetector()) == {}

    def test_it_runs_on_a_fresh_database(self, prepared: Prepared) -> None:
        self.squash(prepared)
        with fresh_copy(), prepared.chain.installed():
            call_command("migrate", LABEL, verbosity=0, interactive=False)
            lines = content(prepared.case).schema
        assert _without_rows(lines) == _without_rows(prepared.after.schema)

    def test_it_runs_where_other_apps_are_migrated_already(self, prepared: Prepared) -> None:
        """In one transaction, for a squash is atomic; its tables are empty."""
        name = self.squash(prepared)
        assert prepared.chain.migration(name).atomic
        with scratch_database(base_template()), prepared.chain.installed():
            call_command("migrate", LABEL, verbosity=0, interactive=False)
            lines = content(prepared.case).schema
            assert _without_rows(lines) == _without_rows(prepared.after.schema)
            call_command("migrate", LABEL, "zero", verbosity=0, interactive=False)

    def test_where_all_of_it_was_applied_it_counts_as_applied(self, prepared: Prepared) -> None:
        name = self.squash(prepared)
        with prepared.database(), prepared.chain.installed():
            chains.migrate(prepared.chain, prepared.chain.change[-1])
            out = io.StringIO()
            call_command("showmigrations", LABEL, stdout=out)
            assert f"[X] {name}" in out.getvalue()
            assert prepared.content().differences(prepared.after) == []


def _without_rows(found: dict[str, str]) -> list[str]:
    return [f"{name}: {text}" for name, text in sorted(found.items())]
