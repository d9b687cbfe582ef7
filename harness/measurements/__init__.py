"""Measurements of networks. A file is a kind."""
