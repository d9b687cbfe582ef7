"""Subjects, which states come from: a file for each way to answer the questions of `harness.contracts.subject`."""
