"""The SST-2 dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl import Dataset, Download
from pytext_plugins_sst import sample


class SST2(Dataset):
    """Sentiment of film reviews, as in GLUE; `test.tsv` has no labels and is not unpacked."""

    def downloads(self) -> Sequence[Download]:
        files = ("SST-2/train.tsv", "SST-2/dev.tsv")
        return [
            Download(
                urls=("https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",),
                md5="9f81648d4199384278b86e315dac217c",
                files={file: file for file in files},
            )
        ]

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generated reviews in the same files, and the words of the training rows."""
        return sample.files(seed)
