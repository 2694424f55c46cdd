"""Reserves stock for an order."""
