"""The machine that a run has: processes, threads, memory, signals, and the screen on which it shows how far it is."""
