"""Document classification."""

from __future__ import annotations

from mtl_text.classification.task import ClassificationTask
from pytext_plugins_sst.config import DocClassificationTaskConfig


class DocClassificationTask(ClassificationTask[DocClassificationTaskConfig]):
    """Assigns one of several labels to each document."""
