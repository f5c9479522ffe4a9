"""From JSON with positions to strict config classes. Free of torch."""
