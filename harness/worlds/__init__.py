"""Worlds: tasks whose every question and answer are known, for small networks to learn."""
