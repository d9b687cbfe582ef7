"""Language models: finding, describing and loading them."""
