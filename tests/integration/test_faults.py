"""What fails while a run is under way: it is said in one message, and what was finished stays usable."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import mtl
from mtl import ComponentSpec, DataSource, Interrupted, configclass, hookimpl
from mtl.commands import main
from mtl.components import KINDS
from mtl.errors import UsageError
from mtl.files import write_manifest
from mtl.plugins import Plugins, discover
from mtl.runs.folder import RunFolder
from mtl.training.evaluator import Evaluator
from mtl_text.classification.metrics import ClassificationMetrics
from mtl_text.data_config import TSVConfig, WordFeatConfig
from mtl_text.featurizers import WordFeat
from mtl_text.model_config import MLPDecoderConfig
from pytext_plugins_sst.config import DocClassificationTaskConfig
from pytext_plugins_sst.task import DocClassificationTask

Config = dict[str, Any]
Differences = Callable[[Path, Path], list[str]]
Command = Callable[..., str]
Plant = Callable[..., None]


@configclass
class LoggerConfig:
    """A logger."""


STARVING = Path(__file__).parent / "harness/starving.py"


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `mtl train`; gives what it says on standard error, which holds at most one failure."""

    def run(config: Config, folder: Path, *words: str, status: int = 0) -> str:
        (tmp_path / "config.json").write_text(json.dumps(config))
        capsys.readouterr()
        got = main(["train", str(tmp_path / "config.json"), "--output", str(folder), "--quiet", *words])
        said = capsys.readouterr().err
        assert got == status, said
        failures = [
            line for line in said.splitlines() if line.startswith("mtl: ") and "warning: " not in line
        ]
        assert len(failures) == (1 if status else 0), said
        assert "Traceback" not in said and "a bug in" not in said
        return said

    return run


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Installs a component called Planted, or run-time hooks, of the distribution acme."""
    # What is planted stays installed for the commands that follow, as a distribution would.
    hooks: dict[str, Any] = {}

    def register(kind: str = "", config: Any = None, factory: Any = None, **run_time: Any) -> None:
        module = ModuleType("acme_planted")
        vars(module).update(Config=config, factory=factory)
        monkeypatch.setitem(sys.modules, "acme_planted", module)
        spec = ComponentSpec(name="Planted", config="acme_planted:Config", factory="acme_planted:factory")
        hooks.update({name: hookimpl(hook) for name, hook in run_time.items()})
        if kind:
            hooks[KINDS[kind].hook] = hookimpl(lambda: [spec])

        def with_planted() -> Plugins:
            plugins = discover()
            plugin = SimpleNamespace(mtl_api=">=1,<2", **hooks)
            assert plugins.register(plugin, "acme", "1.0", "acme").state == "ok"
            return plugins

        monkeypatch.setattr("mtl.plugins.discover", with_planted)
        monkeypatch.setattr("mtl.runs.execution.discover", with_planted)
        monkeypatch.setattr("mtl.runs.loading.discover", with_planted)

    return register


# --- disks ---------------------------------------------------------------------------------------


def starve(config: Config, folder: Path, kind: str, sizes: list[int], *, mounts: bool) -> list[str]:
    (folder / "starved.json").write_text(json.dumps(config))
    wanted = {"config": str(folder / "starved.json"), "output": str(folder), "kind": kind, "sizes": sizes}
    space = ["unshare", "--map-root-user", "--mount"] if mounts else []
    if mounts and (
        shutil.which("unshare") is None
        or subprocess.run([*space, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk needs a user namespace")
    done = subprocess.run(
        [*space, sys.executable, STARVING, json.dumps(wanted)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.slow
def test_l4_a_disk_that_fills_up_ends_the_run_and_loses_nothing(
    tiny: Config, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"] |= {"checkpoint_every_steps": 4, "report_every_steps": 1}
    mtl.train(tiny, output=tmp_path / "whole")
    sizes = list(range(4_096, 110_000, 12_288))
    said = starve(tiny, tmp_path, "full disk", sizes, mounts=True)
    for size, message in zip(sizes, said, strict=True):
        assert "No space left on device" in message
        assert f"{tmp_path}/disk-{size}/run" in message
        assert differences(tmp_path / f"run-{size}", tmp_path / "whole") == []
    assert "the run folder cannot be written" in said[0]
    assert "it has no checkpoint yet" in said[1] and "to continue from step-" in said[-1]


@pytest.mark.slow
def test_l4_a_limit_of_file_sizes_ends_the_run_and_loses_nothing(
    tiny: Config, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"] |= {"checkpoint_every_steps": 4, "report_every_steps": 1}
    mtl.train(tiny, output=tmp_path / "whole")
    sizes = [1_000, 5_500, 9_000, 15_000]
    said = starve(tiny, tmp_path, "file limit", sizes, mounts=False)
    for size, message in zip(sizes, said, strict=True):
        assert "File too large" in message
        assert differences(tmp_path / f"run-{size}", tmp_path / "whole") == []


@pytest.mark.slow
def test_l4_a_disk_that_can_only_be_read_any_more_ends_the_run_and_loses_nothing(
    tiny: Config, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"] |= {"checkpoint_every_steps": 4}
    mtl.train(tiny, output=tmp_path / "whole")
    steps = [1, 2, 4, 5]
    said = starve(tiny, tmp_path, "read-only", steps, mounts=True)
    for step, message in zip(steps, said, strict=True):
        assert message.startswith("1: ") and "Read-only file system; the run ended at step" in message
        assert differences(tmp_path / f"run-{step}", tmp_path / "whole") == []


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_an_output_that_cannot_be_a_folder_is_refused(
    place: str, tiny: Config, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("dear")
    said = command(tiny, tmp_path / place, status=2)
    assert f"{tmp_path / place}: " in said
    assert (tmp_path / "file").read_text() == "dear"


@pytest.mark.parametrize("step", [1, 2, 3, 12, 24])
def test_an_output_folder_that_is_gone_ends_the_run(
    step: int, tiny: Config, command: Command, plant: Plant, tmp_path: Path, differences: Differences
) -> None:
    tiny["trainer"]["checkpoint_every_steps"] = 2
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def mtl_step_ended(step: int, _last: int = step) -> None:
        if step == _last and not elsewhere.exists():
            folder.rename(elsewhere)

    command(tiny, tmp_path / "whole")
    plant(mtl_step_ended=mtl_step_ended)
    assert f"{folder}" in command(tiny, folder, status=1)
    assert not folder.exists()
    elsewhere.rename(folder)
    elsewhere.mkdir()
    command(tiny, folder, "--resume")
    assert differences(folder, tmp_path / "whole") == []


# --- damaged checkpoints --------------------------------------------------------------------------


class Stop(BaseException):
    """Ends a run as a kill would."""


def stop_after(last: int) -> Callable[[int], None]:
    """A hook that ends the run."""

    def mtl_step_ended(step: int) -> None:
        if step == last:
            raise Stop

    return mtl_step_ended


def interrupt_after(last: int) -> SimpleNamespace:
    """A callback that ends the run with its state saved."""

    def mtl_step_ended(step: int) -> None:
        if step == last:
            signal.raise_signal(signal.SIGINT)

    return SimpleNamespace(mtl_step_ended=hookimpl(mtl_step_ended))


@pytest.fixture(scope="module")
def stopped(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders: a whole run, and one that ended at step 15, with checkpoints of the steps 8, 12 and 15."""
    folder = tmp_path_factory.mktemp("stopped")
    config = copy.deepcopy(tiny_config)
    config["trainer"] |= {"checkpoint_every_steps": 4, "keep_checkpoints": 3}
    (folder / "config.json").write_text(json.dumps(config))
    mtl.train(config, output=folder / "whole")
    with pytest.raises(Interrupted):
        mtl.train(config, output=folder / "run", callbacks=[interrupt_after(15)])
    return folder


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGES = (truncated, emptied, flipped, Path.unlink)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damaged", [1, 3])
def test_l4_a_damaged_checkpoint_is_reported_and_an_earlier_one_used(
    damaged: int,
    name: str,
    damage: Callable[[Path], None],
    stopped: Path,
    command: Command,
    tmp_path: Path,
    differences: Differences,
) -> None:
    shutil.copytree(stopped / "run", tmp_path / "run")
    checkpoints = sorted((tmp_path / "run/checkpoints").iterdir(), reverse=True)
    assert len(checkpoints) == 3
    for checkpoint in checkpoints[:damaged]:
        damage(checkpoint / name)
    said = command(json.loads((stopped / "config.json").read_text()), tmp_path / "run", "--resume")
    for checkpoint in checkpoints[:damaged]:
        assert f"warning: {checkpoint}/" in said
    assert differences(tmp_path / "run", stopped / "whole") == []


def test_l5_an_intact_checkpoint_is_kept_beside_a_damaged_one(stopped: Path, tmp_path: Path) -> None:
    """Were the damaged one counted among the newest, nothing would be left to go on from."""
    folder = tmp_path / "run"
    shutil.copytree(stopped / "run", folder)
    config = json.loads((stopped / "config.json").read_text())
    config["trainer"]["keep_checkpoints"] = 1
    flipped(folder / "checkpoints/step-00000015/state.json")
    with pytest.raises(Interrupted):
        mtl.train(config, output=folder, resume=True, callbacks=[interrupt_after(14)])
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"step-00000014", "step-00000015"}
    config["trainer"]["keep_checkpoints"] = 3
    mtl.train(config, output=folder, resume=True)
    model, whole = (path / "model/weights.safetensors" for path in (folder, stopped / "whole"))
    assert model.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_model_is_not_gone_on_with(
    damage: Callable[[Path], None], stopped: Path, command: Command, tmp_path: Path
) -> None:
    """No later evaluation may be better, and then it would be scored and kept as the best."""
    shutil.copytree(stopped / "run", tmp_path / "run")
    damage(tmp_path / "run/model/weights.safetensors")
    said = command(json.loads((stopped / "config.json").read_text()), tmp_path / "run", "--resume", status=2)
    assert f"{tmp_path}/run/model/weights.safetensors: is" in said and "another output folder" in said


def test_checkpoints_that_a_killed_run_did_not_remove_any_more_are_removed_in_the_end(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differences: Differences
) -> None:
    config = json.loads((stopped / "config.json").read_text())
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "keep_checkpoints", lambda *_: None)
        mtl.train(config, output=tmp_path / "run")
    assert len(list((tmp_path / "run/checkpoints").iterdir())) == 6
    (tmp_path / "run/result.json").unlink()
    mtl.train(config, output=tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", stopped / "whole") == []


# --- what changed in between ----------------------------------------------------------------------


def rewritten(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c, d: c.update(seed=5),
            r"the config is not .*\n  seed: 0 before, 5 now\npass --allow-changes",
        ),
        (lambda c, d: c["trainer"].update(max_clip_norm=2.0), "trainer.max_clip_norm: null before, 2.0 now"),
        (
            lambda c, d: rewritten(d / "train.tsv", "\t0", "\t1"),
            r"SST2.train: the same number of rows",
        ),
        (
            lambda c, d: rewritten(d / "eval.tsv", "\t0", "\t1"),
            r"SST2.eval: the same number of rows",
        ),
        (lambda c, d: rewritten(d / "train.txt", "\n", "\nfilm film\n"), "LM.train: 22 rows before, 23 now"),
        (lambda c, d: rewritten(d / "vocabulary.txt", "zebra", "zebras"), r"vocabulary, labels\) differs"),
    ],
)
def test_what_changed_since_a_run_began_is_shown_and_refused_unless_allowed(
    change: Callable[[Config, Path], None], said: str, tiny: Config, command: Command, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(tiny["base_dir"], tmp_path / "data"))
    (data / "vocabulary.txt").write_text("film\nzebra\n")
    tiny["base_dir"] = str(data)
    features = tiny["tasks"]["SST2"]["DocClassificationTask"]["features"]
    features["word_feat"]["vocab_file"] = "vocabulary.txt"
    command(tiny, tmp_path / "run", "--set", "trainer.epochs=1")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    change(tiny, data)
    refused = command(tiny, tmp_path / "run", "--resume", status=2)
    assert re.search(said, refused), refused
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    allowed = command(tiny, tmp_path / "run", "--resume", "--allow-changes")
    assert "warning: " in allowed and "the results will match neither configuration" in allowed
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] >= 24


def test_other_orders_of_featurizers_and_tasks_are_refused(
    tiny: Config, command: Command, tmp_path: Path
) -> None:
    tiny["tasks"] = {"SST2": tiny["tasks"]["SST2"], "AGAIN": copy.deepcopy(tiny["tasks"]["SST2"])}
    features = [task["DocClassificationTask"]["features"] for task in tiny["tasks"].values()]
    features[0]["char_feat"] = {"kernel_sizes": [2], "kernel_num": 3}
    features[1].pop("word_feat")
    command(tiny, tmp_path / "run", "--set", "trainer.epochs=1")
    ordered = tiny["tasks"]
    tiny["tasks"] = dict(reversed(ordered.items()))
    said = command(tiny, tmp_path / "run", "--resume", status=2)
    assert "tasks: in the order SST2, AGAIN before, AGAIN, SST2 now" in said
    tiny["tasks"] = ordered
    features[0]["word_feat"] = features[0].pop("word_feat")
    said = command(tiny, tmp_path / "run", "--resume", status=2)
    assert "features: in the order word_feat, char_feat before, char_feat, word_feat now" in said


def test_a_changed_version_is_reported_on_resume(tiny: Config, command: Command, tmp_path: Path) -> None:
    command(tiny, tmp_path / "run", "--set", "trainer.epochs=1")
    (checkpoint,) = (tmp_path / "run/checkpoints").iterdir()
    state = json.loads((checkpoint / "state.json").read_text())
    state["run"]["versions"]["torch"]["version"] = "1.0"
    (checkpoint / "state.json").write_text(json.dumps(state))
    (checkpoint / "manifest.json").unlink()
    write_manifest(checkpoint)
    said = command(tiny, tmp_path / "run", "--resume")
    assert f'torch.version: "1.0" before, "{torch.__version__}" now; the results may differ' in said


# --- losses, memory -------------------------------------------------------------------------------


class Decoder(nn.Linear):
    """A decoder that does in training what it is told to, and where it is told to."""

    def __init__(
        self,
        config: MLPDecoderConfig,
        build: Any,
        *,
        input_dim: int,
        output_dim: int,
        output_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(input_dim, output_dim)

    def forward(self, vectors: Tensor) -> Tensor:
        return super().forward(vectors)


def badly(fault: Callable[[Tensor], Tensor], when: Callable[[], bool]) -> type[Decoder]:
    """A decoder with a fault at the forward passes of training `when` it is due."""

    class Faulty(Decoder):
        def forward(self, vectors: Tensor) -> Tensor:
            scores = super().forward(vectors)
            return fault(scores) if self.training and when() else scores

    return Faulty


def at_pass(number: int) -> Callable[[], bool]:
    """The n-th forward pass."""
    passes = iter(range(1, 10_000))
    return lambda: next(passes) == number


def one_step_in_three() -> bool:
    """The same steps in any process: each step has its own seed."""
    return torch.initial_seed() % 3 == 0


def infinite_gradient(scores: Tensor) -> Tensor:
    """The same scores: their gradient divides by zero."""
    return scores + (scores * 0).abs().sqrt()


@pytest.fixture
def planted(tiny: Config) -> Config:
    """The classifier with a planted decoder."""
    tiny["tasks"]["SST2"]["DocClassificationTask"]["decoder"] = "Planted"
    tiny["trainer"]["checkpoint_every_steps"] = 3
    return tiny


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_l7_a_nonfinite_loss_ends_the_run_and_names_task_step_and_rows(
    value: float,
    planted: Config,
    command: Command,
    plant: Plant,
    tmp_path: Path,
    differences: Differences,
) -> None:
    plant("decoder", MLPDecoderConfig, Decoder)
    command(planted, tmp_path / "whole")
    plant("decoder", MLPDecoderConfig, badly(lambda scores: scores * value, at_pass(4)))
    said = command(planted, tmp_path / "run", status=1)
    # Steps of the two tasks alternate, so the fourth of the classifier is the seventh of all, or the eighth.
    assert re.search(r"the loss of SST2 is (nan|inf) at step [78], on the rows \S+/train\.tsv: \d+, ", said)
    assert max(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == "step-00000006"
    plant("decoder", MLPDecoderConfig, Decoder)
    command(planted, tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_what_waits_to_be_written_is_written_when_a_run_fails(
    planted: Config, command: Command, plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model = RunFolder.save_model

    def slowly(*arguments: Any) -> None:
        time.sleep(0.5)
        save_model(*arguments)

    monkeypatch.setattr(RunFolder, "save_model", slowly)
    planted["trainer"] |= {"checkpoint_every_steps": 1, "evaluate_every_steps": 3}
    plant("decoder", MLPDecoderConfig, badly(lambda scores: scores * float("nan"), at_pass(2)))
    said = command(planted, tmp_path / "run", status=1)
    (step,) = re.findall(r"at step (\d)", said)
    newest = max(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert newest == f"step-0000000{int(step) - 1}"


@pytest.mark.parametrize(
    "fault", [lambda scores: scores * float("nan"), lambda scores: scores / 0, infinite_gradient]
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_l7_steps_that_are_not_finite_are_skipped_and_counted_where_asked_to(
    fault: Callable[[Tensor], Tensor],
    accumulate: int,
    planted: Config,
    command: Command,
    plant: Plant,
    tmp_path: Path,
    differences: Differences,
) -> None:
    planted["trainer"] |= {
        "on_nonfinite_loss": "skip",
        "accumulate_batches": accumulate,
        "average_decay": 0.9,
        "optimizer": {"SGD": {"momentum": 0.9}},
    }
    plant("decoder", MLPDecoderConfig, badly(fault, one_step_in_three))
    said = command(planted, tmp_path / "whole")
    assert said.count("such steps are skipped") == 1 and "SST2 is not finite at step" in said
    result = json.loads((tmp_path / "whole/result.json").read_text())
    assert 0 < result["tasks"]["SST2"]["skipped_steps"] < result["tasks"]["SST2"]["steps"]
    assert result["tasks"]["LM"]["skipped_steps"] == 0
    for checkpoint in (tmp_path / "whole/checkpoints").iterdir():
        tensors = load_file(checkpoint / "tensors.safetensors")
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    plant("decoder", MLPDecoderConfig, badly(fault, one_step_in_three), mtl_step_ended=stop_after(7))
    with pytest.raises(Stop):
        command(planted, tmp_path / "run")
    plant("decoder", MLPDecoderConfig, badly(fault, one_step_in_three), mtl_step_ended=lambda: None)
    command(planted, tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory: 8 bytes."),
    MemoryError(),
)


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_names_the_batch_and_what_to_change(
    error: Exception,
    planted: Config,
    command: Command,
    plant: Plant,
    tmp_path: Path,
    differences: Differences,
) -> None:
    plant("decoder", MLPDecoderConfig, Decoder)
    command(planted, tmp_path / "whole")
    plant("decoder", MLPDecoderConfig, badly(raising(error), at_pass(4)))
    said = command(planted, tmp_path / "run", status=1)
    assert re.search(
        r"out of memory at step [78], in a batch of SST2 with 4 rows of up to \d tokens, on the rows"
        r" \S+/train\.tsv: (\d+, ){3}\d+; try a smaller `batch_size`",
        said,
    ), said
    plant("decoder", MLPDecoderConfig, Decoder)
    command(planted, tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", tmp_path / "whole") == []


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_in_evaluation_says_what_to_change(
    error: Exception, planted: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    class Large(Decoder):
        def forward(self, vectors: Tensor) -> Tensor:
            if not self.training:
                raise error
            return super().forward(vectors)

    plant("decoder", MLPDecoderConfig, Large)
    said = command(planted, tmp_path / "run", status=1)
    assert "out of memory" in said and "SST2" in said and "`eval_batch_size`" in said


# --- plugins that fail ----------------------------------------------------------------------------


def failing(base: type, method: str, *, after: int = 0) -> type:
    """A class whose method fails, after some calls that do not."""
    left = iter(range(after))

    def fail(self: Any, *arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise KeyError("no such thing")
        return getattr(base, method)(self, *arguments, **options)

    return type(f"Acme{base.__name__}", (base,), {method: fail, "__module__": "acme_planted"})


def fails(said: str, name: str, doing: str) -> bool:
    """Whether a message names the component, its module and what it did."""
    return f"mtl: {name} (acme_planted) failed {doing}" in said and "KeyError: 'no such thing'" in said


@pytest.mark.parametrize(
    ("method", "doing"),
    [
        ("prepare", "to prepare "),
        ("fit", "to fit itself to SST2"),
        ("encode", "to encode "),
        ("build_model", "to build the model of SST2"),
        ("metrics", "to evaluate "),
    ],
)
def test_c4_a_task_that_fails_is_named(
    method: str, doing: str, tiny: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    tiny["tasks"]["SST2"] = {"Planted": tiny["tasks"]["SST2"]["DocClassificationTask"]}
    plant("task", DocClassificationTaskConfig, failing(DocClassificationTask, method))
    said = command(tiny, tmp_path / "run", status=1)
    assert fails(said, "AcmeDocClassificationTask", doing), said


@pytest.mark.parametrize(
    ("method", "doing"), [("update", "to add a batch of "), ("compute", "to compute the metrics of ")]
)
def test_c4_failing_metrics_are_named_and_the_run_resumes_once_fixed(
    method: str,
    doing: str,
    tiny: Config,
    command: Command,
    plant: Plant,
    tmp_path: Path,
    differences: Differences,
) -> None:
    tiny["tasks"]["SST2"] = {"Planted": tiny["tasks"]["SST2"]["DocClassificationTask"]}
    # The second evaluation fails: by then there is a checkpoint.
    after = 1 if method == "compute" else 3
    metrics = failing(ClassificationMetrics, method, after=after)
    broken = {"metrics": lambda self: metrics(self.labels)}
    plant("task", DocClassificationTaskConfig, type("Task", (DocClassificationTask,), broken))
    said = command(tiny, tmp_path / "run", status=1)
    assert fails(said, "AcmeClassificationMetrics", doing), said
    plant("task", DocClassificationTaskConfig, DocClassificationTask)
    command(tiny, tmp_path / "whole")
    command(tiny, tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_c4_predictions_that_fail_are_named(
    tiny: Config, command: Command, plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny["tasks"]["SST2"] = {"Planted": tiny["tasks"]["SST2"]["DocClassificationTask"]}
    plant("task", DocClassificationTaskConfig, failing(DocClassificationTask, "predictions"))
    command(tiny, tmp_path / "run")
    (tmp_path / "rows.txt").write_text("a film\n")
    rows = str(tmp_path / "rows.txt")
    assert main(["predict", str(tmp_path / "run"), rows, "--task", "SST2", "--text"]) == 1
    said = capsys.readouterr().err
    assert fails(said, "AcmeDocClassificationTask", "to predict"), said
    assert "Traceback" not in said


def test_c3_a_data_source_that_fails_is_named(
    tiny: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    settings = tiny["tasks"]["SST2"]["DocClassificationTask"]
    settings["data"] = {"Planted": settings["data"]}
    plant("data_source", TSVConfig, failing(DataSource, "read"))
    said = command(tiny, tmp_path / "run", status=1)
    assert fails(said, "AcmeDataSource", f"to read {tiny['base_dir']}/train.tsv"), said


@pytest.mark.parametrize(
    ("method", "doing"),
    [
        ("fit", "to fit itself to SST2"),
        ("encode", "to encode texts"),
        ("report", "to report on "),
        ("notices", "to give its notices"),
        ("build_embedding", "to build tasks.SST2."),
    ],
)
def test_c3_a_featurizer_that_fails_is_named(
    method: str, doing: str, tiny: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    tiny["tasks"] = {"SST2": tiny["tasks"]["SST2"]}
    tiny["tasks"]["SST2"]["DocClassificationTask"]["features"] = {"Planted": {"embed_dim": 4}}
    plant("featurizer", WordFeatConfig, failing(WordFeat, method))
    said = command(tiny, tmp_path / "run", status=1)
    assert fails(said, "AcmeWordFeat", doing), said


def test_c5_a_failing_model_is_named_and_the_run_resumes_once_fixed(
    planted: Config, command: Command, plant: Plant, tmp_path: Path, differences: Differences
) -> None:
    plant("decoder", MLPDecoderConfig, failing(Decoder, "__init__"))
    said = command(planted, tmp_path / "run", status=1)
    assert fails(said, "AcmeDecoder", "to instantiate tasks.SST2.DocClassificationTask.decoder"), said
    plant("decoder", MLPDecoderConfig, badly(raising(KeyError("no such thing")), at_pass(4)))
    said = command(planted, tmp_path / "run", status=1)
    assert re.search(r"mtl: DocClassificationTask \(pytext_plugins_sst\.task\) failed to train on step", said)
    assert "(SST2): KeyError: 'no such thing'" in said
    plant("decoder", MLPDecoderConfig, Decoder)
    command(planted, tmp_path / "whole")
    command(planted, tmp_path / "run", "--resume")
    assert differences(tmp_path / "run", tmp_path / "whole") == []


@pytest.mark.parametrize(
    "hook", ["run_started", "step_ended", "recorded", "evaluated", "checkpoint_saved", "run_ended"]
)
def test_a_failing_hook_is_named_and_training_continues(
    hook: str, tiny: Config, command: Command, plant: Plant, tmp_path: Path, differences: Differences
) -> None:
    command(tiny, tmp_path / "whole")
    plant(**{f"mtl_{hook}": raising(KeyError("no such thing"))})
    said = command(tiny, tmp_path / "run")
    warning = (
        f"warning: acme:acme raised an exception in mtl_{hook} and was disabled: KeyError: 'no such thing'"
    )
    assert said.count(warning) == 1
    assert differences(tmp_path / "run", tmp_path / "whole") == []


def test_a_failing_logger_is_named_and_training_continues(
    tiny: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    def logger(config: Any, *, folder: Path) -> Any:
        return SimpleNamespace(mtl_recorded=hookimpl(raising(KeyError("no such thing"))))

    tiny["loggers"] = ["Planted"]
    plant("logger", LoggerConfig, logger)
    said = command(tiny, tmp_path / "run")
    assert "loggers[0]" in said and "raised an exception in mtl_recorded and was disabled: KeyError" in said


def test_a_logger_that_cannot_be_made_is_named(
    tiny: Config, command: Command, plant: Plant, tmp_path: Path
) -> None:
    tiny["loggers"] = ["Planted"]
    plant("logger", LoggerConfig, raising(KeyError("no such thing")))
    said = command(tiny, tmp_path / "run")
    assert "loggers[0]" in said and "KeyError: 'no such thing'" in said


def test_a_run_in_use_by_another_process_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    run = tmp_path / "run"
    mtl.train(tiny_config, output=run)
    longer = {**tiny_config, "trainer": {**tiny_config["trainer"], "epochs": 3}}
    with RunFolder(run).locked(), pytest.raises(UsageError, match="another process is using this run folder"):
        mtl.train(longer, output=run, resume=True)
    with RunFolder(tmp_path / "new").locked(), pytest.raises(UsageError, match="another process"):
        mtl.train(tiny_config, output=tmp_path / "new")
    assert mtl.train(longer, output=run, resume=True).data["status"] == "completed"


def test_an_interrupt_while_the_test_data_are_scored_is_followed(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mtl.train(tiny_config, output=tmp_path / "whole").data
    evaluate = Evaluator.evaluate

    def interrupted(self: Evaluator, split: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        if split == "test":
            os.kill(os.getpid(), signal.SIGINT)
        return evaluate(self, split, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "evaluate", interrupted)
        with pytest.raises(Interrupted, match="its state is saved") as raised:
            mtl.train(tiny_config, output=tmp_path / "run")
    assert raised.value.exit_status == 130 and not (tmp_path / "run/result.json").exists()
    resumed = mtl.train(tiny_config, output=tmp_path / "run", resume=True).data
    assert resumed["best"] == whole["best"]
    for task, metrics in whole["tasks"].items():
        assert resumed["tasks"][task]["test"] == metrics["test"]
