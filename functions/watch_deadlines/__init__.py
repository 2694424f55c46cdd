"""Looks every minute for what should have happened."""
