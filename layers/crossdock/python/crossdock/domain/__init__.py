"""What is true: the canonical model, its rules and the ports; standard library and pydantic only."""
