"""Recurrent models: against torch's own layers step by step, and padding that nobody sees."""

import pytest
import torch
from test_models import integers, normal

from nnzoo_fast import models

LENGTHS = torch.tensor([6, 2, 4])


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("model", [models.SequenceClassifier, models.SequenceTagger])
def test_padding_changes_nothing(kind, model):
    torch.manual_seed(0)
    made, x = model(5, 7, 3, kind, 2, True).double().eval(), normal(3, 6, 5)
    whole = made(x, LENGTHS)
    changed = x.clone()
    changed[1, 2:] = 100
    torch.testing.assert_close(made(changed, LENGTHS), whole)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = made(x[row : row + 1, :length])[0]
        torch.testing.assert_close(whole[row] if whole.dim() == 2 else whole[row, :length], alone)
    assert not torch.allclose(made(changed), made(x))


def test_the_last_states_are_classified():
    torch.manual_seed(0)
    made, x = models.SequenceClassifier(5, 7, 3, "lstm", bidirectional=True).double(), normal(3, 6, 5)
    stock = torch.nn.LSTM(5, 7, batch_first=True, bidirectional=True).double()
    stock.load_state_dict(made.rnn.state_dict())
    output, (h, _) = stock(x)
    torch.testing.assert_close(h, torch.stack([output[:, -1, :7], output[:, 0, 7:]]))
    expected = torch.nn.functional.linear(torch.cat(list(h), -1), made.head.weight, made.head.bias)
    torch.testing.assert_close(made(x), expected)


def test_seq2seq_writes_what_teacher_forcing_predicts():
    torch.manual_seed(0)
    made, source = models.Seq2Seq(11, 13, 12, 2).double().eval(), integers(11, 3, 6)
    written = made.generate(source, 1, 5, LENGTHS)
    given = torch.cat([torch.ones(3, 1, dtype=torch.int64), written[:, :-1]], 1)
    assert torch.equal(made(source, given, LENGTHS).argmax(-1), written)
    changed = source.clone()
    changed[1, 2:] = (changed[1, 2:] + 1) % 11
    torch.testing.assert_close(made(changed, given, LENGTHS), made(source, given, LENGTHS))
    assert not torch.allclose(made(changed, given), made(source, given))
    assert made.generate(source, 1, 0).shape == (3, 0)


def test_seq2seq_looks_back_by_products():
    torch.manual_seed(0)
    made, source, target = models.Seq2Seq(11, 13, 12).double(), integers(11, 2, 6), integers(13, 2, 4)
    memory, state = made.encoder(made.source_embedding(source))
    output, _ = made.decoder(made.target_embedding(target), state)
    weights = torch.softmax(torch.einsum("nth,nsh->nts", output, memory), -1)
    seen = torch.einsum("nts,nsh->nth", weights, memory)
    expected = made.head(torch.tanh(made.combine(torch.cat([seen, output], -1))))
    torch.testing.assert_close(made(source, target), expected)


def test_a_forecast_feeds_on_itself():
    torch.manual_seed(0)
    made, images = models.ConvLSTMForecaster(2, 5).double(), normal(3, 4, 2, 6, 7)
    both = made(images, 2)
    torch.testing.assert_close(both[:, :1], made(images))
    torch.testing.assert_close(both[:, 1:], made(torch.cat([images, both[:, :1]], 1)))
    with pytest.raises(ValueError, match="count must be at least 1"):
        made(images, 0)


def test_unknown_kinds():
    with pytest.raises(ValueError, match="SequenceTagger: kind is 'tcn', expected rnn, gru, lstm"):
        models.SequenceTagger(3, 4, 5, "tcn")
