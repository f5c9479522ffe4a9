"""What was once ignored in silence, or said wrongly: small runs of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mtl
from mtl.errors import UsageError
from mtl.runs.planning import as_stated

Config = dict[str, Any]


def classifier(tiny: Config) -> Config:
    """The settings of the classifier, which is then the only task."""
    tiny["tasks"].pop("LM", None)
    task: Config = tiny["tasks"]["SST2"]["DocClassificationTask"]
    return task


# --- notices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("/data/rows.tsv has no rows", "rows.tsv has no rows"),
        ("T: /data/a/rows.tsv: 1 row; /data/b.tsv", "T: a/rows.tsv: 1 row; b.tsv"),
        ("/other/data/rows.tsv", "/other/data/rows.tsv"),
        ("/data", "/data"),
        ("/database/rows.tsv", "/database/rows.tsv"),
    ],
)
@pytest.mark.parametrize("base_dir", ["/data", "/data/"])
def test_paths_below_the_base_folder_are_relative_to_it(message: str, said: str, base_dir: str) -> None:
    assert as_stated(message, base_dir) == said


def test_notices_name_files_as_the_config_does(tiny: Config, tmp_path: Path) -> None:
    classifier(tiny)["data"] = {"train_path": "train.tsv", "eval_path": "train.tsv"}
    assert mtl.plan(tiny)["notices"] == [
        "SST2: the eval data is the training data, train.tsv; its metrics say nothing of new rows"
    ]


# --- sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (2_000_000_000, "its weights take "),
        (10**14, "its weights take "),
        (10**18, "one of its tensors takes more than 2^63 bytes"),
    ],
)
def test_a_model_that_fits_no_memory_is_refused_with_its_size(tiny: Config, width: int, said: str) -> None:
    classifier(tiny)["features"]["word_feat"]["embed_dim"] = width
    with pytest.raises(UsageError, match="does not fit into memory") as caught:
        mtl.plan(tiny)
    assert said in str(caught.value)
    if "weights" in said:
        assert "GB of them at tasks.SST2.DocClassificationTask." in str(caught.value)
