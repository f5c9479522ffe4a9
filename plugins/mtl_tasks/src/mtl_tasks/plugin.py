"""What mtl_tasks brings. Free of torch."""

from __future__ import annotations

from mtl import Baseline, ComponentSpec, hookimpl

mtl_api = ">=1,<2"


def _task(name: str, module: str, summary: str) -> ComponentSpec:
    config, factory = f"mtl_tasks.config:{name}Config", f"mtl_tasks.{module}:{name}"
    return ComponentSpec(name=name, config=config, factory=factory, summary=summary)


def _source(name: str, module: str, summary: str) -> ComponentSpec:
    config, factory = f"mtl_tasks.data_config:{name}Config", f"mtl_tasks.{module}:{name}"
    return ComponentSpec(name=name, config=config, factory=factory, summary=summary)


def _dataset(name: str, factory: str, summary: str) -> ComponentSpec:
    return ComponentSpec(
        name=name,
        config="mtl_tasks.data_config:PublicDatasetConfig",
        factory=f"mtl_tasks.datasets:{factory}",
        summary=summary,
    )


@hookimpl
def mtl_tasks() -> list[ComponentSpec]:
    return [
        _task("PairClassificationTask", "pair_classification", "Gives a pair of texts one of several labels"),
        _task("RegressionTask", "regression", "Predicts a number for a text or a pair of texts"),
        _task("MultiLabelTask", "multi_label", "Gives a text or a pair any number of labels"),
        _task("TaggingTask", "tagging", "Gives each word of a text one tag"),
        _task("SimilarityTask", "similarity", "Learns vectors of texts from pairs"),
        _task("SpanTask", "answers", "Finds the answer to a question in a text"),
    ]


@hookimpl
def mtl_data_sources() -> list[ComponentSpec]:
    return [
        _source("CSV", "csv_files", "A row per record of CSV, cells in quotes or not"),
        _source("CoNLL", "conll", "A sentence per row, one word with its tags per line; CoNLL-U"),
        _source("Parquet", "parquet", "A row per row of a Parquet or Arrow file"),
        _source("HFDataset", "hf_dataset", "A row per row of a dataset of the Hugging Face Hub"),
        _source("SQuAD", "squad", "A row per question of a file in SQuAD's JSON"),
    ]


@hookimpl
def mtl_datasets() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            name="task-samples",
            config="mtl_tasks.data_config:TaskSamplesConfig",
            factory="mtl_tasks.datasets:TaskSamples",
            summary="Generated sentences, pairs, tags and questions, in the layouts of public corpora",
        ),
        _dataset("glue", "GLUE", "All nine tasks of GLUE and its diagnostic pairs"),
        _dataset("cola", "CoLA", "Linguistic acceptability (GLUE)"),
        _dataset("mrpc", "MicrosoftParaphrases", "Paraphrases (GLUE)"),
        _dataset("stsb", "STSBenchmark", "Similarity of sentences, 0 to 5 (GLUE)"),
        _dataset("qqp", "QuoraPairs", "Duplicate questions (GLUE)"),
        _dataset("mnli", "MultiNLI", "Entailment in several genres, three classes (GLUE)"),
        _dataset("qnli", "QuestionNLI", "Sentences that answer a question (GLUE)"),
        _dataset("rte", "TextualEntailment", "Entailment, two classes (GLUE)"),
        _dataset("wnli", "WinogradNLI", "Winograd schemas as pairs (GLUE)"),
        _dataset("glue-diagnostic", "GLUEDiagnostic", "Diagnostic pairs without labels (GLUE)"),
        _dataset("wnut17", "WNUT17", "Emerging entities in noisy text"),
        ComponentSpec(
            name="ud",
            config="mtl_tasks.data_config:UDConfig",
            factory="mtl_tasks.datasets:UniversalDependencies",
            summary="A treebank of Universal Dependencies: `mtl data fetch UD_English-LinES`",
        ),
    ]


@hookimpl
def mtl_baselines() -> list[Baseline]:
    return [
        Baseline("most frequent", "mtl_tasks.baselines:majority"),
        Baseline("linear over 1-2-grams", "mtl_tasks.baselines:ngrams"),
    ]
