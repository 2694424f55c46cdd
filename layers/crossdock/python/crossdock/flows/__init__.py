"""What happens: one module per flow, no input or output of its own; everything outside comes in as a port."""
