"""Real models and texts that package registries carry, pinned by hash."""
