"""One of several labels for each row: what the classification tasks have in common."""
