"""States that somebody else made: a folder with an array, a table of its rows, and a card that says what is what."""
