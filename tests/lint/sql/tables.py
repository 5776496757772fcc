"""The tables on which the labelled statements run: the examples' shop, and more made by SQL."""

from __future__ import annotations

ROWS = 200

MORE = """
CREATE TYPE colour AS ENUM ('gray', 'red');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE store_event (
    id bigint PRIMARY KEY,
    kind text,
    total int,
    code varchar(20),
    amount numeric(10, 2),
    at timestamptz,
    hue colour,
    level positive,
    room int,
    customer_id bigint CONSTRAINT event_customer_fkey REFERENCES store_customer (id)
);
CREATE INDEX event_kind_idx ON store_event (kind);
CREATE TABLE store_paint (id bigint PRIMARY KEY, hue colour);
CREATE TABLE store_log (year int, total int) PARTITION BY LIST (year);
CREATE TABLE store_log_2019 PARTITION OF store_log FOR VALUES IN (2019);
CREATE TABLE store_loose (year int, total int);
CREATE TABLE store_proven (id bigint PRIMARY KEY, name text, other text);
ALTER TABLE store_proven ADD CONSTRAINT proven_name CHECK (name IS NOT NULL) NOT VALID;
ALTER TABLE store_proven VALIDATE CONSTRAINT proven_name;
ALTER TABLE store_proven ADD CONSTRAINT proven_other CHECK (other IS NOT NULL) NOT VALID;
CREATE UNIQUE INDEX proven_name_key ON store_proven (name);
CREATE UNIQUE INDEX proven_other_key ON store_proven (other);
CREATE TABLE store_unlinked (id bigint PRIMARY KEY, tag_id bigint, total int);
ALTER TABLE store_unlinked ADD CONSTRAINT unlinked_tag_fkey
    FOREIGN KEY (tag_id) REFERENCES store_tag (id) NOT VALID;
ALTER TABLE store_unlinked ADD CONSTRAINT unlinked_total CHECK (total > 0) NOT VALID;
CREATE MATERIALIZED VIEW store_totals AS
    SELECT id AS customer_id, count(*) AS total FROM store_paint GROUP BY id;
CREATE UNIQUE INDEX totals_customer_key ON store_totals (customer_id);
CREATE VIEW store_names AS SELECT id, name FROM store_customer;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER event_touch BEFORE UPDATE ON store_event
    FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION wipe_events() RETURNS void LANGUAGE sql AS 'DELETE FROM store_event';
CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION raise_totals() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE store_event SET total = total + 1;
END $$;
CREATE SEQUENCE store_numbers;
CREATE SCHEMA archive;
CREATE TABLE archive.orders (id bigint PRIMARY KEY, total int);
"""
"""Made by the SQL of a migration before: no model has any of them."""

FILL = f"""
INSERT INTO store_customer (name, email) SELECT 'c' || n, 'c' || n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_tag (label) SELECT 't' || n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_tag (id, label) SELECT n, 't' || n
    FROM unnest(ARRAY[5000, 5001, 100000, 100001]) n;
INSERT INTO store_order (customer_id, reference, total)
    SELECT n, 'r' || n, n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_order_tags (order_id, tag_id) SELECT n, n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_event SELECT n, 'k' || n, n, 'c' || n, n, now(), 'red', n, n, n
    FROM generate_series(1, {ROWS}) n;
INSERT INTO store_paint SELECT n, 'red' FROM generate_series(1, {ROWS}) n;
INSERT INTO store_log SELECT 2019, n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_loose SELECT 2027, n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_proven SELECT n, 'n' || n, 'o' || n FROM generate_series(1, {ROWS}) n;
INSERT INTO store_unlinked SELECT n, n, n FROM generate_series(1, {ROWS}) n;
INSERT INTO archive.orders SELECT n, n FROM generate_series(1, {ROWS}) n;
REFRESH MATERIALIZED VIEW store_totals;
"""

OLD_CODE = (
    "SELECT id, customer_id, reference, total, discount FROM store_order",
    "SELECT DISTINCT * FROM store_order",
    "INSERT INTO store_order (customer_id, reference, total, discount) "
    "VALUES (1, 'new', 100000, DEFAULT) RETURNING 1 / (discount IS NOT NULL)::int",
    "UPDATE store_order SET customer_id = 2, reference = 'x', total = 100001 WHERE id = 1",
    "SELECT id, name, email FROM store_customer",
    "INSERT INTO store_customer (name, email) VALUES ('new', NULL)",
    "SELECT id, label FROM store_tag",
    "INSERT INTO store_tag (label) VALUES ('new')",
    "INSERT INTO store_tag (label) VALUES ('more') ON CONFLICT DO NOTHING",
    "SELECT id, order_id, tag_id FROM store_order_tags",
    "INSERT INTO store_order_tags (order_id, tag_id) VALUES (1, 2)",
    "SELECT id, kind, total, code, amount, at, hue, level, room, customer_id FROM store_event",
    "INSERT INTO store_event (id, kind, total, code, amount, at, hue, level, room, customer_id) "
    "VALUES (1001, 'new', 5000, 'new', 5000, now(), 'red', 5000, 5000, 1)",
    "INSERT INTO store_event (id, total) VALUES (1002, 5001) ON CONFLICT DO NOTHING",
    "SELECT id, hue FROM store_paint WHERE hue = 'red'",
    "SELECT year, total FROM store_log",
    "SELECT year, total FROM store_log_2019",
    "INSERT INTO store_log VALUES (2019, 5)",
    "SELECT year, total FROM store_loose",
    "SELECT id, name, other FROM store_proven",
    "SELECT id, tag_id, total FROM store_unlinked",
    "SELECT customer_id, total FROM store_totals",
    "SELECT id, name FROM store_names",
    "SELECT 'red'::colour, 5::positive",
    "SELECT nextval('store_numbers')",
    "SELECT id, total FROM archive.orders",
)
"""What the application that is being served runs all the time."""
