"""Estimates, laws and theorems: numbers from numbers, which know nothing of networks or specs."""
