"""Fitting probes to states, taking factors out of them, planting known ones."""
