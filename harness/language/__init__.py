"""The YAML language: documents with places, merging, validation, decoding, schema."""
