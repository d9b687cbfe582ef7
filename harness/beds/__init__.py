"""Test beds: networks whose latent knowledge is known. A file is a kind."""
