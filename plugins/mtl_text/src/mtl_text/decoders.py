"""Decoders: vectors to scores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mtl import Builder
from mtl_text.dropout import Dropout
from mtl_text.model_config import MLPDecoderConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def dense_layers(
    input_dim: int, dims: Sequence[int], *, activation: str = "relu", dropout: float = 0.0, bias: bool = True
) -> nn.Sequential:
    """Return linear layers of these widths, each with activation and dropout: `[..., input_dim]` to
    `[..., dims[-1]]`; the identity if `dims` is empty."""
    layers = nn.Sequential()
    for inputs, outputs in zip([input_dim, *dims], dims, strict=False):
        layers.extend([nn.Linear(inputs, outputs, bias), ACTIVATIONS[activation](), Dropout(dropout)])
    return layers


class MLPDecoder(nn.Module):
    """Linear layers: `output(hidden(inputs))`.

    Both are public for code that does not need all scores at once.

    *Shape:* `[..., input_dim]` to `[..., output_dim]`; `hidden` returns `[..., output.in_features]`.
    """

    def __init__(
        self,
        config: MLPDecoderConfig,
        build: Builder,
        *,
        input_dim: int,
        output_dim: int,
        output_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.output_names = output_names
        self.hidden = dense_layers(
            input_dim,
            config.hidden_dims,
            activation=config.activation,
            dropout=config.dropout,
            bias=config.bias,
        )
        self.output = nn.Linear([input_dim, *config.hidden_dims][-1], output_dim, config.bias)

    def row_names(self) -> dict[str, Sequence[str]]:
        """Return the names of the outputs, if there are any, as those of the last layer's rows."""
        if self.output_names is None:
            return {}
        tensors = ["output.weight"] if self.output.bias is None else ["output.weight", "output.bias"]
        return dict.fromkeys(tensors, self.output_names)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.output(self.hidden(inputs))
        return scores
