"""What a system must reach: real data, trivial answers, measures a family, and the one loop over all rows."""
