"""How fast this is, measured against plain baselines in the same run: `python -m tests.benchmarks`.

Baselines are written here, without the harness: they are what the fast ways must equal, and what they are compared with.
"""
