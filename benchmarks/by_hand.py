"""The best loop that we know to write by hand in plain torch: nothing in it but what a step needs.

It trains mtl's own modules on mtl's own batches, cut from columns that are ready, with a fused Adam, and
never looks at a loss. What mtl takes longer than this is what its loop costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl import Loss, ModelOutput
from mtl.data.columns import Batch, Dense, Ragged
from mtl.training.timeline import Step
from mtl.training.trainer import Trainer

WORDS, LABEL = "text.word_feat.ids", "label"
ON_CPU = "lengths on the CPU"


class ByHand:
    """The loop. It takes models and rows from `training`, which it never runs, and moves its weights;
    `models` stand in for mtl's where given. With `bfloat16` the forward pass runs under autocast."""

    def __init__(
        self,
        training: Trainer,
        steps: Sequence[Step],
        *,
        models: Mapping[str, nn.Module] | None = None,
        bfloat16: bool = False,
        **optimizer: Any,
    ) -> None:
        self.models = models or training.model.tasks
        self.device, self.bfloat16 = training.device, bfloat16
        self.columns = {task: data.train.columns for task, data in training.data.items()}
        batching = training.phase.timeline.batching
        self.order = iter(
            [
                (
                    step.task,
                    torch.from_numpy(
                        batching[step.task].batches(step.spans[0].pass_index)[step.spans[0].start]
                    ),
                )
                for step in steps
            ]
        )
        parameters = {id(p): p for model in self.models.values() for p in model.parameters()}
        self.optimizer = torch.optim.Adam(
            parameters.values(), lr=1e-3, weight_decay=1e-5, fused=True, **optimizer
        )

    def step(self) -> Tensor:
        """Return one step: its mean loss."""
        task, rows = next(self.order)
        return self._learn(task, self._cut(task, rows))

    def _learn(self, task: str, batch: Batch) -> Tensor:
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = self.models[task](batch).loss
        mean: Tensor = loss.total / loss.weight
        mean.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return mean.detach()

    def _cut(self, task: str, rows: Tensor) -> Batch:
        words, labels = self.columns[task][WORDS], self.columns[task].get(LABEL)
        assert isinstance(words, Ragged)
        starts = words.offsets[rows]
        lengths = words.offsets[rows + 1] - starts
        places = torch.arange(int(lengths.max()))
        padded = places >= lengths[:, None]
        ids = words.values[(starts[:, None] + places).masked_fill_(padded, 0)]
        tensors = {WORDS: ids.masked_fill_(padded, words.padding)}
        if isinstance(labels, Dense):
            tensors[LABEL] = labels.values[rows]
        batch = Batch(tensors, {WORDS: lengths}, rows, int(lengths.sum()))
        return batch if self.device.type == "cpu" else _copied(batch, self.device)


class Graphed(ByHand):
    """The same with a CUDA graph of the whole step for each shape of batch: for batches whose shapes repeat.

    Capturing trains on the first batch of a shape a few times more.
    """

    def __init__(self, training: Trainer, steps: Sequence[Step], *, bfloat16: bool = False) -> None:
        super().__init__(training, steps, bfloat16=bfloat16, capturable=True)
        self.captured: dict[tuple[object, ...], tuple[Batch, torch.cuda.CUDAGraph, Tensor]] = {}

    def _learn(self, task: str, batch: Batch) -> Tensor:
        shape = (task, batch[WORDS].shape, batch.words)
        if shape not in self.captured:
            self.captured[shape] = self._capture(task, batch)
        inputs, graph, loss = self.captured[shape]
        for name, tensor in batch.tensors.items():
            inputs.tensors[name].copy_(tensor)
        inputs.lengths[WORDS].copy_(batch.lengths[WORDS])
        graph.replay()
        return loss

    def _capture(self, task: str, batch: Batch) -> tuple[Batch, torch.cuda.CUDAGraph, Tensor]:
        inputs = Batch(
            {name: tensor.clone() for name, tensor in batch.tensors.items()},
            {name: tensor.clone() for name, tensor in batch.lengths.items()},
            batch.rows,
            batch.words,
        )
        # torch asks for some steps on a stream of their own before a capture.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                super()._learn(task, inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad()
        with torch.cuda.graph(graph):
            loss = super()._learn(task, inputs)
        return inputs, graph, loss


class PlainModel(nn.Module):
    """A model of `straightforward`, with the batches and losses of mtl's."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> ModelOutput:
        labels = [batch[LABEL]] if LABEL in batch else []
        lengths = batch.lengths.get(ON_CPU, batch.lengths[WORDS])
        return ModelOutput(Loss(self.model(batch[WORDS], lengths, *labels), 1.0))


def _copied(batch: Batch, device: torch.device) -> Batch:
    return Batch(
        {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in batch.tensors.items()},
        {
            WORDS: batch.lengths[WORDS].pin_memory().to(device, non_blocking=True),
            ON_CPU: batch.lengths[WORDS],
        },
        batch.rows,
        batch.words,
    )
