"""The steps of an audit, a file for what they look at."""
