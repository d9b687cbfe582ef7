"""The plan: a graph of stages, and what the store has of each."""
