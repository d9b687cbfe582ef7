"""Scores of answers against labels. A file is a kind."""
