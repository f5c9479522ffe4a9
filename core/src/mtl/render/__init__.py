"""What the commands show, as rich renderables. Knows the plan, the figures and the plugins as data only."""
