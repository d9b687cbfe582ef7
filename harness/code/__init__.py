"""The code of a stage: all definitions that its making can reach, as one hash."""
