"""Edges to Polymarket: the REST and signing adapter, and the two streams."""
