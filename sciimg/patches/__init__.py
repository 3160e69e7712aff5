"""Patches: splits by group, places, conditions, and pixels straight from a collection."""
