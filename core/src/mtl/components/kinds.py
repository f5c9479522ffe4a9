"""The kinds of components that a config can name."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from attrs import frozen

from mtl.components.data import DatasetConfig, DataSourceConfig
from mtl.components.featurizers import FeaturizerConfig
from mtl.components.modules import DecoderConfig, PoolingConfig, RepresentationConfig
from mtl.components.tasks import TaskConfig
from mtl.components.training import LRSchedulerConfig, ScheduleConfig
from mtl.suggest import with_article


@frozen
class Kind:
    """A kind of component: its name, its hook and the base of its config classes."""

    name: str
    hook: str
    config: type

    @property
    def label(self) -> str:
        """The kind in words: "lr scheduler"."""
        return self.name.replace("_", " ")

    @property
    def a_label(self) -> str:
        """The kind with its article: "an optimizer"."""
        return with_article(self.label)

    @property
    def common_keys(self) -> frozenset[str]:
        """The keys that every component of the kind has."""
        return frozenset(attrs.fields_dict(self.config)) if attrs.has(self.config) else frozenset()


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("task", "mtl_tasks", TaskConfig),
        Kind("representation", "mtl_representations", RepresentationConfig),
        Kind("featurizer", "mtl_featurizers", FeaturizerConfig),
        Kind("pooling", "mtl_poolings", PoolingConfig),
        Kind("decoder", "mtl_decoders", DecoderConfig),
        Kind("data_source", "mtl_data_sources", DataSourceConfig),
        Kind("dataset", "mtl_datasets", DatasetConfig),
        Kind("optimizer", "mtl_optimizers", object),
        Kind("lr_scheduler", "mtl_lr_schedulers", LRSchedulerConfig),
        Kind("schedule", "mtl_schedules", ScheduleConfig),
        Kind("balancer", "mtl_balancers", object),
        Kind("logger", "mtl_loggers", object),
    )
}
"""The kinds of components, by name."""
