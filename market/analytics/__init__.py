"""Analytics: what was sold, what came in, and how far orders get."""
