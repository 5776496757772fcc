"""Renamed fields whose column carries what a DBA added and no model knows of."""

from __future__ import annotations

from dataclasses import replace

from django.db.models import Index
from django.db.models.functions import Upper

from tests.invariants.rename_cases import char, integer, rename
from tests.kit.case import Case

BY_HAND_CASES: list[Case] = [
    rename(
        "index by hand",
        integer(),
        after_creation=(
            'CREATE INDEX "by Hand" ON caseapp_order (total DESC NULLS LAST) INCLUDE (number)'
            " WITH (fillfactor = 50) WHERE total > 0",
            'COMMENT ON INDEX "by Hand" IS $$it\'s mine$$',
        ),
    ),
    rename(
        "check by hand",
        integer(),
        after_creation=(
            "ALTER TABLE caseapp_order ADD CONSTRAINT by_hand CHECK (total > number - 100000)",
            "COMMENT ON CONSTRAINT by_hand ON caseapp_order IS 'mine'",
        ),
    ),
    rename(
        "comments by hand",
        char(unique=True),
        after_creation=(
            "COMMENT ON COLUMN caseapp_order.total IS 'mine, 100%'",
            "COMMENT ON TABLE caseapp_order IS 'mine too'",
        ),
        extra=True,
    ),
    rename(
        "grants, statistics target and storage by hand",
        char(),
        after_creation=(
            "GRANT SELECT (total), UPDATE (total) ON caseapp_order TO pg_monitor",
            "ALTER TABLE caseapp_order ALTER total SET STATISTICS 500",
            "ALTER TABLE caseapp_order ALTER total SET STORAGE EXTERNAL",
            "ALTER TABLE caseapp_order ALTER total SET (n_distinct = 7)",
        ),
    ),
    rename(
        "trigger by hand on another column",
        integer(),
        after_creation=(
            "CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN new.code := trim(new.code); RETURN new; END'",
            "CREATE TRIGGER by_hand BEFORE INSERT OR UPDATE ON caseapp_order"
            " FOR EACH ROW EXECUTE FUNCTION by_hand()",
        ),
        extra=True,
    ),
    rename(
        "check of the whole row by hand",
        integer(),
        after_creation=(
            "ALTER TABLE caseapp_order ADD CONSTRAINT by_hand CHECK (caseapp_order IS NOT NULL)",
        ),
        extra=True,
    ),
    rename(
        "check that is not validated by hand",
        integer(),
        after_creation=(
            "ALTER TABLE caseapp_order ADD CONSTRAINT by_hand CHECK (total > 5) NOT VALID",
        ),
        extra=True,
    ),
    rename(
        "replica identity by hand",
        integer(unique=True),
        after_creation=(
            "ALTER TABLE caseapp_order REPLICA IDENTITY USING INDEX caseapp_order_total_key",
        ),
        extra=True,
    ),
    rename(
        "clustered by hand",
        integer(unique=True),
        after_creation=("ALTER TABLE caseapp_order CLUSTER ON caseapp_order_total_key",),
        extra=True,
    ),
    rename(
        "foreign key to it by hand",
        integer(unique=True),
        after_creation=("CREATE TABLE by_hand (total int REFERENCES caseapp_order (total))",),
    ),
    rename(
        "domain by hand",
        integer(),
        after_creation=(
            "CREATE DOMAIN by_hand AS int CHECK (VALUE > 0)",
            "ALTER TABLE caseapp_order ALTER total TYPE by_hand",
        ),
        extra=True,
    ),
    rename(
        "comments on index and constraint by hand",
        char(unique=True),
        after_creation=(
            "COMMENT ON INDEX caseapp_order_total_key IS 'mine'",
            "COMMENT ON CONSTRAINT caseapp_order_total_key ON caseapp_order IS 'mine too'",
        ),
        extra=True,
    ),
    rename(
        "statistics target of an index by hand",
        char(),
        lambda n: {"indexes": [Index(Upper(n), name="order_upper")]},
        after_creation=("ALTER INDEX order_upper ALTER COLUMN 1 SET STATISTICS 300",),
        extra=True,
    ),
    rename(
        "child table by hand",
        integer(),
        after_creation=("CREATE TABLE by_hand () INHERITS (caseapp_order)",),
        extra=True,
    ),
    rename(
        "name of its NOT NULL taken by hand",
        integer(),
        after_creation=(
            "ALTER TABLE caseapp_order ADD CONSTRAINT caseapp_order_amount_not_null"
            " CHECK (number IS NOT NULL)",
        ),
        extra=True,
    ),
]


BY_HAND_CASES = [replace(case, change="Rename a field") for case in BY_HAND_CASES]
