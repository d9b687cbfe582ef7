"""The face to Python: what `import harness` offers. Everything here calls what the command line calls."""
