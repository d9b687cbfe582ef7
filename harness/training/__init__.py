"""The making of test beds: training their weights, noting how, and trying their claims."""
