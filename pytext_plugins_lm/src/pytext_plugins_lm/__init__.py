"""Language modeling for mtl, and the WikiText-2 dataset."""
