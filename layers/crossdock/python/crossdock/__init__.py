"""Crossdock: governed middleware between a distributor's storefront, ERP, warehouse and 3PL."""
