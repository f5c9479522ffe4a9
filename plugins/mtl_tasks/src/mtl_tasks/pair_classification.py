"""Classification of pairs of texts."""

from __future__ import annotations

from mtl_tasks.config import PairClassificationTaskConfig
from mtl_text.classification.task import ClassificationTask


class PairClassificationTask(ClassificationTask[PairClassificationTaskConfig]):
    """Assigns one of several labels to each pair of texts."""
