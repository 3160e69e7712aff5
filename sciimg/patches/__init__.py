"""Patches: splits by group and their proof, places, conditions, and pixels straight from a collection."""
