"""Recurrent models: against torch's own layers step by step, and padding that nobody sees."""

import peers
import pytest
import torch
from test_models import deviations, integers, normal

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


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_a_language_model_goes_on_where_it_stopped(kind):
    torch.manual_seed(0)
    made, text = models.RecurrentLanguageModel(11, 5, 7, 2, kind=kind).double().eval(), integers(11, 3, 9)
    whole, last = made(text)
    state, parts = None, []
    for part in text.split([4, 1, 4], dim=1):
        logits, state = made(part, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(state, last)
    assert not torch.allclose(made(text[:, 4:])[0], whole[:, 4:]), "the state matters"
    found = made.generate(text, 6, num_beams=11)
    scores = {width: score(made, made.generate(text, 6, num_beams=width), 9) for width in (1, 11)}
    assert found.shape == (3, 15) and (scores[11] >= scores[1] - 1e-12).all()


def score(model, text, start):
    steps = model(text[:, :-1])[0].log_softmax(-1).gather(-1, text[:, 1:, None])
    return steps[:, start - 1 :, 0].sum(1)


def step(kind, x, h, w_x, w_h, b_x, b_h):
    """One step of torch's formulas: rnn and gru."""
    if kind == "rnn":
        return torch.tanh(x @ w_x.T + b_x + h @ w_h.T + b_h)
    (xr, xz, xn), (hr, hz, hn) = (x @ w_x.T + b_x).chunk(3, -1), (h @ w_h.T + b_h).chunk(3, -1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + r * hn) + z * h


def textbook_gru(x, h, w_x, w_h, b_x, b_h):
    """As `step`, but the reset gate acts on the state, before the product (Cho et al., 2014)."""
    (xr, xz, xn), (hr, hz, _) = (x @ w_x.T + b_x).chunk(3, -1), (h @ w_h.T + b_h).chunk(3, -1)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    return (1 - z) * torch.tanh(xn + (r * h) @ w_h.chunk(3)[2].T + b_h.chunk(3)[2]) + z * h


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_which_formulas_are_meant(kind):
    torch.manual_seed(0)
    layer, x = models.SequenceTagger(5, 7, 3, kind).double().rnn, normal(2, 4, 5)
    weights = [parameter.detach().clone() for parameter in layer.parameters()]

    def run(step):
        h, found = torch.zeros(2, 7, dtype=torch.float64), []
        for now in x.unbind(1):
            h = step(now, h, *weights)
            found.append(h)
        return torch.stack(found, 1)

    output = layer(x)[0]
    torch.testing.assert_close(run(lambda *args: step(kind, *args)), output)
    b_x, b_h = weights[2:]
    weights[2:] = [b_x + b_h, torch.zeros_like(b_h)]
    one_bias = run(lambda *args: step(kind, *args))
    if kind == "rnn":
        torch.testing.assert_close(one_bias, output)
    else:
        assert not torch.allclose(one_bias, output), "the new state's hidden bias stands behind the reset gate"
        weights[2:] = [b_x, b_h]
        assert not torch.allclose(run(textbook_gru), output)


def test_an_lstm_has_no_peepholes():
    torch.manual_seed(0)
    made, x = models.SequenceTagger(5, 7, 3, "lstm").double().rnn, normal(1, 1, 5)
    state = normal(1, 1, 7), normal(1, 1, 7, seed=2)
    w_x, w_h, b_x, b_h = made.parameters()
    i, f, g, o = (x[0] @ w_x.T + b_x + state[0][0] @ w_h.T + b_h).chunk(4, -1)
    c = f.sigmoid() * state[1][0] + i.sigmoid() * g.tanh()
    torch.testing.assert_close(made(x, state)[0][0], o.sigmoid() * c.tanh())


def test_every_kind_is_in_the_registry():
    names = set(models.available())
    for kind in ("rnn", "gru", "lstm", "bilstm"):
        assert {f"{kind}_classifier", f"{kind}_tagger"} <= names
        with torch.device("meta"):
            tagger = models.create(f"{kind}_tagger", num_classes=3, vocabulary=20)
        assert tagger.rnn.bidirectional == (kind == "bilstm") and tagger.head.out_features == 3
    assert {"rnn_language_model", "gru_language_model", "lstm_language_model", "seq2seq", "conv_lstm"} <= names
    with torch.device("meta"):
        medium = models.create("lstm_language_model")
    assert sum(p.numel() for p in medium.parameters()) == 19_780_400


class OfKeras(torch.nn.Module):
    """`ConvLSTMForecaster` made of Keras's layers, whose kernels are [*kernel_size, in, out], gates i, f, c, o."""

    def __init__(self, keras, forecaster, dtype):
        super().__init__()
        options = {"padding": "same", "data_format": "channels_first", "return_sequences": True, "dtype": dtype}
        lstm, head = forecaster.lstm, forecaster.head
        self.layers = [
            keras.layers.ConvLSTM2D(lstm.hidden_channels, lstm.kernel_size, **options) for _ in range(lstm.num_layers)
        ]
        self.head = keras.layers.Conv2D(head.out_channels, 1, data_format="channels_first", dtype=dtype)
        channels = lstm.in_channels
        for number, layer in enumerate(self.layers):
            layer.build((None, None, channels, 6, 7))
            kernels = [getattr(lstm, f"weight_{side}_l{number}").permute(2, 3, 1, 0) for side in ("ih", "hh")]
            self.assign(layer, *kernels, getattr(lstm, f"bias_l{number}"))
            channels = lstm.hidden_channels
        self.head.build((None, channels, 6, 7))
        self.assign(self.head, head.weight.permute(2, 3, 1, 0), head.bias)

    def assign(self, layer, *weights):
        layer.set_weights([weight.detach().double().numpy() for weight in weights])

    def forward(self, images):
        for layer in self.layers:
            images = layer(images)
        return self.head(images[:, -1])[:, None]

    def gradients(self, images, cotangent):
        values = [weight.value for layer in (*self.layers, self.head) for weight in layer.weights]
        output = self(images)
        input, *found = torch.autograd.grad(output, [images, *values], cotangent)
        return [output, input, *(g.permute(3, 2, 0, 1) if g.dim() == 4 else g for g in found)]


def test_conv_lstm_is_that_of_keras():
    keras = peers.keras()
    torch.manual_seed(0)
    made = models.ConvLSTMForecaster(2, 5)
    images, cotangent = normal(3, 4, 2, 6, 7).requires_grad_(), normal(3, 1, 2, 6, 7, seed=2)
    single = images.detach().float().requires_grad_()
    truth = OfKeras(keras, made, "float64").gradients(images, cotangent)
    stock = OfKeras(keras, made, "float32").gradients(single, cotangent.float())
    weights = dict(made.named_parameters())
    layers = [weights[f"lstm.{name}_l{number}"] for number in (0, 1) for name in ("weight_ih", "weight_hh", "bias")]
    wanted = [single, *layers, made.head.weight, made.head.bias]
    output = made(single)
    found = [output, *torch.autograd.grad(output, wanted, cotangent.float())]
    assert [value.shape for value in found] == [value.shape for value in truth]
    assert not deviations(found, stock, truth, torch.float32)
    assert deviations([1.01 * value for value in found], stock, truth, torch.float32)


def test_unknown_kinds():
    with pytest.raises(ValueError, match="SequenceTagger: kind is 'tcn', expected rnn, gru, lstm"):
        models.SequenceTagger(3, 4, 5, "tcn")
