"""Filling columns in batches, on a real server, with clocks that a test turns."""
