"""Applies events and workflow requests to orders."""
