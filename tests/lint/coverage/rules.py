"""The rules of other linters, each with the example that gets our code, or why it doesn't apply."""

from __future__ import annotations

from dataclasses import dataclass

LOCKS = "`safemigrate` bounds every lock wait and retries it; no file has to."
STYLE = "A matter of style: no request waits or fails."
OTHER = "Another database."
RAILS = "Of Active Record; Django has no such thing."
POLICY = "A rule of that project's house, not of PostgreSQL."
BIGINT = "Django's own check models.W042 asks for it at the model; for SQL it is DSM619."
MADE_BY_US = "About that package's own operations or files."


@dataclass(frozen=True)
class Rule:
    """One rule of a peer.

    Attributes:
        name: as the peer writes it.
        example: name of an example that has what the rule looks for; empty if it doesn't apply.
        why: why it doesn't apply, or what is to be said about it.
    """

    name: str
    example: str = ""
    why: str = ""


def _rules(text: str, **why: str) -> tuple[Rule, ...]:
    """Read lines of ``name = example`` or ``name ! reason``."""
    rules = []
    for line in text.strip().splitlines():
        name, equals, example = line.partition(" = ")
        if equals:
            example, _, remark = example.partition(" # ")
            rules.append(Rule(name.strip(), example.strip(), remark.strip()))
        else:
            name, _, reason = line.partition(" ! ")
            rules.append(Rule(name.strip(), "", why.get(reason.strip(), reason.strip())))
    return tuple(rules)


REASONS = {
    "locks": LOCKS,
    "style": STYLE,
    "other": OTHER,
    "rails": RAILS,
    "policy": POLICY,
    "bigint": BIGINT,
    "theirs": MADE_BY_US,
}

PEERS: dict[str, tuple[Rule, ...]] = {
    "strong_migrations": _rules(
        """
        add_column_default = add not null # A constant default rewrites nothing; that old INSERTs fail is what remains.
        add_column_default_callable = add volatile default
        add_column_json = sql json
        add_column_generated_stored = add generated stored
        add_column_auto_incrementing = add serial
        change_column = change type
        change_column_with_not_null = set not null
        change_column_constraint = toggle positive
        remove_column = remove column
        rename_column = rename column
        rename_enum_value = sql rename enum value
        rename_schema = sql rename schema
        rename_table = rename table
        add_reference = add reference
        add_index = add index
        remove_index = remove index
        add_index_columns ! How useful an index is can't be seen in a migration; building it is DSM101.
        add_index_corruption ! PostgreSQL 14.0 to 14.3 only.
        change_table ! rails
        create_table ! rails
        execute = sql update # SQL is parsed, statement by statement, and judged like operations; without the parser it is DSM405.
        change_column_default = drop default
        change_column_null = set not null with default
        change_column_null_postgresql = set not null
        change_column_null_mysql ! other
        add_foreign_key = column becomes key
        add_foreign_key_mysql ! other
        validate_foreign_key = sql foreign key
        add_check_constraint = add check
        add_check_constraint_mysql ! other
        validate_check_constraint = validate in transaction
        add_exclusion_constraint = add exclusion
        add_unique_constraint = add unique
        copy_algorithm ! other
        lock_option ! other
        """,
        **REASONS,
    ),
    "online_migrations": _rules(
        """
        short_primary_key_type ! bigint
        create_table ! rails
        change_table ! rails
        rename_table = rename model
        add_column_with_default = add volatile default
        add_column_with_default_null = add not null # With Django the default goes after the addition.
        add_column_generated_stored = add generated stored
        add_column_json = sql json
        add_inheritance_column ! rails
        rename_column = rename column
        change_column_with_not_null = set not null
        change_column = shrink varchar
        change_column_constraint = toggle positive
        change_column_default = drop default
        change_column_null = set not null
        remove_column = remove column
        add_timestamps_with_default = add not null without default
        add_reference = add reference
        add_index = add index
        add_index_corruption ! PostgreSQL 14.0 to 14.3 only.
        remove_index = remove index
        replace_index = replace index
        add_foreign_key = column becomes key
        validate_foreign_key = sql foreign key
        add_exclusion_constraint = add exclusion
        add_check_constraint = add check
        add_unique_constraint = add unique
        validate_constraint = validate in transaction
        add_not_null_constraint = set not null
        add_text_limit_constraint = add check # A limit on a text is a CHECK.
        execute = sql update # SQL is parsed and judged; without the parser it is DSM405.
        multiple_foreign_keys = several tables # Where a lock is held during long work; the others are bounded by safemigrate.
        drop_table_multiple_foreign_keys = delete model # The stages of makemigrations drop its foreign keys one by one.
        mismatched_foreign_key_type = key type in the state alone
        """,
        **REASONS,
    ),
    "squawk": _rules(
        """
        require-concurrent-index-creation = sql index
        require-concurrent-index-deletion = sql drop index
        constraint-missing-not-valid = sql check
        adding-field-with-default = sql add serial # Only a volatile default rewrites.
        adding-foreign-key-constraint = sql foreign key
        changing-column-type = sql type
        adding-not-nullable-field = sql not null
        adding-serial-primary-key-field = sql primary key
        renaming-column = sql rename column
        renaming-table = sql rename table
        disallowed-unique-constraint = add unique
        ban-drop-database ! PostgreSQL refuses it for the database in use, and in a transaction.
        prefer-bigint-over-int ! bigint
        prefer-bigint-over-smallint ! bigint
        prefer-identity ! Django makes identity columns.
        prefer-repack = sql vacuum full
        prefer-robust-stmts = half applied
        prefer-text-field ! style
        prefer-timestamp-tz ! style
        ban-char-field ! Django has no field of that type.
        ban-drop-column = sql drop column
        ban-drop-table = sql drop table
        ban-drop-not-null ! Old code that reads a NULL is told by no lock; the ORM stores and reads it.
        transaction-nesting = sql transaction
        adding-required-field = sql add not null
        ban-concurrent-index-creation-in-transaction = sql concurrently in transaction
        unused-ignore ! It is DSM902.
        ban-create-domain-with-constraint ! A new domain has no columns yet; Django makes none.
        ban-alter-domain-with-add-constraint = sql domain
        ban-truncate-cascade = sql cascade
        require-timeout-settings ! locks
        require-lock-timeout ! locks
        require-statement-timeout ! locks
        ban-uncommitted-transaction = sql transaction
        require-enum-value-ordering ! style
        require-table-schema ! style
        identifier-too-long = long name
        require-concurrent-partition-detach = sql detach
        require-concurrent-reindex = sql reindex
        ban-duplicate-column-assignments ! PostgreSQL refuses it: the migration fails in any test.
        """,
        **REASONS,
    ),
    "eugene": _rules(
        """
        E1 a validated constraint = sql check
        E2 SET NOT NULL = sql not null
        E3 a json column = sql json
        E4 a statement after ACCESS EXCLUSIVE in the same transaction = several heavy
        E5 a type change that rewrites = sql type
        E6 an index not built concurrently = sql index
        E7 a new unique constraint = add unique
        E8 a new exclusion constraint = sql exclusion
        E9 a dangerous lock without a timeout ! locks
        E10 a rewrite under a dangerous lock = change type
        E11 a serial or stored generated column = add generated stored
        W12 several ALTER TABLE on one table ! What is instant may stand together; what isn't is DSM406.
        W13 an enum is created ! A new type is used by nobody; what is hard to change later is a choice of the model.
        W14 a primary key by an index over nullable columns = sql primary key
        E15 a foreign key without an index = key without index
        """,
        **REASONS,
    ),
    "django-migration-linter": _rules(
        """
        NOT_NULL = add not null
        DROP_COLUMN = remove column
        DROP_TABLE = delete model
        RENAME_COLUMN = rename column
        RENAME_TABLE = rename table
        ALTER_COLUMN = change type # A change that touches no row is not reported.
        ADD_UNIQUE = add unique
        RUNPYTHON_MODEL_IMPORT = python imports a model
        RUNPYTHON_REVERSIBLE = python irreversible
        RUNPYTHON_ARGS_NAMING_CONVENTION ! style
        RUNPYTHON_MODEL_VARIABLE_NAME ! style
        RUNSQL_REVERSIBLE = sql irreversible
        CREATE_INDEX = add index
        CREATE_INDEX_EXCLUSIVE = several heavy
        DROP_INDEX = remove index
        REINDEX = sql reindex
        """,
        **REASONS,
    ),
    "django-safe-migrations": _rules(
        """
        SM001 not_null_without_default = add not null without default
        SM002 drop_column = remove column
        SM003 drop_table = delete model
        SM004 alter_column_type = change type
        SM005 add_foreign_key_validates = column becomes key
        SM006 rename_column = rename column
        SM007 run_sql without reverse = sql irreversible
        SM008 large_data_migration = python without batches
        SM009 add_unique_constraint = add unique
        SM010 index_not_concurrent = add index
        SM011 unique_not_concurrent = unique on
        SM012 enum_add_value_transaction = sql enum
        SM013 alter_varchar_length = shrink varchar # A longer varchar touches no row.
        SM014 rename_model = rename model
        SM015 alter_unique_together = unique together
        SM016 run_python_no_reverse = python irreversible
        SM017 add_check_constraint = add check
        SM018 concurrent_in_atomic = concurrent in transaction
        SM019 reserved_keyword ! Django quotes every name.
        SM020 alter_field_null_false = set not null
        SM021 alter_field_unique = unique on
        SM022 expensive_default_callable = add callable default
        SM023 add_many_to_many ! A new table that no code uses yet.
        SM024 sql_injection_pattern ! A migration has no input from outside.
        SM025 fk_without_index = key without index
        SM026 run_python_no_batching = python save in a loop
        SM027 missing_merge_migration ! It is DSM904, whose own example shows it.
        SM028 prefer_bigint ! bigint
        SM029 drop_not_null ! Old code that reads a NULL is told by no lock; the ORM stores and reads it.
        SM030 index_delete_not_concurrent = remove index
        SM031 prefer_text ! style
        SM032 prefer_timestamptz ! style
        SM033 adding_field_with_default = add not null
        SM034 prefer_identity ! Django makes identity columns.
        SM035 require_lock_timeout ! locks
        SM036 prefer_if_exists = half applied
        SM037 direct_model_import = python imports a model
        SM038 mixed_schema_and_data = schema and data
        SM040 volatile_default_with_unique = add callable unique
        SM041 stored_generated = add generated stored
        SM042 composite_pk = composite primary key
        SM047 constraint_missing_not_valid = sql check
        SM048 truncate = sql truncate
        SM049 transaction_nesting = sql transaction
        SM050 drop_database ! PostgreSQL refuses it for the database in use, and in a transaction.
        SM054 multiple_heavy_ops_same_table = several heavy
        SM056 exclusion_constraint = add exclusion
        RV001-RV004 reversing loses data ! What a rollback does is shown by safemigrate --rollback --plan.
        """,
        **REASONS,
    ),
    "django-deferred-migrations": _rules(
        """
        E001 RemoveField = remove column
        E002 DeleteModel = delete model
        E003 NOT NULL without db_default, or db_default removed = drop default
        E004 null to NOT NULL = set not null
        E005 a physical rename = rename column
        E006 a change of type = change type
        E007 trigger operations split or paired wrongly = contract alone
        E008 a missing dependency on the queue ! theirs
        E009 a suppression without a reason ! It is DSM901.
        E010 a missing baseline ! theirs
        E011 a dropped column that a generated one uses = remove source of generated
        E012 a deferred rename that can't be ! theirs
        E013 a type change on a model renamed in the same batch ! theirs
        E014 a rename written as removal and addition = remove and add
        E101 AddIndex = add index
        E102 a field that builds an index or foreign key = add indexed
        E103 a constraint or unique_together = unique together
        E104 an added field that rewrites the table = add uuid default
        E105 a concurrent operation in a transaction = concurrent drop in transaction
        E106 a non-atomic operation that can't be run again = half applied
        W001 W002 a shadowed command ! A system check of ours says it: django_safemigrations.W001 and W002.
        (missed) null of a foreign key = null of a foreign key # Django drops the constraint and adds it again.
        (missed) RenameField of a foreign key = rename key column
        (missed) the check of PositiveIntegerField = add positive
        """,
        **REASONS,
    ),
    "django-pg-zero-downtime-migrations": _rules(
        """
        ADD COLUMN NOT NULL = add not null
        ALTER COLUMN TYPE = change type
        ALTER COLUMN SET NOT NULL = set not null
        ADD CONSTRAINT CHECK = add check
        ADD CONSTRAINT UNIQUE = add unique
        ADD CONSTRAINT EXCLUDE = add exclusion
        ADD CONSTRAINT FOREIGN KEY = column becomes key
        ADD PRIMARY KEY = change primary key
        CREATE INDEX = add index
        DROP INDEX = remove index
        RENAME COLUMN = rename column
        RENAME TABLE = rename table
        SET TABLESPACE ! No operation of Django moves a table; for SQL it is DSM606.
        """,
        **REASONS,
    ),
    "django-syzygy and linear-migrations": _rules(
        """
        syzygy migrations.0001 an ambiguous stage = mixed phases
        dlm.E001-E004 max_migration.txt ! theirs
        dlm.E005 conflicting leaves ! It is DSM904, whose own example shows it.
        """,
        **REASONS,
    ),
    "PostHog's analyzer": _rules(
        """
        ConcurrentIndexIdempotencyPolicy = concurrent not rerunnable
        AtomicFalsePolicy = half applied
        a drop before code has let go of it = drop too early
        """,
        **REASONS,
    ),
    "pgroll and reshape": _rules(
        """
        a type change that drops indexes or checks ! Their own copies; ours are proven equal (see the support matrix).
        a constraint added without NOT VALID = add check
        a foreign key validated while both tables are locked = sql foreign key
        identifier length = long name
        """,
        **REASONS,
    ),
    "GitLab's cops": _rules(
        """
        add_column_with_default = add volatile default
        add_columns_to_wide_tables ! policy
        add_concurrent_index, add_concurrent_foreign_key = add index
        add_limit_to_text_columns ! policy
        add_reference = add reference
        add_timestamps ! policy
        change_column_null_on_high_traffic_table = set not null
        complex_indexes_require_name ! Django's operations name all indexes.
        create_table_with_foreign_keys ! The new table is empty; the lock on the referenced one is bounded by safemigrate.
        datetime ! policy
        drop_table = sql drop table
        hash_index ! policy
        prevent_adding_columns, prevent_index_creation ! policy
        prevent_single_statement_with_disable_ddl_transaction ! One statement is a transaction by itself.
        prevent_feature_flags_usage ! policy
        refer_to_index_by_name ! Django's operations name all indexes.
        remove_column = remove column
        safer_boolean_column ! policy
        update_column_in_batches, update_large_table = sql update
        with_lock_retries ! locks
        """,
        **REASONS,
    ),
}
