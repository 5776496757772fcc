"""What must hold for every rewrite, in one table of cases."""
