"""What strangers wrote, kept harmless: their files, text, templates and git repositories."""
