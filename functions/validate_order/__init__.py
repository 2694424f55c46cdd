"""First check of an order."""
