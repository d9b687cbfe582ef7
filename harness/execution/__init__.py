"""Carrying a plan out: each stage once, on demand."""
