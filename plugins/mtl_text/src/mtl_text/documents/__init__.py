"""Tasks that encode the texts of a row as one vector."""
