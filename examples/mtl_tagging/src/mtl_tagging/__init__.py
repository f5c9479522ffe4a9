"""Word tagging: spans of words, such as names, by a linear-chain CRF or word by word."""
