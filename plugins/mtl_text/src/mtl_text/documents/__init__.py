"""Tasks that make one vector of a row's text or texts."""
