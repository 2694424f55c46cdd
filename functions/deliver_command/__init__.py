"""Delivers commands to other systems, once."""
