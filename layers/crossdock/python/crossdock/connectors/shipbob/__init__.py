"""How does Crossdock work with ShipBob as a 3PL? Loaded by name; the class is in client.py."""
