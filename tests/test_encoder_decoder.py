"""The Transformer: torch's own layers with the paper's parts around them, and a decoder that remembers."""

import copy
import math

import pytest
import torch
from test_generation import KERNELS
from test_models import deviations, integers, normal, results, rival

import nnzoo_fast
from nnzoo_fast import models
from nnzoo_fast.models.transformer import _Continued

SIZES = dict(d_model=24, nhead=3, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=40, dropout=0.0)
SOURCES, TARGETS = integers(11, 3, 7), integers(11, 3, 6)
SOURCE_MASK = torch.tensor([7 * [1], 4 * [1] + 3 * [0], 6 * [1] + [0]])
TARGET_MASK = torch.tensor([5 * [1] + [0], 6 * [1], 3 * [1] + 3 * [0]])


class Composed(torch.nn.Module):
    """torch.nn.Transformer between embeddings with places, written out, and a linear layer."""

    def __init__(self, sizes, norm_first, activation, learned, shared):
        super().__init__()
        size = sizes["d_model"]
        self.source_embedding = torch.nn.Embedding(11, size)
        self.target_embedding = self.source_embedding if shared else torch.nn.Embedding(11, size)
        if learned:
            self.source_positions, self.target_positions = torch.nn.Embedding(9, size), torch.nn.Embedding(9, size)
        self.core = torch.nn.Transformer(**sizes, norm_first=norm_first, activation=activation, batch_first=True)
        self.head = torch.nn.Linear(size, 11, bias=not shared)
        if shared:
            self.head.weight = self.source_embedding.weight

    def embedded(self, side, tokens):
        found = getattr(self, f"{side}_embedding")(tokens) * math.sqrt(self.core.d_model)
        if hasattr(self, f"{side}_positions"):
            return found + getattr(self, f"{side}_positions").weight[: tokens.shape[1]]
        size = self.core.d_model
        places = [
            [(math.cos if i % 2 else math.sin)(place / 10000 ** ((i - i % 2) / size)) for i in range(size)]
            for place in range(tokens.shape[1])
        ]
        return found + torch.tensor(places).to(found)

    def forward(self, source, target, source_mask=None, target_mask=None):
        hidden = None if source_mask is None else source_mask == 0
        causal = torch.ones(2 * target.shape[1:], dtype=torch.bool).triu(1)
        return self.head(
            self.core(
                self.embedded("source", source),
                self.embedded("target", target),
                tgt_mask=causal,
                src_key_padding_mask=hidden,
                memory_key_padding_mask=hidden,
                tgt_key_padding_mask=None if target_mask is None else target_mask == 0,
            )
        )


class Weighted(torch.nn.Module):
    """Of a model's results, those that aren't padding."""

    def __init__(self, model, masks):
        super().__init__()
        self.model, self.weights = model, TARGET_MASK[:, :, None] if masks else 1

    def forward(self, *inputs):
        return self.model(*inputs) * self.weights


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("masks", [(), (SOURCE_MASK, TARGET_MASK)], ids=["whole", "padded"])
@pytest.mark.parametrize(
    "options",
    [(False, "relu", False, True), (True, "gelu", True, False)],
    ids=["post-norm, sinusoids, shared", "pre-norm, learned, separate"],
)
def test_equals_a_composition_of_torch(options, masks):
    torch.manual_seed(0)
    theirs, (norm_first, activation, learned, shared) = Composed(SIZES, *options), options
    for parameter in theirs.parameters():
        parameter.detach().add_(0.02 * torch.randn_like(parameter))  # biases start as 0, norms as 1
    positions = "learned" if learned else "sinusoidal"
    ours = models.Transformer(
        11, **SIZES, norm_first=norm_first, activation=activation, positions=positions, max_length=9,
        share_embeddings=shared,
    )  # fmt: skip
    state = theirs.state_dict()
    assert {key: value.shape for key, value in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)

    def computed(model):
        model.train()  # without dropout: torch's fused kernels of eval mode have no gradients
        return results(Weighted(model, masks), (SOURCES, TARGETS, *masks))

    truth, stock = computed(copy.deepcopy(theirs).double()), computed(theirs)
    found = computed(ours)
    assert not deviations(found, stock, truth, torch.float32)
    assert deviations([1.01 * value for value in found], stock, truth, torch.float32)
    for value, expected in zip(computed(ours.double()), truth, strict=True):
        assert (value - expected).norm() <= 1e-6 * expected.norm() + 1e-12
    with torch.no_grad():
        evaluated = Weighted(ours.eval(), masks)(SOURCES, TARGETS, *masks)
        torch.testing.assert_close(evaluated, truth[0].detach(), rtol=1e-6, atol=1e-6)


def lively(**options):
    torch.manual_seed(0)
    model = models.Transformer(11, **SIZES, max_length=9, **options).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.detach().mul_(3)
    return model


@pytest.mark.parametrize("mask", [None, SOURCE_MASK], ids=["whole", "padded"])
@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
@torch.no_grad()
def test_a_cache_changes_nothing(norm_first, mask):
    model = lively(norm_first=norm_first)

    def in_steps(model):
        padding = model._padding("source", SOURCES, mask)
        memory = model.core.encoder(model._embed("source", SOURCES), src_key_padding_mask=padding, is_causal=False)
        visible = None if mask is None else mask.bool()[:, None, None, :]
        text = _Continued(model, memory, visible, 2)
        return torch.stack([text.advance(tokens) for tokens in TARGETS.split([3, 1, 1, 1], dim=1)], dim=1)

    with nnzoo_fast.backend("torch"):
        stock, truth = (m(SOURCES, TARGETS, mask)[:, 2:] for m in (rival(model), rival(model).double()))
    for backends in (dict(), KERNELS):
        with nnzoo_fast.backend(**backends):
            assert not deviations([in_steps(model)], [stock], [truth], torch.float32)
    model.source_embedding.weight.copy_(model.source_embedding.weight.roll(1, 0))
    assert deviations([in_steps(model)], [stock], [truth], torch.float32)


@torch.no_grad()
def test_writes_what_teacher_forcing_predicts():
    model = lively().double()
    read = []
    hook = model.core.encoder.register_forward_hook(lambda *_: read.append(1))
    written = model.generate(SOURCES, 1, 8, SOURCE_MASK)
    hook.remove()
    given = torch.cat([torch.ones(3, 1, dtype=torch.int64), written[:, :-1]], 1)
    assert torch.equal(model(SOURCES, given, SOURCE_MASK).argmax(-1), written) and read == [1]
    changed = torch.where(SOURCE_MASK == 1, SOURCES, (SOURCES + 1) % 11)
    assert torch.equal(model.generate(changed, 1, 8, SOURCE_MASK), written)
    assert not torch.equal(model.generate(changed, 1, 8), written)
    alone = model.generate(SOURCES[1:2, :4], 1, 8, num_beams=3, eos_token_id=4)
    among = model.generate(SOURCES, 1, 8, SOURCE_MASK, num_beams=3, eos_token_id=4)
    assert torch.equal(among[1:2, : alone.shape[1]], alone)


def test_it_does_not_look_ahead():
    model, changed = lively().double(), TARGETS.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 11
    before, after = model(SOURCES, TARGETS), model(SOURCES, changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


WRONG = {
    "vocabularies": (lambda: models.Transformer(11, 12), "share_embeddings needs one vocabulary, got 11 and 12"),
    "positions": (lambda: models.Transformer(11, positions="rotary"), "positions must be .* got 'rotary'"),
    "heads": (lambda: models.Transformer(11, d_model=24, nhead=5), "d_model 24 must be even and a multiple of nhead 5"),
    "long": (lambda: lively()(normal(1, 10).long(), TARGETS[:1]), "source is 10 long, max_length is 9"),
    "mask": (lambda: lively()(SOURCES, TARGETS, TARGET_MASK), r"source_mask has shape \[3, 6\], expected \[3, 7\]"),
    "many": (lambda: lively().generate(SOURCES, 1, 10), "max_new_tokens is 10, max_length 9"),
}


@pytest.mark.parametrize("wrong, message", WRONG.values(), ids=WRONG)
def test_mistakes_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_unknown_tokens_are_named():
    for source, start, name in ((SOURCES + 5, 1, "source"), (SOURCES, 11, "start")):
        with pytest.raises(IndexError, match=f"{name} holds token 1[0-9], the model knows 0 to 10"):
            lively().generate(source, start, 2)


def test_the_published_sizes():
    with torch.device("meta"):
        base, big = (models.create(name) for name in ("transformer", "transformer_big"))
    assert sum(p.numel() for p in base.parameters()) == 44_140_544 + 37000 * 512
    assert sum(p.numel() for p in big.parameters()) == 176_361_472 + 37000 * 1024
