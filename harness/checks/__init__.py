"""Claims about the numbers, decided by intervals. A file is a kind."""
