"""From examples to prompts in text and in tokens."""
