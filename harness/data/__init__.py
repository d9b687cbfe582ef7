"""Data sets. A file is a kind: `source: cities` is `cities.py`."""
