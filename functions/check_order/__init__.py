"""Checks of an order against the ERP."""
