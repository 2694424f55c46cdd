"""Orders submitted through /v1 by the tenant's own clients (portal, call centre, legacy systems)."""
