"""`mtl compare`: each task alone and all together, and whether the difference stands up to a test."""
