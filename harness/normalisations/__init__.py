"""Shifts and scales of the states, learnt on training rows. A file is a kind."""
