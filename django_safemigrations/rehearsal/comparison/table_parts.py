"""Catalog queries for tables and all that belongs to them, each giving (name, parts as JSON)."""

from __future__ import annotations

# Objects that are looked at: not the system's, not ours, not an extension's.
# https://www.postgresql.org/docs/current/catalogs.html
OBJECTS = """
    members AS MATERIALIZED (
        SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
    ),
    schemas AS MATERIALIZED (
        SELECT n.* FROM pg_namespace n
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND (n.tableoid, n.oid) NOT IN (TABLE members)
    ),
    ledger AS MATERIALIZED (
        SELECT c.oid FROM pg_class c
        WHERE c.relkind = 'r' AND c.relname ~ '^django_(safemigrations_|migrations$)'
    ),
    relations AS MATERIALIZED (
        SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
        AND c.oid NOT IN (SELECT oid FROM ledger)
        AND c.oid NOT IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (TABLE ledger))
        AND (c.tableoid, c.oid) NOT IN (TABLE members)
        AND NOT (c.relkind = 'S' AND EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
            AND d.deptype IN ('a', 'i') AND d.refobjid IN (TABLE ledger)))
    )
"""


def grants(acl: str, kind: str, owner: str) -> str:
    """Return SQL for who may do what: in a fixed order, and what goes without saying spelled out."""
    return listed(f"coalesce({acl}, acldefault('{kind}', {owner}))")


def listed(values: str) -> str:
    """Return SQL for the values of an array as text, in a fixed order."""
    return (
        f"(SELECT string_agg(v::text, ', ' ORDER BY v::text COLLATE \"C\") FROM unnest({values}) v)"
    )


def parts(**values: str) -> str:
    """Return SQL for a JSON object of SQL expressions; "_" in a name stands for a space."""
    pairs = ", ".join(f"'{name.replace('_', ' ')}', {value}" for name, value in values.items())
    return f"jsonb_build_object({pairs})"


def set_if(condition: str) -> str:
    """Return SQL that is true or nothing, so that only what is set is told."""
    return f"nullif({condition}, false)"


HAS_COLUMNS = "r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')"
TABLESPACE = "(SELECT spcname FROM pg_tablespace WHERE oid = r.reltablespace)"
FOREIGN_TABLE = """
    (SELECT format('server %s, options %s', s.srvname, f.ftoptions) FROM pg_foreign_table f
     JOIN pg_foreign_server s ON s.oid = f.ftserver WHERE f.ftrelid = r.oid)"""
PARENTS = """
    (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
     FROM pg_inherits i WHERE i.inhrelid = r.oid)"""
# Foreign keys are kept by triggers of PostgreSQL's own, which a superuser can switch off.
SWITCHED_OFF = """
    (SELECT string_agg(DISTINCT g.tgenabled::text, '') FROM pg_trigger g
     WHERE g.tgconstraint = k.oid AND g.tgisinternal AND g.tgenabled <> 'O')"""
# The names and validity of what partitions have of their parent's foreign keys are excluded.
INHERITED_KEY = "replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')"

TABLE_PARTS = {
    "relation": f"""
        SELECT r.name, {
        parts(
            kind="r.relkind::text",
            definition="CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END",
            populated="CASE WHEN r.relkind = 'm' THEN r.relispopulated END",
            persistence="nullif(r.relpersistence::text, 'p')",
            owner="r.relowner::regrole::text",
            access_method="(SELECT amname FROM pg_am WHERE pg_am.oid = r.relam)",
            tablespace=TABLESPACE,
            options="r.reloptions::text",
            toast_options="(SELECT t.reloptions FROM pg_class t WHERE t.oid = r.reltoastrelid)::text",
            replica_identity="nullif(r.relreplident::text, 'd')",
            row_security=set_if("r.relrowsecurity"),
            forced_row_security=set_if("r.relforcerowsecurity"),
            grants=grants("r.relacl", "r", "r.relowner"),
            comment="obj_description(r.oid, 'pg_class')",
            inherits=PARENTS,
            partition="pg_get_expr(r.relpartbound, r.oid)",
            partitioned_by="pg_get_partkeydef(r.oid)",
            type="nullif(r.reloftype, 0)::regtype::text",
            foreign=FOREIGN_TABLE,
        )
    }
        FROM relations r WHERE {HAS_COLUMNS}""",
    "column": f"""
        SELECT r.name || '.' || quote_ident(a.attname), {
        parts(
            type="format_type(a.atttypid, a.atttypmod)",
            collation="CASE WHEN a.attcollation <> t.typcollation"
            " THEN a.attcollation::regcollation::text END",
            not_null=set_if("a.attnotnull"),
            not_null_not_validated="(SELECT true FROM pg_constraint k WHERE k.conrelid = r.oid"
            " AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated)",
            default="pg_get_expr(d.adbin, d.adrelid)",
            identity="nullif(a.attidentity::text, '')",
            generated="nullif(a.attgenerated::text, '')",
            storage="a.attstorage::text",
            compression="nullif(a.attcompression::text, '')",
            options="a.attoptions::text",
            foreign_options="a.attfdwoptions::text",
            statistics_target="nullif(a.attstattarget, -1)",
            grants=listed("a.attacl"),
            comment="col_description(r.oid, a.attnum)",
        )
    }
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
        WHERE {HAS_COLUMNS} AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraint": f"""
        SELECT r.name || '.' || CASE WHEN k.contype = 'f' AND k.conparentid <> 0
                                THEN {INHERITED_KEY} ELSE quote_ident(k.conname) END, {
        parts(
            definition=f"CASE WHEN k.conparentid <> 0 THEN {INHERITED_KEY}"
            " ELSE pg_get_constraintdef(k.oid) END",
            not_validated="CASE WHEN NOT k.convalidated AND k.conparentid = 0 THEN true END",
            deferrable=set_if("k.condeferrable"),
            initially_deferred=set_if("k.condeferred"),
            triggers_switched_off=SWITCHED_OFF,
            comment="obj_description(k.oid, 'pg_constraint')",
        )
    }
        FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
        WHERE k.contype NOT IN ('n', 't')""",
    "index": f"""
        SELECT r.name, {
        parts(
            definition="pg_get_indexdef(i.indexrelid)",
            invalid=set_if("NOT i.indisvalid"),
            not_ready=set_if("NOT i.indisready"),
            not_live=set_if("NOT i.indislive"),
            not_immediate=set_if("NOT i.indimmediate"),
            clustered=set_if("i.indisclustered"),
            replica_identity=set_if("i.indisreplident"),
            owner="r.relowner::regrole::text",
            tablespace=TABLESPACE,
            part_of=PARENTS,
            statistics_targets="(SELECT string_agg(a.attnum || ' ' || a.attstattarget, ', '"
            " ORDER BY a.attnum) FROM pg_attribute a"
            " WHERE a.attrelid = r.oid AND a.attstattarget >= 0)",
            comment="obj_description(r.oid, 'pg_class')",
        )
    }
        FROM relations r JOIN pg_index i ON i.indexrelid = r.oid""",
    "trigger": f"""
        SELECT r.name || '.' || quote_ident(g.tgname), {
        parts(
            definition="pg_get_triggerdef(g.oid)",
            enabled="nullif(g.tgenabled::text, 'O')",
            comment="obj_description(g.oid, 'pg_trigger')",
        )
    }
        FROM relations r JOIN pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal""",
    "sequence": f"""
        SELECT r.name, {
        parts(
            type="format_type(s.seqtypid, NULL)",
            counts="format('start %s by %s from %s to %s cache %s cycle %s', s.seqstart,"
            " s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)",
            persistence="nullif(r.relpersistence::text, 'p')",
            owner="r.relowner::regrole::text",
            grants=grants("r.relacl", "s", "r.relowner"),
            owned_by="(SELECT format('%s.%I (%s)', d.refobjid::regclass, a.attname, d.deptype)"
            " FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid"
            " AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass"
            " AND d.objid = r.oid AND d.deptype IN ('a', 'i'))",
            comment="obj_description(r.oid, 'pg_class')",
        )
    }
        FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid""",
    "policy": f"""
        SELECT r.name || '.' || quote_ident(p.polname), {
        parts(
            command="p.polcmd::text",
            permissive="p.polpermissive",
            roles=listed("p.polroles::regrole[]"),
            using="pg_get_expr(p.polqual, r.oid)",
            check="pg_get_expr(p.polwithcheck, r.oid)",
            comment="obj_description(p.oid, 'pg_policy')",
        )
    }
        FROM relations r JOIN pg_policy p ON p.polrelid = r.oid""",
    "rule": f"""
        SELECT r.name || '.' || quote_ident(w.rulename), {
        parts(
            definition="pg_get_ruledef(w.oid)",
            enabled="nullif(w.ev_enabled::text, 'O')",
            comment="obj_description(w.oid, 'pg_rewrite')",
        )
    }
        FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid
        WHERE w.rulename <> '_RETURN'""",
    "statistics": f"""
        SELECT r.name || '.' || quote_ident(x.stxname), {
        parts(
            definition="pg_get_statisticsobjdef(x.oid)",
            target="nullif(x.stxstattarget, -1)",
            owner="x.stxowner::regrole::text",
            comment="obj_description(x.oid, 'pg_statistic_ext')",
        )
    }
        FROM relations r JOIN pg_statistic_ext x ON x.stxrelid = r.oid""",
}
