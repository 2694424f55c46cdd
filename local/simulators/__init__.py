"""What is a simulator? A real, stateful HTTP server that stands for one vendor system of one tenant's connection."""
