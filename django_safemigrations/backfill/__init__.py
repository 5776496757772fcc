"""Fills columns of large tables in short transactions, resumable and proven complete."""
