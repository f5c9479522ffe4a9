"""Tasks over one or more texts, and the files that they come in."""
