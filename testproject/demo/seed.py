"""Fill the shop with years of business, in SQL: 300,000 orders in seconds."""

from __future__ import annotations

import psycopg

CUSTOMERS = 20_000
PRODUCTS = 1_000
ORDERS = 300_000

# One statement a line of business. Nine orders of ten have no channel yet: it came late.
STATEMENTS = (
    """
    INSERT INTO customers_customer (email, name, phone, joined_at)
    SELECT 'customer' || n || '@example.com', 'Customer ' || n, '',
           now() - n * interval '1 hour'
      FROM generate_series(1, {customers}) AS n
    """,
    """
    INSERT INTO customers_address (customer_id, street, city, postcode, country, is_default)
    SELECT id, id || ' High Street', 'Springfield', lpad((id % 100000)::text, 5, '0'), 'GB', true
      FROM customers_customer
    """,
    """
    INSERT INTO catalogue_product (sku, name, price, active, stock)
    SELECT 'SKU-' || n, 'Product ' || n, 1 + n % 500, true, 1000
      FROM generate_series(1, {products}) AS n
    """,
    """
    INSERT INTO shop_order
        (number, customer_id, shipping_address_id, status, total, placed_at, channel, note)
    SELECT 'ORDER-' || n, 1 + n % {customers}, 1 + n % {customers},
           CASE WHEN n % 50 = 0 THEN 'open' WHEN n % 7 = 0 THEN 'cancelled' ELSE 'sent' END,
           (n % 100000) / 100.0 + 1, now() - ({orders} - n) * interval '3 minutes',
           CASE WHEN n % 10 = 0 THEN 'phone' END, ''
      FROM generate_series(1, {orders}) AS n
    """,
    """
    INSERT INTO shop_orderline (order_id, product_id, quantity, unit_price)
    SELECT id, 1 + id % {products}, 1 + id % 3, 1 + id % 500
      FROM shop_order
    """,
    """
    INSERT INTO shop_payment (order_id, method, amount, reference, paid_at)
    SELECT id, 'card', total, '', placed_at
      FROM shop_order WHERE status = 'sent' AND id % 3 = 0
    """,
)


def seed(dsn: str) -> int:
    """Fill an empty, migrated shop. Returns the number of orders."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in STATEMENTS:
            connection.execute(
                statement.format(customers=CUSTOMERS, products=PRODUCTS, orders=ORDERS).encode()
            )
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        row = connection.execute("SELECT count(*) FROM shop_order").fetchone()
    return int(row[0]) if row else 0
