"""A third party's command over several runs."""
