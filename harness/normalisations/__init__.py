"""Maps of the states, learnt on training rows without labels. A file is a kind."""
