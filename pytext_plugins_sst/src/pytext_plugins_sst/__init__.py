"""Document classification for mtl, and the SST-2 dataset."""
