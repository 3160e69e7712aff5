"""Prefect flows: thin orchestration over the stages of :mod:`sciimg`."""
