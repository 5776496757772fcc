"""Catalog queries for what stands beside tables, each giving (name, parts as JSON)."""

from __future__ import annotations

from django_safemigrations.rehearsal.comparison.table_parts import grants, listed, parts, set_if

# Kinds that no Django project changes often: told by name, owner and comment.
BY_NAME = {
    "pg_cast": "NULL",
    "pg_conversion": "o.conowner",
    "pg_language": "o.lanowner",
    "pg_operator": "o.oprowner",
    "pg_opclass": "o.opcowner",
    "pg_opfamily": "o.opfowner",
    "pg_ts_config": "o.cfgowner",
    "pg_ts_dict": "o.dictowner",
    "pg_ts_parser": "NULL",
    "pg_ts_template": "NULL",
    "pg_foreign_data_wrapper": "o.fdwowner",
    "pg_foreign_server": "o.srvowner",
    "pg_transform": "NULL",
    "pg_am": "NULL",
}
# What initdb made has a lower number. https://www.postgresql.org/docs/current/system-catalog-initial-data.html
FIRST_OWN = 16384


def _by_name() -> str:
    selects = (
        f"""
        SELECT i.type || ' ' || i.identity, {
            parts(
                owner=f"nullif({owner}, 0)::regrole::text" if owner != "NULL" else "NULL::text",
                comment=f"obj_description(o.oid, '{catalog}')",
            )
        }
        FROM {catalog} o, pg_identify_object('{catalog}'::regclass, o.oid, 0) i
        WHERE o.oid >= {FIRST_OWN} AND (o.tableoid, o.oid) NOT IN (TABLE members)
        AND coalesce(i.schema, '') NOT IN ('pg_catalog', 'information_schema')
        AND coalesce(i.schema, '') !~ '^pg_'"""
        for catalog, owner in BY_NAME.items()
    )
    return " UNION ALL ".join(selects)


CODE_PARTS = {
    "schema": f"""
        SELECT quote_ident(n.nspname), {
        parts(
            owner="n.nspowner::regrole::text",
            grants=grants("n.nspacl", "n", "n.nspowner"),
            comment="obj_description(n.oid, 'pg_namespace')",
        )
    }
        FROM schemas n""",
    "function": f"""
        SELECT format('%I.%I(%s)', n.nspname, p.proname,
                      pg_get_function_identity_arguments(p.oid)), {
        parts(
            kind="nullif(p.prokind::text, 'f')",
            definition="CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END",
            aggregate="(SELECT concat_ws(' ', g.aggkind, g.aggtransfn, g.aggfinalfn,"
            " g.aggtranstype::regtype, g.aggsortop::regoper, g.agginitval) FROM pg_aggregate g"
            " WHERE g.aggfnoid = p.oid)",
            returns="CASE WHEN p.prokind = 'a' THEN pg_get_function_result(p.oid) END",
            owner="p.proowner::regrole::text",
            grants=grants("p.proacl", "f", "p.proowner"),
            comment="obj_description(p.oid, 'pg_proc')",
        )
    }
        FROM pg_proc p JOIN schemas n ON n.oid = p.pronamespace
        WHERE (p.tableoid, p.oid) NOT IN (TABLE members)""",
    "type": f"""
        SELECT format('%I.%I', n.nspname, t.typname), {
        parts(
            kind="t.typtype::text",
            labels="(SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)"
            " FROM pg_enum e WHERE e.enumtypid = t.oid)",
            domain_of="CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END",
            default="t.typdefault",
            not_null=set_if("t.typnotnull"),
            checks="(SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ', '"
            " ORDER BY k.conname) FROM pg_constraint k"
            " WHERE k.contypid = t.oid AND k.contype <> 'n')",
            range_of="(SELECT format_type(g.rngsubtype, NULL) FROM pg_range g"
            " WHERE g.rngtypid = t.oid)",
            collation="CASE WHEN t.typtype = 'd' THEN nullif(t.typcollation, 0)::regcollation END"
            "::text",
            owner="t.typowner::regrole::text",
            grants=grants("t.typacl", "T", "t.typowner"),
            comment="obj_description(t.oid, 'pg_type')",
        )
    }
        FROM pg_type t JOIN schemas n ON n.oid = t.typnamespace
        WHERE t.typtype IN ('b', 'd', 'e', 'r') AND t.typcategory <> 'A'
        AND (t.tableoid, t.oid) NOT IN (TABLE members)""",
    "collation": f"""
        SELECT format('%I.%I', n.nspname, l.collname), {
        parts(
            definition="(to_jsonb(l) - 'oid' - 'collnamespace' - 'collowner' - 'collversion')::text",
            owner="l.collowner::regrole::text",
            comment="obj_description(l.oid, 'pg_collation')",
        )
    }
        FROM pg_collation l JOIN schemas n ON n.oid = l.collnamespace
        WHERE (l.tableoid, l.oid) NOT IN (TABLE members)""",
    "extension": f"""
        SELECT quote_ident(e.extname), {
        parts(
            version="e.extversion",
            schema="e.extnamespace::regnamespace::text",
            owner="e.extowner::regrole::text",
        )
    }
        FROM pg_extension e""",
    "default privileges": f"""
        SELECT concat_ws(' ', a.defaclrole::regrole::text, a.defaclobjtype::text,
                         'in ' || nullif(a.defaclnamespace, 0)::regnamespace::text), {
        parts(grants=listed("a.defaclacl"))
    }
        FROM pg_default_acl a""",
    "event trigger": f"""
        SELECT quote_ident(e.evtname), {
        parts(
            on="e.evtevent::text",
            calls="e.evtfoid::regprocedure::text",
            enabled="nullif(e.evtenabled::text, 'O')",
            tags="e.evttags::text",
            owner="e.evtowner::regrole::text",
        )
    }
        FROM pg_event_trigger e WHERE (e.tableoid, e.oid) NOT IN (TABLE members)""",
    "publication": f"""
        SELECT quote_ident(p.pubname), {
        parts(
            all_tables=set_if("p.puballtables"),
            publishes="concat_ws(' ', p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate)",
            by_root=set_if("p.pubviaroot"),
            tables="(SELECT string_agg(concat_ws(' ', r.prrelid::regclass::text,"
            " (SELECT string_agg(a.attname, ' ' ORDER BY a.attname) FROM pg_attribute a"
            " WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs::int2[])),"
            " pg_get_expr(r.prqual, r.prrelid)), ', '"
            " ORDER BY r.prrelid::regclass::text) FROM pg_publication_rel r"
            " WHERE r.prpubid = p.oid)",
            schemas="(SELECT string_agg(n.pnnspid::regnamespace::text, ', '"
            " ORDER BY n.pnnspid::regnamespace::text) FROM pg_publication_namespace n"
            " WHERE n.pnpubid = p.oid)",
            owner="p.pubowner::regrole::text",
        )
    }
        FROM pg_publication p""",
    "object": _by_name(),
}
