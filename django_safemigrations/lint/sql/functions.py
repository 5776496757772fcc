"""PostgreSQL's own functions that a migration may call without touching the rows of tables."""

from __future__ import annotations

_HARMLESS = """
abs ceil ceiling floor round trunc sign mod power sqrt exp ln log div greatest least
lower upper initcap length char_length octet_length substring substr left right trim btrim
ltrim rtrim lpad rpad replace repeat reverse split_part position strpos concat concat_ws
format md5 sha256 encode decode quote_ident quote_literal quote_nullable to_char to_number
to_date to_timestamp translate overlay ascii chr starts_with regexp_replace regexp_match
regexp_matches regexp_split_to_array regexp_split_to_table string_to_array array_to_string
unistr normalize hashtext hashtextextended
coalesce nullif cast date_part date_trunc extract age make_date make_time make_timestamp
make_timestamptz make_interval justify_days justify_hours justify_interval isfinite timezone
date_bin now statement_timestamp transaction_timestamp current_database current_schema
current_schemas current_setting current_user session_user version pg_backend_pid
json_build_object json_build_array jsonb_build_object jsonb_build_array json_object
jsonb_object to_json to_jsonb row_to_json jsonb_set jsonb_insert jsonb_strip_nulls jsonb_typeof
json_typeof jsonb_array_length json_array_length jsonb_extract_path jsonb_extract_path_text
json_extract_path json_extract_path_text jsonb_each jsonb_each_text jsonb_array_elements
jsonb_array_elements_text json_array_elements json_array_elements_text jsonb_object_keys
json_object_keys jsonb_pretty jsonb_path_query jsonb_path_exists jsonb_to_record
jsonb_to_recordset jsonb_populate_record array_append array_prepend array_cat array_remove
array_replace array_length array_position array_positions array_ndims array_dims array_lower
array_upper array_fill cardinality unnest generate_series generate_subscripts
count sum avg min max bool_and bool_or every string_agg array_agg json_agg jsonb_agg
json_object_agg jsonb_object_agg stddev variance percentile_cont percentile_disc mode
row_number rank dense_rank ntile lag lead first_value last_value nth_value percent_rank
cume_dist to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery
setweight ts_rank ts_rank_cd ts_headline tsvector_to_array int4range int8range numrange
tsrange tstzrange daterange isempty lower_inc upper_inc lower_inf upper_inf range_merge
host network masklen abbrev family inet
setval nextval currval lastval set_config pg_get_serial_sequence to_regclass to_regtype
to_regproc format_type obj_description col_description pg_get_constraintdef pg_get_indexdef
pg_get_expr pg_get_viewdef pg_get_functiondef pg_typeof pg_column_size pg_relation_size
pg_total_relation_size pg_table_size pg_indexes_size pg_size_pretty pg_table_is_visible
has_table_privilege has_schema_privilege has_column_privilege pg_notify
pg_try_advisory_lock pg_try_advisory_xact_lock pg_advisory_unlock pg_advisory_unlock_all
pg_advisory_lock pg_advisory_xact_lock
random gen_random_uuid uuidv4 uuidv7 uuid_generate_v1 uuid_generate_v1mc uuid_generate_v4
clock_timestamp timeofday gen_random_bytes txid_current crypt gen_salt digest hmac
similarity word_similarity unaccent st_makepoint st_setsrid st_geomfromtext st_point
hstore akeys avals
pg_is_in_recovery pg_stat_get_live_tuples pg_get_userbyid pg_encoding_to_char
"""
HARMLESS = frozenset(_HARMLESS.split())
"""Called in a SELECT, none of them takes a lock on a table or changes a row of one."""

CHANGING = frozenset({"currval", "lastval", "setval", "set_config", "gen_salt", "pg_notify"})
"""Volatile as defaults of columns, though harmless in a SELECT."""
