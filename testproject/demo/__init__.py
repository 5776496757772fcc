"""The main job on a live database, next to plain Django: `make demo`."""
