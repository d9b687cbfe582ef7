"""Things added to prompts that have a label of their own. A file is a kind."""
