"""Plans tried on copies: what is copied, traced, compared and reported."""
