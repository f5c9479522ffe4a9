"""Simple models that a model must beat: the most frequent answer, and linear models over n-grams."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mtl import ColumnSpec, ColumnType

Scores = dict[str, float | None]


def majority(columns: Sequence[ColumnSpec], train: pl.DataFrame, evaluated: pl.DataFrame) -> Scores | None:
    """Score the most frequent label, the mean number, or each word's most frequent tag."""
    target = _target(columns)
    if target is None or not len(train) or not len(evaluated):
        return None
    known, right = train[target.name].to_list(), evaluated[target.name].to_list()
    if target.type is ColumnType.FLOAT:
        return _of_numbers(np.full(len(right), np.mean(known)), right)
    if target.type is ColumnType.TEXT:
        return _of_labels([Counter(known).most_common(1)[0][0]] * len(right), right)
    words = _words(columns)
    if words is None:
        return None
    tags = _usual_tags(train[words.name].to_list(), known)
    usual = Counter(tag for row in known for tag in row).most_common(1)[0][0]
    given = [[tags.get(word, usual) for word in row] for row in evaluated[words.name].to_list()]
    pairs = [
        pair
        for row, answer in zip(right, given, strict=True)
        if len(row) == len(answer)
        for pair in zip(row, answer, strict=True)
    ]
    return {"accuracy": sum(one == other for one, other in pairs) / len(pairs)} if pairs else None


def ngrams(columns: Sequence[ColumnSpec], train: pl.DataFrame, evaluated: pl.DataFrame) -> Scores | None:
    """Score a linear model over the words and pairs of neighboring words of each text, weighted by TF-IDF.

    Labels by logistic regression, numbers by ridge regression, with scikit-learn's settings.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    target, texts = _target(columns), [column for column in columns if column.input]
    if target is None or target.type not in (ColumnType.TEXT, ColumnType.FLOAT):
        return None
    if any(column.type is not ColumnType.TEXT for column in texts) or not len(train) or not len(evaluated):
        return None
    known, right = train[target.name].to_list(), evaluated[target.name].to_list()
    if len(set(known)) < 2:
        return None
    from scipy.sparse import hstack

    parts: list[tuple[Any, Any]] = []
    for column in texts:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
        try:
            fitted = vectorizer.fit_transform(train[column.name].fill_null("").to_list())
        except ValueError:  # there is no word
            continue
        parts.append((fitted, vectorizer.transform(evaluated[column.name].fill_null("").to_list())))
    if not parts:
        return None
    inputs, asked = (hstack(each).tocsr() for each in zip(*parts, strict=True))
    if target.type is ColumnType.FLOAT:
        return _of_numbers(Ridge().fit(inputs, known).predict(asked), right)
    model = LogisticRegression(C=10.0, max_iter=1000).fit(inputs, known)
    return _of_labels(list(model.predict(asked)), right)


def _target(columns: Sequence[ColumnSpec]) -> ColumnSpec | None:
    """Return the only target of a task; None if it has none or several."""
    targets = [column for column in columns if not column.input]
    return targets[0] if len(targets) == 1 else None


def _words(columns: Sequence[ColumnSpec]) -> ColumnSpec | None:
    inputs = [column for column in columns if column.input]
    return inputs[0] if len(inputs) == 1 and inputs[0].type is ColumnType.TEXTS else None


def _usual_tags(words: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, str]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, of_row in zip(words, tags, strict=True):
        for word, tag in zip(row, of_row, strict=False):
            counts[word][tag] += 1
    return {word: each.most_common(1)[0][0] for word, each in counts.items()}


def _of_labels(given: Sequence[str], right: Sequence[str]) -> Scores:
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    several = len(set(right)) > 1
    return {
        "accuracy": float(accuracy_score(right, given)),
        "macro_f1": float(f1_score(right, given, average="macro", zero_division=0)),
        "matthews_correlation": float(matthews_corrcoef(right, given)) if several else None,
    }


def _of_numbers(given: Any, right: Sequence[float]) -> Scores:
    from scipy.stats import pearsonr, spearmanr

    varies = len(set(right)) > 1 and len(set(given.tolist())) > 1
    return {
        "pearson": float(pearsonr(given, right).statistic) if varies else None,
        "spearman": float(spearmanr(given, right).statistic) if varies else None,
        "rmse": float(np.sqrt(np.mean((given - np.asarray(right)) ** 2))),
    }
