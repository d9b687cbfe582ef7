"""How directions lie to each other, what makes their scores vary, and where the states lie."""
