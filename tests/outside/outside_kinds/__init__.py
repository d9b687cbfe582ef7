"""Kinds for the harness that another package has."""
