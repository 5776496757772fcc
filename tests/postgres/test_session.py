"""One migrator at a time, on a session that is really one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import AnotherMigrator, PooledConnection
from django_safemigrations.postgres.session import migrator_lock, refuse_transaction_pooling
from tests.kit.databases import (
    admin,
    connection_parameters,
    scratch_database,
    sessions_in,
)
from tests.kit.kill import wait_until
from tests.kit.pooler import Pooler, transaction_pooler
from tests.postgres.sessions import execute, pid_of, value


@contextmanager
def second_connection(
    alias: str = "second", pooler: Pooler | None = None
) -> Iterator[BaseDatabaseWrapper]:
    """Another Django connection to the same database, through a pooler if one is given."""
    connection = connections["default"].copy(alias)
    if pooler is not None:
        connection.settings_dict.update(pooler.django_settings(connection.settings_dict))
    connections[alias] = connection
    try:
        yield connection
    finally:
        connection.close()
        del connections[alias]


class TestMigratorLock:
    def test_a_second_migrator_is_refused_and_told_who_the_first_one_is(
        self, database: BaseDatabaseWrapper
    ) -> None:
        execute(database, "SET application_name = 'deploy 42'")
        user = value(database, "SELECT current_user")
        with second_connection() as second, migrator_lock(database):
            with pytest.raises(AnotherMigrator) as caught, migrator_lock(second):
                pytest.fail("two migrators at once")
        message = str(caught.value)
        for part in (
            f"pid {pid_of(database)}",
            f"user {user}",
            "deploy 42",
            "pg_terminate_backend",
        ):
            assert part in message, message

    def test_the_lock_is_released_at_the_end(self, database: BaseDatabaseWrapper) -> None:
        with second_connection() as second:
            with migrator_lock(database):
                pass
            with migrator_lock(second):
                pass

    def test_the_lock_is_released_when_the_migration_fails(
        self, database: BaseDatabaseWrapper
    ) -> None:
        with second_connection() as second:
            with pytest.raises(ZeroDivisionError), migrator_lock(database):
                raise ZeroDivisionError
            with migrator_lock(second):
                pass

    def test_the_lock_is_released_when_the_session_is_lost(
        self, database: BaseDatabaseWrapper
    ) -> None:
        with second_connection() as second, migrator_lock(database):
            pid = pid_of(database)
            admin().execute("SELECT pg_terminate_backend(%s)", [pid])
            gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
            wait_until(lambda: value(second, gone, [pid]), lambda: "the session is still there")
            with migrator_lock(second):
                pass
            # Django's connection is unusable now, but leaving the block raised nothing.

    def test_databases_of_one_server_have_a_lock_each(self, database: BaseDatabaseWrapper) -> None:
        with migrator_lock(database), scratch_database() as other, migrator_lock(other):
            pass

    def test_a_user_who_may_not_see_other_sessions_is_refused_with_a_message_too(
        self, database: BaseDatabaseWrapper
    ) -> None:
        role = f"modest_{pid_of(database)}"
        with migrator_lock(database), second_connection() as second:
            execute(database, f"CREATE ROLE {role}")
            try:
                execute(second, f"SET ROLE {role}")
                with pytest.raises(AnotherMigrator, match=f"pid {pid_of(database)}"):
                    with migrator_lock(second):
                        pytest.fail("two migrators at once")
            finally:
                execute(second, "RESET ROLE")
                execute(database, f"DROP ROLE {role}")


class TestPooling:
    def test_a_pooler_in_transaction_mode_is_refused_with_the_way_out(
        self, database: BaseDatabaseWrapper
    ) -> None:
        with (
            transaction_pooler(**connection_parameters()) as pooler,
            second_connection(pooler=pooler) as pooled,
        ):
            with pytest.raises(PooledConnection) as caught:
                refuse_transaction_pooling(pooled)
            message = str(caught.value)
        for part in (f"{pooler.host}:{pooler.port}", "pool_mode = session", "--database"):
            assert part in message, message

    def test_it_is_refused_with_idle_sessions_in_the_pool_too(
        self, database: BaseDatabaseWrapper
    ) -> None:
        """The pool may hand a different session to the second connection at first."""
        with transaction_pooler(**connection_parameters()) as pooler:
            with (
                second_connection("one", pooler) as one,
                second_connection("two", pooler) as two,
                second_connection("three", pooler) as three,
                transaction.atomic("one"),
                transaction.atomic("two"),
            ):
                assert len({value(c, "SELECT pg_backend_pid()") for c in (one, two, three)}) == 3
            with (
                second_connection("four", pooler) as pooled,
                pytest.raises(PooledConnection),
            ):
                refuse_transaction_pooling(pooled)

    def test_a_direct_connection_is_accepted(self, database: BaseDatabaseWrapper) -> None:
        refuse_transaction_pooling(database)

    def test_a_direct_connection_inside_a_transaction_is_accepted(
        self, database: BaseDatabaseWrapper
    ) -> None:
        with transaction.atomic():
            refuse_transaction_pooling(database)
            assert value(database, "SELECT 1") == 1

    def test_a_direct_connection_over_the_network_among_many_is_accepted(
        self, database: BaseDatabaseWrapper
    ) -> None:
        with second_connection("one") as one, second_connection("two") as two:
            one.ensure_connection()
            two.ensure_connection()
            for connection in (database, one, two):
                refuse_transaction_pooling(connection)

    def test_the_look_leaves_no_session_behind(self, database: BaseDatabaseWrapper) -> None:
        refuse_transaction_pooling(database)
        name = str(database.settings_dict["NAME"])
        wait_until(lambda: len(sessions_in(name)) == 1, lambda: f"left: {sessions_in(name)}")

    def test_the_look_changes_no_state_of_the_connection(
        self, database: BaseDatabaseWrapper
    ) -> None:
        refuse_transaction_pooling(database)
        assert database.get_autocommit()
        assert not database.in_atomic_block
        assert value(database, "SELECT pg_current_xact_id_if_assigned()") is None
