"""Translates stored deliveries into canonical events."""
