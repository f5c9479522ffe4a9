"""No vector sees what it predicts, and masks are what BERT's are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl import Batch, Builder
from mtl_text.featurizers import WordFeat
from mtl_text.text import BOS_ID, EOS_ID, MASK_ID, SPECIAL_TOKENS
from pytext_plugins_lm.objectives import Masked, Tokens

WORDS = "text.word_feat.ids"
SPECIAL = WordFeat.special_tokens.fget(None)  # type: ignore[attr-defined]

LINES = ("the old dog sees a young cat", "a tree", "", "the house likes the old old house a lot")
LEAK_FREE = [("next-word", {"bidirectional": False}), ("next-word", {}), ("both-directions", {})]


def shared_model(kit: Any, objective: str, lstm: dict[str, Any], *, training: bool) -> tuple[Any, Batch]:
    """A language model whose LSTM a document classifier has built, and a batch."""
    encoder = kit.component("representation", "BiLSTM", lstm_dim=5, shared_module_key="LSTM", **lstm)
    document = kit.component(
        "representation", "BiLSTMDocAttention", lstm=encoder, pooling=kit.component("pooling", "MaxPool")
    )
    builder = Builder()
    classifier = builder(document, input_dim=6)
    task = kit.task(kit.config(representation=encoder, objective=objective))
    model = kit.build(task, builder)
    assert model.representation is classifier.lstm
    return model.train(training), kit.batch(task, *LINES)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("objective", "lstm"), LEAK_FREE)
def test_s2_a_changed_token_changes_no_prediction_that_must_not_see_it(
    kit: Any, objective: str, lstm: dict[str, Any], training: bool
) -> None:
    model, batch = shared_model(kit, objective, lstm, training=training)
    before = kit.read_scores(model, batch)
    for row, length in enumerate(batch.lengths[WORDS].tolist()):
        for place in range(length):
            old = int(batch[WORDS][row, place])
            other = next(word for word in (6, 7) if word != old)
            after = kit.read_scores(model, kit.change(batch, row, place, other))
            for name, reading in before.items():
                vectors = reading.places - place if name == "forward" else place - reading.places
                blind = (reading.rows != row) | (vectors < 0)
                same = (after[name].scores == reading.scores).all(-1)
                assert same[blind].all(), (name, row, place)
                if not training:
                    assert not same[~blind].any(), (name, row, place)


@pytest.mark.parametrize(("objective", "lstm"), LEAK_FREE)
def test_s2_padding_changes_nothing(kit: Any, objective: str, lstm: dict[str, Any]) -> None:
    model, batch = shared_model(kit, objective, lstm, training=False)
    before = kit.read_scores(model, batch)
    changed = batch
    for row, length in enumerate(batch.lengths[WORDS].tolist()):
        for place in range(length, batch[WORDS].shape[1]):
            changed = kit.change(changed, row, place, len(SPECIAL_TOKENS) + 2)
    assert not torch.equal(changed[WORDS], batch[WORDS])
    after = kit.read_scores(model, changed)
    assert all(torch.equal(after[name].scores, before[name].scores) for name in before)
    assert torch.equal(model(changed).loss.total, model(batch).loss.total)


def test_s2_the_control_unmasked_sees_the_word_that_it_predicts(kit: Any) -> None:
    model, batch = shared_model(kit, "unmasked", {}, training=False)
    before = kit.read_scores(model, batch)["leaking"]
    place = 3
    after = kit.read_scores(model, kit.change(batch, 0, place, len(SPECIAL_TOKENS) + 1))["leaking"]
    predicts_it = (before.rows == 0) & (before.places == place - 1)
    assert predicts_it.sum() == 1
    assert not torch.equal(after.scores[predicts_it], before.scores[predicts_it])


@pytest.mark.parametrize("lstm", [{}, {"num_layers": 2}])
def test_s2_masked_predictions_do_not_see_a_hidden_word(kit: Any, lstm: dict[str, Any]) -> None:
    model, batch = shared_model(kit, "masked", lstm, training=False)
    shown = model.objective.show(batch, training=False)
    hidden = (shown[WORDS] == MASK_ID).nonzero().tolist()
    assert hidden
    before = kit.read_scores(model, batch)["masked"]
    for row, place in hidden:
        after = kit.read_scores(model, kit.change(batch, row, place, len(SPECIAL_TOKENS) + 1))["masked"]
        assert torch.equal(after.scores, before.scores)


@pytest.mark.parametrize("pooling", ["SelfAttention", "MaxPool", "MeanPool", "LastStep"])
@pytest.mark.parametrize("objective", ["next-word", "both-directions", "masked", "unmasked"])
def test_s4_gradients_are_finite_for_every_pooling_that_shares_the_lstm(
    kit: Any, pooling: str, objective: str
) -> None:
    encoder = kit.component("representation", "BiLSTM", lstm_dim=5, shared_module_key="LSTM")
    document = kit.component(
        "representation", "BiLSTMDocAttention", lstm=encoder, pooling=kit.component("pooling", pooling)
    )
    builder = Builder()
    classifier = builder(document, input_dim=6)
    task = kit.task(kit.config(representation=encoder, objective=objective))
    model = kit.build(task, builder)
    batch = kit.batch(task, *LINES)
    embedded, lengths = model.embedding(batch)
    (classifier(embedded, lengths).sum() + model(batch).loss.total).backward()
    parameters = [*classifier.parameters(), *model.parameters()]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)


# --- masks ---------------------------------------------------------------------------------------


def masking(probability: float, size: int) -> Masked:
    return Masked(Tokens(WORDS, size, SPECIAL), probability)


def mask_batch(lengths: list[int], *, words: int = 50, rows: list[int] | None = None) -> Batch:
    ids = torch.zeros(len(lengths), max(lengths) + 2, dtype=torch.int32)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(rows[row] if rows else row)
        inner = torch.randint(len(SPECIAL_TOKENS), words, (length,), generator=generator)
        ids[row, : length + 2] = torch.cat([torch.tensor([BOS_ID]), inner, torch.tensor([EOS_ID])])
    counts = torch.tensor(lengths) + 2
    numbers = torch.tensor(rows if rows else range(len(lengths)))
    return Batch({WORDS: ids}, {WORDS: counts}, numbers, int(counts.sum()))


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    probability=st.floats(0.01, 1),
    training=st.booleans(),
)
def test_a_share_of_each_rows_words_is_predicted_at_least_one(
    lengths: list[int], probability: float, training: bool
) -> None:
    batch = mask_batch(lengths)
    objective = masking(probability, 50)
    shown = objective.show(batch, training=training)
    states = torch.zeros(*batch[WORDS].shape, 1)
    reading = objective.read(states, batch, shown)["masked"]
    counts = reading.rows.bincount(minlength=len(lengths)).tolist()
    expected = [max(1, round(float(torch.tensor(n) * probability))) for n in lengths]
    assert counts == expected
    has_words = batch.lengths[WORDS][reading.rows] > 2
    assert torch.equal(reading.targets >= len(SPECIAL_TOKENS), has_words)
    assert torch.equal(reading.targets[~has_words], torch.full_like(reading.targets[~has_words], EOS_ID))
    assert torch.equal(reading.targets, batch[WORDS].flatten()[reading.index])
    untouched = torch.ones_like(batch[WORDS], dtype=torch.bool).flatten()
    untouched[reading.index] = False
    assert torch.equal(shown[WORDS].flatten()[untouched], batch[WORDS].flatten()[untouched])


@pytest.mark.parametrize("training", [False, True])
def test_of_the_predicted_words_80_percent_are_masked_and_10_replaced(training: bool) -> None:
    torch.manual_seed(0)
    batch = mask_batch([60] * 400, words=1000)
    shown = masking(0.15, 1000).show(batch, training=training)
    hidden = shown["hidden"]
    before, after = batch[WORDS][hidden], shown[WORDS][hidden]
    assert hidden.sum() == 400 * 9
    masked = (after == MASK_ID).double().mean()
    kept = (after == before).double().mean()
    assert abs(masked - 0.8) < 0.03
    assert abs(kept - 0.1) < 0.03
    others = after[(after != MASK_ID) & (after != before)]
    assert others.min() >= len(SPECIAL_TOKENS)
    assert others.max() < 1000
    assert len(others.unique()) > 150
    places = hidden.double().mean(0)[1:61]
    assert places.max() < 0.25
    assert places.min() > 0.05


def test_evaluation_masks_a_row_alike_in_every_batch() -> None:
    objective = masking(0.3, 50)
    together = objective.show(mask_batch([12, 7, 20]), training=False)
    alone = objective.show(mask_batch([7], rows=[1]), training=False)
    assert torch.equal(alone["hidden"][0], together["hidden"][1, :9])
    assert torch.equal(alone[WORDS][0], together[WORDS][1, :9])


def test_training_masks_follow_from_the_seed_alone() -> None:
    objective, batch = masking(0.3, 50), mask_batch([12, 7, 20])

    def shown(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return objective.show(batch, training=True)[WORDS]

    assert torch.equal(shown(1), shown(1))
    assert not torch.equal(shown(1), shown(2))


def test_masks_leave_the_batch_as_it_is() -> None:
    batch = mask_batch([12, 7])
    before = evolve(batch, tensors={WORDS: batch[WORDS].clone()})
    masking(1.0, 50).show(batch, training=True)
    assert torch.equal(batch[WORDS], before[WORDS])
    assert set(batch.tensors) == {WORDS}


# --- whole words ---------------------------------------------------------------------------------

STARTS = "text.word_feat.starts"


@settings(deadline=None)
@given(
    words=st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=5),
    probability=st.floats(0.01, 1),
    training=st.booleans(),
)
def test_the_pieces_of_a_word_are_hidden_together(
    words: list[list[int]], probability: float, training: bool
) -> None:
    batch = mask_batch([sum(counts) for counts in words])
    starts = torch.ones_like(batch[WORDS])
    for row, counts in enumerate(words):
        inner = [start for count in counts for start in (1, *(0,) * (count - 1))]
        starts[row, 1 : len(inner) + 1] = torch.tensor(inner, dtype=torch.int32)
    batch = evolve(batch, tensors={**batch.tensors, STARTS: starts})
    objective = Masked(Tokens(WORDS, 50, SPECIAL, word_starts=STARTS), probability, whole_words=True)
    hidden = objective.show(batch, training=training)["hidden"]
    for row, counts in enumerate(words):
        inner = hidden[row, 1 : sum(counts) + 1].split(counts)
        assert all(word.all() or not word.any() for word in inner)
        wanted = max(1, round(float(torch.tensor(sum(counts)) * probability)))
        largest = max(counts, default=1)
        assert wanted <= hidden[row].sum() < wanted + largest
