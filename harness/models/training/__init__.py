"""Training a low-rank update of a network: its two parts, its layers, its loop and its cost."""
