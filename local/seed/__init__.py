"""What do the simulated systems of a tenant hold when they start? One world, seen by each vendor in its own words."""
