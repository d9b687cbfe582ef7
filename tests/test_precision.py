"""Weights are held as they are stored and states are those of float32; what lower precision does to x⁺ − x⁻ is measured and judged."""
