"""Predict for lines of standard input: `python predict.py < texts`. Needs numpy and onnxruntime.
A line is a text, texts separated by tabs, or a JSON object; the answer to each is a line of JSON.
"""

import json
import re
import sys
import unicodedata
import zlib
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnxruntime
FOLDER = Path(__file__).parent
STEPS = json.loads((FOLDER / "steps.json").read_text(encoding="utf-8"))
TEXTS, SPECIAL, UNKNOWN, FEATURES = (STEPS[key] for key in ("texts", "special", "unknown", "features"))
WORD = re.compile("[^\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
for feature in FEATURES.values():
    feature["ids"] = {token: number for number, token in enumerate(feature.get("tokens", ()))}


def encode(word, step):
    """Return what a featurizer makes of a word: a number, or a list of numbers."""
    if step["normalization"] != "none":
        word = unicodedata.normalize(step["normalization"], word)
    if step["kind"] == "words":
        is_lower = step["lowercase"] and word not in SPECIAL
        return step["ids"].get(word.lower() if is_lower else word, UNKNOWN)
    whole = [word] if word in SPECIAL or word == "<unk>" else None
    if step["kind"] == "characters":
        return [step["ids"].get(letter, UNKNOWN) for letter in whole or word[: step["width"]]]
    marked, sizes = f"<{word}>", range(step["shortest"], step["longest"] + 1)
    grams = (marked[at : at + size] for size in sizes for at in range(len(marked) - size + 1))
    texts = whole or [*islice(grams, step["width"])] or [marked]
    return [1 + zlib.crc32(text.encode()) % step["buckets"] for text in texts]


def tensor(rows, given):
    """Return an input of the model for rows, each a list of words per text."""
    texts = [row[given["text"]] for row in rows]
    if given["feature"] is None:
        return np.array([len(words) for words in texts], dtype=np.int64)
    step = FEATURES[given["feature"]]
    width = () if step["kind"] == "words" else (step["width"],)
    padded = np.zeros((len(rows), max(map(len, texts)), *width), dtype=np.int64)
    for row, words in enumerate(texts):
        for place, word in enumerate(words):
            ids = encode(word, step)
            padded[(row, place, slice(len(ids))) if width else (row, place)] = ids
    return padded


def answer(row, words, outputs):
    """Return the prediction for a row of the model's outputs."""
    kind, names = STEPS["answer"]["kind"], STEPS["answer"]["names"]
    if kind == "tags":
        return {"tags": [names[tag] for tag in outputs["tags"][row][: len(words[0])]]}
    values = outputs["probabilities" if kind == "labels" else "scores"][row].astype(np.float64)
    if kind == "score":
        return {"score": float(values)}
    if kind == "labels":
        over = outputs["probabilities"][row] >= outputs["thresholds"]
        chosen = {"labels": [name for name, is_given in zip(names, over) if is_given]}
    else:
        values = np.exp(values - values.max()) / np.exp(values - values.max()).sum()
        chosen = {"label": names[values.argmax()]}
    return {**chosen, "probabilities": dict(zip(names, values.tolist()))}


def read(lines, is_json):
    """Yield the words of each line's texts, its other keys, and what is wrong with it."""
    for number, line in enumerate(lines, start=1):
        words, others, problem = [], {}, f"a line must have {', '.join(f'`{name}`' for name in TEXTS)}"
        try:
            given = json.loads(line) if is_json else dict(zip(TEXTS, line.rstrip("\r\n").split("\t")))
            others = {key: value for key, value in given.items() if key not in TEXTS}
            words = [given[name] if STEPS["json_only"] else WORD.findall(given[name]) for name in TEXTS]
            words = [each[: STEPS["max_tokens"]] for each in words]
            problem = next((f"`{name}` must not be empty, but is" for name, each in zip(TEXTS, words) if not each), None)
        except (ValueError, AttributeError, KeyError, TypeError):
            pass  # the line is no row: `problem` says so
        if not is_json or line.strip():
            yield words, others, problem and {"line": number, "error": problem}


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8-sig"), sys.stdout.reconfigure(encoding="utf-8")
    session = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])
    used, first = {each.name for each in session.get_inputs()}, list(islice(sys.stdin, 1))
    lines = read(chain(first, sys.stdin), STEPS["json_only"] or "".join(first).lstrip().startswith("{"))
    while chunk := list(islice(lines, 64)):
        rows = [words for words, _, problem in chunk if problem is None]
        inputs = {each["name"]: tensor(rows, each) for each in STEPS["inputs"] if rows and each["name"] in used}
        outputs = dict(zip(STEPS["outputs"], session.run(None, inputs) if rows else ()))
        predicted = (answer(row, words, outputs) for row, words in enumerate(rows))
        for said, others in ((problem or next(predicted), others) for _, others, problem in chunk):
            kept = {f"input_{key}" if key in said else key: value for key, value in others.items()}
            print(json.dumps({**kept, **said}, ensure_ascii=False))
