"""How does Crossdock speak with a Shopify shop? See README.md beside this file."""
