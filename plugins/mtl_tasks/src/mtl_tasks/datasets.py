"""Datasets for the tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl import Dataset, Download
from mtl_tasks import sample


class TaskSamples(Dataset):
    """Generated files for each task, in the layouts and under the names of public corpora."""

    def downloads(self) -> Sequence[Download]:
        """Nothing can be downloaded."""
        return []

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generate sentences, pairs, tags and questions; see `mtl_tasks.sample`."""
        return sample.files(seed)
