"""Methods that answer from states. A file is a kind."""
