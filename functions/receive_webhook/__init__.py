"""Takes a vendor's webhook."""
