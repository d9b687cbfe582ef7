"""From prompts to stored states: shared prefixes packed, positions gathered inside the pass."""
