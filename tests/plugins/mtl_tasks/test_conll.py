"""CoNLL: sentences of words with columns, CoNLL-U among them, and the published files whole."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import ColumnSpec, ColumnType, DataError, InputPaths
from mtl_tasks.conll import CoNLL
from mtl_tasks.data_config import CoNLLConfig
from mtl_text import lines

HERE = InputPaths(Path("train"))
WORDS = ColumnSpec("words", ColumnType.TEXTS)
BOTH = (WORDS, ColumnSpec("tags", ColumnType.TEXTS, input=False))
SKIP: dict[str, Any] = {"on_bad_row": "skip", "max_skipped_share": 1.0}
DATA = Path(os.environ.get("MTL_DATA_DIR", Path(__file__).parents[4] / "shared/data"))

CONLLU = """# newdoc id = 1
# text = Don't go far.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\t_\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\t_\t_\t3\tadvmod\t_\t_
3\tgo\tgo\tVERB\t_\t_\t0\troot\t_\t_
3.1\tvery\t_\tADV\t_\t_\t_\t_\t_\t_
4\tfar\tfar\tADV\t_\t_\t3\tadvmod\t_\tSpaceAfter=No

# text = # 1
1\t#\t#\tSYM\t_\t_\t2\tdep\t_\t_
2\t1\t1\tNUM\t_\t_\t0\troot\t_\t_
"""
CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
. . O O

Peter NNP B-NP B-PER
"""
WNUT = "@paul\tO\n#Yes\tO\n\t\nEmpire\tB-location\nState\tI-location\n\n\n"


def source(**options: Any) -> CoNLL:
    return CoNLL(CoNLLConfig(train_path=HERE, **options))


def read(data: str, asked: Any = BOTH, **options: Any) -> list[tuple[Any, ...]]:
    return source(**options).parse(data.encode(), "rows", asked).frame.rows()


def refusal(data: str, asked: Any = BOTH, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(data, asked, **options)
    return str(caught.value)


def test_conllu_leaves_out_multi_word_tokens_empty_nodes_and_comments() -> None:
    expected = [
        (4, ["Do", "n't", "go", "far"], ["AUX", "PART", "VERB", "ADV"]),
        (11, ["#", "1"], ["SYM", "NUM"]),
    ]
    assert read(CONLLU) == expected
    assert read(CONLLU, columns={"words": "FORM", "tags": "UPOS"}) == expected
    assert read(CONLLU, columns={"words": 1, "tags": 3}) == expected
    notices = source().parse(CONLLU.encode(), "rows", BOTH).notices
    unread = "`LEMMA`, `XPOS`, `FEATS`, `HEAD`, `DEPREL`, `DEPS`, `MISC`"
    assert notices == [f"rows: reads `FORM` as `words`, `UPOS` as `tags`; does not read {unread}"]


def test_conllu_gives_numbers_and_text_too() -> None:
    heads = (ColumnSpec("text"), ColumnSpec("heads", ColumnType.INTEGERS, input=False))
    found = read(CONLLU, heads, columns={"heads": "HEAD"})
    assert found == [(4, "Do n't go far", [3, 3, 0, 3]), (11, "# 1", [2, 0])]
    said = refusal(CONLLU.replace("\t0\troot", "\t_\troot", 1), heads, columns={"heads": "HEAD"})
    assert "rows:6: `heads` must be an integer, but is '_'" in said


def test_global_columns_name_the_columns() -> None:
    data = "# global.columns = ID FORM NER\n1\tEU\tB-ORG\n2\tis\tO\n"
    assert read(data, columns={"tags": "NER"}) == [(2, ["EU", "is"], ["B-ORG", "O"])]


def test_conll_2003_and_wnut() -> None:
    assert read(CONLL2003) == [
        (3, ["EU", "rejects", "."], ["B-ORG", "O", "O"]),
        (7, ["Peter"], ["B-PER"]),
    ]
    assert read(CONLL2003, columns={"tags": 1})[1] == (7, ["Peter"], ["NNP"])
    assert read(WNUT) == [
        (1, ["@paul", "#Yes"], ["O", "O"]),
        (4, ["Empire", "State"], ["B-location", "I-location"]),
    ]


def test_comments_and_words_with_a_hash_are_distinguished() -> None:
    data = "# id 7\n# O\n#tag O\n\n# id 8\na O\n"
    assert read(data) == [(2, ["#", "#tag"], ["O", "O"]), (6, ["a"], ["O"])]
    data = "# id 7 x=y\na _ _ O\n"
    assert read(data, comment="# id") == [(2, ["a"], ["O"])]


def test_what_is_wrong_has_its_line() -> None:
    data = CONLL2003.replace(". . O O", ". . O")
    assert "rows:5: a word must have 4 columns, but has 3 columns" in refusal(data)
    assert read(data, **SKIP) == [(7, ["Peter"], ["B-PER"])]
    assert "rows:2: `tags` must not be empty" in refusal("a\tO\nb\t\n")
    assert "rows: `columns` must say where `text2` is" in refusal(WNUT, (*BOTH, ColumnSpec("text2")))
    said = refusal(WNUT, columns={"tags": "UPOS"})
    assert "`tags` must be there, as `UPOS`, but the file has no names" in said
    assert "the first word has 2 columns" in refusal(WNUT, columns={"tags": 5})


def test_sentences_to_predict_need_words_only() -> None:
    table = source().parse_inputs(b"EU\nrejects\n\nPeter\n", "rows", BOTH)
    assert table.frame.rows() == [(1, ["EU", "rejects"]), (4, ["Peter"])]
    table = source().parse_inputs(WNUT.encode(), "rows", BOTH)
    assert table.others is not None
    assert table.others.to_dict(as_series=False) == {"1": ["O O", "B-location I-location"]}


TOKEN = st.text(st.sampled_from("ab#é-1."), min_size=1, max_size=4).filter(lambda word: word != "-DOCSTART-")
SENTENCES = st.lists(
    st.lists(st.tuples(TOKEN, st.sampled_from(["O", "B-X"])), min_size=1, max_size=4), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=100)
@given(SENTENCES, st.sampled_from(["\t", " "]), st.integers(1, 3), st.integers(1, 9))
def test_what_is_written_is_read_whole_and_in_pieces(
    sentences: list[list[tuple[str, str]]],
    delimiter: str,
    blank: int,
    size: int,
) -> None:
    text = ("\n" * (blank + 1)).join("\n".join(delimiter.join(word) for word in each) for each in sentences)
    expected = []
    line = 1
    for each in sentences:
        expected.append((line, [word for word, _ in each], [tag for _, tag in each]))
        line += len(each) + blank
    assert read(text + "\n") == expected
    longest = max(sum(len(word.encode()) + len(tag) + 2 for word, tag in each) for each in sentences)
    with mock.patch.object(lines, "BLOCK_BYTES", longest + blank + size), TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.write_text(text + "\n")
        tables = list(source().pieces(path, BOTH))
    assert pl.concat([table.frame for table in tables]).rows() == expected


def test_a_sentence_ends_within_a_block(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text(50 * "a\tO\n")
    with mock.patch.object(lines, "BLOCK_BYTES", 40), pytest.raises(DataError, match="a blank line must end"):
        list(source().pieces(path, BOTH))


# --- the published files ------------------------------------------------------------------------------------


def published(pattern: str) -> list[Path]:
    found = sorted(DATA.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in {DATA}")
    return found


def test_ud_english_lines_is_read_whole() -> None:
    for path in published("UD-LinES/*.conllu"):
        raw = path.read_text(encoding="utf-8").splitlines()
        words = [line.split("\t") for line in raw if re.match(r"\d+\t", line)]
        frame = source().read(path, BOTH).frame
        assert len(frame) == sum(line.startswith("# sent_id") for line in raw)
        assert frame["words"].explode().to_list() == [word[1] for word in words]
        assert frame["tags"].explode().to_list() == [word[3] for word in words]


def test_wnut_17_is_read_whole() -> None:
    for path in [*published("WNUT17/*.conll"), *published("WNUT17/*.annotated")]:
        raw = path.read_text(encoding="utf-8").split("\n")
        words = [line.split("\t") for line in raw if line.strip()]
        frame = source().read(path, BOTH).frame
        assert frame["words"].explode().to_list() == [word[0] for word in words]
        assert frame["tags"].explode().to_list() == [word[1] for word in words]
        assert all(raw[line - 2].strip() == "" for line in frame["line"] if line > 1)
