"""One embedding and one LSTM for names, the sentiment of films and a language model."""

from __future__ import annotations

import json
from pathlib import Path

import mtl
import pytest
from mtl.commands import main

CONFIG = Path(__file__).parents[1] / "configs" / "joint.json"


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> mtl.LoadedRun:
    """The model of configs/joint.json after fewer epochs, with its result checked."""
    folder = tmp_path_factory.mktemp("joint")
    assert main(["data", "sample", str(folder / "sample")]) == 0
    config = json.loads(CONFIG.read_text())
    config["trainer"]["epochs"] = 5
    result = mtl.train(config, output=folder / "run", base_dir=folder / "sample", device="cpu").data
    assert result["best"]["value"] > 0.8
    assert result["tasks"]["SST2"]["eval"]["accuracy"] > 0.6
    assert result["tasks"]["LM"]["eval"]["perplexity"] < 150
    return mtl.load(folder / "run", device="cpu")


def test_the_three_tasks_share_one_storage(joint: mtl.LoadedRun) -> None:
    stored = {
        task: {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
        for task, model in joint.model.tasks.items()
    }
    shared = set.intersection(*map(set, stored.values()))
    names = {stored["Names"][place] for place in shared}
    tagger = dict(joint.model.tasks["Names"].named_parameters())
    assert names == {name for name in tagger if name.startswith(("embedding.", "representation."))}
    assert len(names) == 9  # the words, and four tensors of the LSTM in each direction
    pairs = [set(stored[one]) & set(stored[other]) for one, other in (("Names", "LM"), ("SST2", "LM"))]
    assert all(pair == shared for pair in pairs)


def test_each_task_answers(joint: mtl.LoadedRun) -> None:
    text = [{"text": "Mrs Vale works for Ashby Motors ."}]
    [names] = joint.predict("Names", text)
    assert [span["type"] for span in names["spans"]] == ["PER", "ORG"]
    assert {len(list(joint.predict(task, text))) for task in ("SST2", "LM")} == {1}
