"""Gives every dead letter its exception record."""
