"""The tables, the same on SQLite and PostgreSQL. Integers are 64-bit; units as in model.py."""

from __future__ import annotations

import sqlalchemy as sa

VERSION = 1

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.String(80), nullable=False),
)

# One row per order, written before its bytes leave: this is how an order found at the venue is known.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("venue_order_id", sa.String(80), primary_key=True),
    sa.Column("client_order_id", sa.String(20), nullable=False, index=True),  # u64 as text
    sa.Column("condition_id", sa.String(80), nullable=False),
    sa.Column("token", sa.String(80), nullable=False),
    sa.Column("side", sa.SmallInteger, nullable=False),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("strategy", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("filled", sa.BigInteger, nullable=False, default=0),
    sa.Column("created_wall_ns", sa.BigInteger, nullable=False),
)

fills = sa.Table(
    "fills",
    metadata,
    sa.Column("trade_id", sa.String(120), primary_key=True),
    sa.Column("order_id", sa.String(80), primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False, index=True),  # 0: failed before it was booked
    sa.Column("day", sa.Integer, nullable=False, index=True),
    sa.Column("status", sa.String(12), nullable=False),
    sa.Column("condition_id", sa.String(80), nullable=False),
    sa.Column("token", sa.String(80), nullable=False),
    sa.Column("side", sa.SmallInteger, nullable=False),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("maker", sa.SmallInteger, nullable=False),
    sa.Column("fee_e8", sa.BigInteger, nullable=False),
    sa.Column("matched_wall_ns", sa.BigInteger, nullable=False),
)

# Markets that were ever traded: a token of an earlier run is still known by name and terms.
markets = sa.Table(
    "markets",
    metadata,
    sa.Column("condition_id", sa.String(80), primary_key=True),
    sa.Column("yes_symbol", sa.String(32), nullable=False),
    sa.Column("yes_token", sa.String(80), nullable=False, index=True),
    sa.Column("no_symbol", sa.String(32), nullable=False),
    sa.Column("no_token", sa.String(80), nullable=False, index=True),
    sa.Column("definition", sa.Text, nullable=False),  # JSON of model.Market
)

# What each UTC day began with, per token.
openings = sa.Table(
    "openings",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("token", sa.String(80), primary_key=True),
    sa.Column("quantity", sa.BigInteger, nullable=False),
    sa.Column("cost_micros", sa.BigInteger, nullable=False),
)

# The day's result, for people and reports.
days = sa.Table(
    "days",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("realized_micros", sa.BigInteger, nullable=False),
    sa.Column("unrealized_micros", sa.BigInteger, nullable=False),
    sa.Column("fees_e8", sa.BigInteger, nullable=False),
    sa.Column("fills", sa.BigInteger, nullable=False),
)

# What belongs to the day's result without a fill. Added to version 1, so it is a table of its own: a database
# without it gets it, and has no row for the days before.
days_cash = sa.Table(
    "days_cash",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("cash_micros", sa.BigInteger, nullable=False),
)

# Each movement of money that no fill tells of, once. Added to version 1: a database without it gets it.
cash = sa.Table(
    "cash",
    metadata,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("day", sa.Integer, nullable=False, index=True),  # whose result it counts in
    sa.Column("kind", sa.SmallInteger, nullable=False),  # enum cash_kind of the bridge
    sa.Column("type", sa.String(20), nullable=False),  # the venue's word
    sa.Column("amount_micros", sa.BigInteger, nullable=False),  # to the wallet
    sa.Column("result_micros", sa.BigInteger, nullable=False),
    sa.Column("condition_id", sa.String(80), nullable=False),
    sa.Column("wall_ns", sa.BigInteger, nullable=False),
)
