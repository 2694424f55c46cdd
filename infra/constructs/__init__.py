"""The parts of a tenant stack, one file per capability."""
