"""Serves /v1."""
