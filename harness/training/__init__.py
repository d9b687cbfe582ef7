"""Making and trying the weights of test beds."""
