"""What may be written: the grammar as structs, the JSON Schema made from it, and the faults of a tree against that."""
