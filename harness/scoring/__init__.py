"""Answers against labels: scores, the layer that is looked at, evidence for the checks."""
