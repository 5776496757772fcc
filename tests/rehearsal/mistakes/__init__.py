"""Plans that each hold one mistake, and the same plans repaired."""
