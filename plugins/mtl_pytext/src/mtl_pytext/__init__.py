"""Configs of PyText for mtl: `mtl config migrate` converts them."""
