"""Language modelling for mtl, and the WikiText-2 dataset."""
