"""The forms of fitted probes and normalisations, and how they are kept."""
