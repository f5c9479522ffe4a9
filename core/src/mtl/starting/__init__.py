"""`mtl init`: a complete starting config for the tasks and files that one has."""

from mtl.starting.choice import StartingConfig, TaskFiles, starting_config

__all__ = ["StartingConfig", "TaskFiles", "starting_config"]
