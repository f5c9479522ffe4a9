"""The WikiText-2 dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtl import Dataset, Download
from pytext_plugins_lm import sample


class WikiText2(Dataset):
    """WikiText-2 as published by its author: tokenized, with rare words replaced by `<unk>`."""

    def downloads(self) -> Sequence[Download]:
        files = [f"wikitext-2/wiki.{split}.tokens" for split in ("train", "valid", "test")]
        return [
            Download(
                urls=("https://wikitext.smerity.com/wikitext-2-v1.zip",),
                md5="542ccefacc6c27f945fb54453812b3cd",
                files={file: file for file in files},
            )
        ]

    def sample(self, seed: int) -> Mapping[str, str]:
        """Generated articles about films in the same files."""
        return sample.files(seed)
