"""Writing with a model: cached equals uncached; what is written equals transformers' and, by brute force, the best."""

import itertools
import math
import re
from pathlib import Path

import peers
import pytest
import torch
from test_models import deviations, integers, normal, rival

import nnzoo_fast
from nnzoo_fast import _extension, models
from nnzoo_fast.models import sampling
from nnzoo_fast.models.beams import Beams
from nnzoo_fast.models.cache import KeyValueCache, LayerCache
from nnzoo_fast.models.generation import write

# Tokens so few that stock torch would take them.
KERNELS = dict.fromkeys(("attention", "linear", "layer_norm"), "cpu" if _extension._C else "torch")
MASK = torch.ones(3, 9, dtype=torch.int64)
MASK[1, :4] = 0
MASK[2, :1] = 0


def gpt(**sizes):
    torch.manual_seed(0)
    model = models.GPT(**{**dict(vocab_size=23, n_positions=24, n_embd=24, n_layer=2, n_head=3), **sizes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # otherwise the likeliest token is the last one again
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def in_steps(model, tokens, mask, sizes):
    """Logits of `tokens` [N, T] read by a cache in steps of `sizes` tokens."""
    cache, found = KeyValueCache(2, capacity=1), []
    for size in sizes:
        before, after = cache.length, cache.length + size
        seen = None if mask is None else mask[:, :after]
        found.append(model(tokens[:, before:after], seen, cache))
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
@pytest.mark.parametrize("sizes", [9 * (1,), (4, 1, 3, 1), (9,)], ids=["tokens", "mixed", "once"])
@torch.no_grad()
def test_a_cache_changes_nothing(sizes, mask):
    model, tokens = gpt(), integers(23, 3, 9)
    shown = slice(None) if mask is None else mask.bool()
    found = in_steps(model, tokens, mask, sizes)[shown]
    with nnzoo_fast.backend("torch"):
        stock, truth = rival(model)(tokens, mask)[shown], rival(model).double()(tokens, mask)[shown]
    assert not deviations([found], [stock], [truth], torch.float32)
    with nnzoo_fast.backend(**KERNELS):
        assert not deviations([in_steps(model, tokens, mask, sizes)[shown]], [stock], [truth], torch.float32)
    exact = in_steps(model.double(), tokens, mask, sizes)[shown]
    torch.testing.assert_close(exact, truth, rtol=1e-12, atol=1e-12)
    places = model.transformer["wpe"].weight
    places.copy_(places.roll(1, 0))
    assert deviations([in_steps(model, tokens, mask, sizes)[shown].float()], [stock], [truth], torch.float32)


@torch.no_grad()
def test_padding_shifts_a_text_and_changes_nothing():
    model, tokens = gpt().double(), integers(23, 3, 9)
    padded = model(tokens, MASK)
    torch.testing.assert_close(padded[1, 4:], model(tokens[1:2, 4:])[0])
    written = model.generate(tokens, 6, MASK)
    assert torch.equal(written[1, 4:], model.generate(tokens[1:2, 4:], 6)[0])
    assert not torch.equal(written, model.generate(tokens, 6))


@pytest.mark.parametrize("make", [gpt, lambda: models.CharLSTM(23, num_layers=2).eval()], ids=["GPT", "CharLSTM"])
@torch.no_grad()
def test_greedy_takes_the_likeliest_and_reads_each_token_once(make):
    model, prompt = make().double(), integers(23, 3, 5)
    embedding = model.transformer["wte"] if isinstance(model, models.GPT) else model.embedding
    read = []
    hook = embedding.register_forward_hook(lambda module, inputs, output: read.append(tuple(inputs[0].shape)))
    written = model.generate(prompt, 7)
    hook.remove()
    assert read == [(3, 5), *6 * [(3, 1)]]
    for length in range(5, 12):
        logits = model(written[:, :length])
        logits = logits[0] if isinstance(logits, tuple) else logits
        assert torch.equal(logits[:, -1].argmax(-1), written[:, length])


BEAMS = [
    dict(),
    dict(eos_token_id=[7, 3]),
    dict(num_beams=3),
    dict(num_beams=2, eos_token_id=7, length_penalty=0.0, early_stopping="never"),
    dict(num_beams=5, eos_token_id=7, length_penalty=2.0),
    dict(num_beams=5, eos_token_id=7, length_penalty=0.2, early_stopping="never"),
    dict(num_beams=3, eos_token_id=[7, 3, 11], length_penalty=-0.5, early_stopping=True),
]


@pytest.mark.parametrize("options", BEAMS, ids=lambda options: ", ".join(f"{k} {v}" for k, v in options.items()))
def test_writes_what_transformers_writes(options):
    transformers = peers.transformers()
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=31, n_positions=40, n_embd=24, n_layer=2, n_head=3, initializer_range=0.4,
        bos_token_id=0, eos_token_id=None,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    ours = models.from_huggingface(theirs).double().eval()
    prompt, mask = integers(31, 3, 9), MASK
    options = {"max_new_tokens": 11, "attention_mask": mask, "pad_token_id": 5, **options}
    expected = theirs.generate(prompt, do_sample=False, **options)
    assert torch.equal(ours.generate(prompt, **options), expected)
    assert "eos_token_id" not in options or (expected[:, 9:] == 5).any() or expected.shape[1] < 20


DRAWN_BEAMS = [
    dict(num_beams=3),
    dict(num_beams=4, top_k=2, eos_token_id=[7, 3], early_stopping=True),
    dict(num_beams=2, temperature=0.7, top_p=0.8, eos_token_id=7, length_penalty=0.4),
]


@pytest.mark.parametrize("options", DRAWN_BEAMS, ids=lambda options: ", ".join(f"{k} {v}" for k, v in options.items()))
def test_a_seed_draws_the_beams_of_transformers(options):
    transformers = peers.transformers()
    torch.manual_seed(0)
    sizes = dict(vocab_size=31, n_positions=40, n_embd=24, n_layer=2, n_head=3, initializer_range=0.2)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=None)).eval()
    ours = models.from_huggingface(theirs).eval()
    options = dict(top_k=31) | options | dict(do_sample=True, max_new_tokens=11, attention_mask=MASK, pad_token_id=5)
    prompt, written = integers(31, 3, 9), []
    for seed in range(4):
        for model in (theirs, ours):
            torch.manual_seed(seed)
            written.append(model.generate(prompt, **options))
        assert torch.equal(written[-1], written[-2])
    assert len({tuple(text.flatten().tolist()) for text in written}) > 1, "nothing was drawn"


def test_a_sequence_of_which_no_text_goes_on_leaves_the_others_alone():
    """Drawn beams: the first sequence can do nothing but end, the second can't."""
    beams = Beams(2, 1.0, False, [0], pad=0, longest=3, filtered=sampling.filtered)
    logits = torch.tensor([[0.0, -math.inf, -math.inf], [-math.inf, 0.0, 0.0]])
    rows = beams.start(logits)
    while rows is not None:
        rows = beams.step(logits.repeat_interleave(2, 0))
    ended, written = beams.best()
    assert ended.tolist() == [0, 0, 0] and set(written.tolist()) <= {1, 2}


def score_of_all(model, start, length, end):
    """Every text of at most `length` tokens that ends in `end` or is as long as that, with its log-probability."""
    for size in range(1, length + 1):
        for text in itertools.product(range(4), repeat=size):
            if end in text[:-1] or (size < length and text[-1] != end):
                continue
            logits = model(torch.tensor([[start, *text[:-1]]]))[0].log_softmax(-1)
            yield text, sum(logits[place, token].item() for place, token in enumerate(text))


SOURCE = torch.tensor([[3, 1, 0, 2]])


def writers():
    torch.manual_seed(0)
    lively = dict(d_model=8, nhead=2, num_encoder_layers=1, num_decoder_layers=2, dim_feedforward=12)
    translator = models.Transformer(4, **lively).double().eval()
    seq2seq = models.Seq2Seq(4, 4, 6, 2).double().eval()
    for module in (translator, seq2seq):
        for parameter in module.parameters():
            parameter.detach().mul_(2)
    for model in (translator, seq2seq):
        yield (
            lambda target, model=model: model(SOURCE, target),
            lambda *args, model=model, **options: model.generate(SOURCE, *args, **options),
        )


@pytest.mark.parametrize("number", [0, 1], ids=["Transformer", "Seq2Seq"])
@pytest.mark.parametrize("penalty", [0.0, 1.5])
@torch.no_grad()
def test_wide_beams_find_the_best_of_all_texts(number, penalty):
    forward, generate = list(writers())[number]
    scores = {text: score / len(text) ** penalty for text, score in score_of_all(forward, 1, 4, 2)}
    best = max(scores, key=scores.get)
    found = generate(1, 4, num_beams=64, length_penalty=penalty, eos_token_id=2, early_stopping="never")
    assert tuple(found[0].tolist()) == best
    assert math.isclose(scores[best], max(scores.values())) and min(scores.values()) < scores[best]


@pytest.mark.parametrize("k, p", [(1, 1.0), (5, 0.1), (17, 0.7), (40, 0.95)])
def test_filters_are_those_of_transformers(k, p):
    peers.transformers()
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = 3 * normal(50, 23)
    logits[:, 5] = logits[:, 7]  # ties
    assert torch.equal(sampling.keep_top_k(logits, k), TopKLogitsWarper(k)(None, logits))
    assert torch.equal(sampling.keep_top_p(logits, p), TopPLogitsWarper(p)(None, logits))


def excess(drawn, probabilities):
    """By how many deviations chi-squared exceeds what draws of these probabilities give."""
    possible = probabilities > 0
    counts = torch.bincount(drawn, minlength=len(probabilities))
    if counts[~possible].any():
        return math.inf
    expected = probabilities[possible] * len(drawn)
    freedom = int(possible.sum()) - 1
    return (((counts[possible] - expected) ** 2 / expected).sum().item() - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize(
    "options",
    [dict(), dict(temperature=0.6), dict(top_k=6), dict(top_p=0.8), dict(temperature=1.5, top_k=9, top_p=0.9)],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_should(options):
    logits = normal(1, 12)
    drawn = sampling.draw(logits.expand(40000, -1), **options, generator=torch.Generator().manual_seed(0))
    expected = logits / options.get("temperature", 1)
    expected = sampling.keep_top_k(expected, options.get("top_k", 12))
    expected = sampling.keep_top_p(expected, options.get("top_p", 1)).softmax(-1)[0]
    assert excess(drawn, expected) < 5
    assert excess(drawn, (expected**1.1) / (expected**1.1).sum()) > 5, "a temperature 10 % off"


def test_a_seed_repeats_a_text():
    model, prompt = gpt(), integers(23, 2, 3)
    options = dict(do_sample=True, temperature=1.3, top_k=9, top_p=0.9)
    drawn = [model.generate(prompt, 9, **options, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.manual_seed(3)
    first = model.generate(prompt, 9, **options)
    torch.manual_seed(3)
    assert torch.equal(model.generate(prompt, 9, **options), first)
    assert torch.equal(model.generate(prompt, 9, do_sample=True, top_k=1), model.generate(prompt, 9))


def test_each_text_stops_at_its_end():
    model, prompt = gpt(), integers(23, 3, 3)
    whole = model.generate(prompt, 9)
    end = int(whole[0, 5])
    stopped = model.generate(prompt, 9, eos_token_id=end, pad_token_id=1)
    for row, text in zip(stopped[:, 3:].tolist(), whole[:, 3:].tolist(), strict=True):
        size = text.index(end) + 1 if end in text else len(text)
        assert row == (text[:size] + 9 * [1])[: len(row)]
    alone = model.generate(prompt[:1], 9, eos_token_id=end)
    assert alone.shape[1] == whole[0, 3:].tolist().index(end) + 4 and alone[0, -1] == end


WRONG = {
    "temperature": (dict(do_sample=True, temperature=0.0), ValueError, "temperature must be greater than 0, got 0.0"),
    "nan": (dict(do_sample=True, temperature=math.nan), ValueError, "temperature must be greater"),
    "top_k": (dict(do_sample=True, top_k=0), ValueError, "top_k must be at least 1, got 0"),
    "top_p": (dict(do_sample=True, top_p=1.2), ValueError, "top_p must be greater than 0 and at most 1, got 1.2"),
    "greedy": (dict(top_k=3), ValueError, "set do_sample=True"),
    "greedy generator": (dict(generator=torch.Generator()), ValueError, "set do_sample=True"),
    "beams": (dict(num_beams=0), ValueError, "num_beams must be at least 1, got 0"),
    "drawn beams": (dict(num_beams=2, do_sample=True, top_k=0), ValueError, "top_k must be at least 1, got 0"),
    "stopping": (dict(num_beams=2, early_stopping="soon"), ValueError, "early_stopping must be .* got 'soon'"),
    "stopping number": (dict(num_beams=2, early_stopping=1), ValueError, "early_stopping must be .* got 1"),
    "one beam": (dict(length_penalty=0.6), ValueError, "set num_beams"),
    "one beam's stopping": (dict(early_stopping=True), ValueError, "set num_beams"),
    "negative": (dict(max_new_tokens=-1), ValueError, "max_new_tokens must be at least 0, got -1"),
    "half a token": (dict(max_new_tokens=2.5), TypeError, "max_new_tokens must be an integer, got 2.5"),
    "no number": (dict(max_new_tokens=None), TypeError, "max_new_tokens must be an integer, got None"),
    "half a place": (dict(do_sample=True, top_k=2.5), TypeError, "top_k must be an integer, got 2.5"),
    "end": (dict(eos_token_id=23), ValueError, "eos_token_id is 23, the model knows 0 to 22"),
    "pad": (dict(pad_token_id=-1, num_beams=2), ValueError, "pad_token_id is -1"),
    "long": (dict(max_new_tokens=23), ValueError, "3 tokens and 23 new ones don't fit into n_positions 24"),
    "empty": (dict(prompt=torch.ones(2, 0, dtype=torch.int64)), ValueError, r"T >= 1, got \[2, 0\]"),
    "flat": (dict(prompt=torch.ones(3, dtype=torch.int64)), ValueError, r"\[N, T\] with T >= 1, got \[3\]"),
    "floats": (dict(prompt=torch.ones(2, 3)), TypeError, "prompt must be int64 or int32, got torch.float32"),
    "unknown": (dict(prompt=torch.full((2, 3), 23)), IndexError, "prompt holds token 23, the model knows 0 to 22"),
    "mask": (dict(attention_mask=MASK[:2, :4]), ValueError, r"attention_mask has shape \[2, 4\], expected \[2, 3\]"),
    "right": (dict(attention_mask=torch.tensor([[1, 1, 1], [1, 1, 0]])), ValueError, "pad on the left"),
}


@pytest.mark.parametrize("options, kind, message", WRONG.values(), ids=WRONG)
def test_mistakes_are_named(options, kind, message):
    with pytest.raises(kind, match=message):
        gpt().generate(**{"prompt": integers(23, 2, 3), "max_new_tokens": 2, **options})


def test_nothing_is_written_where_nothing_is_asked():
    model, prompt = gpt(), integers(23, 2, 3)
    assert torch.equal(model.generate(prompt, 0), prompt)
    none = prompt[:0]
    for options in (dict(), dict(num_beams=2), dict(eos_token_id=4)):
        assert model.generate(none, 2, **options).shape[0] == 0
    assert model.generate(prompt[:, :2], 23).shape == (2, 25), "the last token is never read"


def test_a_cache_keeps_what_it_was_given():
    cache, (keys, values) = LayerCache(capacity=2), normal(2, 3, 4, 7, 5)
    with pytest.raises(RuntimeError, match="gives no gradients"):
        cache.append(keys.requires_grad_(), values)
    keys = keys.detach()
    for start, stop in ((0, 1), (1, 2), (2, 6), (6, 7)):
        found = cache.append(keys[:, :, start:stop], values[:, :, start:stop])
        assert torch.equal(found[0], keys[:, :, :stop]) and torch.equal(found[1], values[:, :, :stop])
    rows = torch.tensor([2, 2, 0, 1])
    cache.select(rows)
    assert torch.equal(cache.filled()[0], keys[rows]) and cache.length == 7
    again = cache.append(keys[rows][:, :, :1], values[rows][:, :, :1])
    assert torch.equal(again[1], torch.cat([values, values[:, :, :1]], 2)[rows])


def test_a_model_of_ones_own_can_write():
    class Counting(models.generation.Continuation):
        """After each number its successor."""

        def advance(self, tokens):
            return torch.nn.functional.one_hot((tokens[:, -1] + 1) % 7, 7).float()

        def select(self, rows):
            pass

    prompt = torch.tensor([[2], [5]])
    assert write(Counting(), prompt, 4).tolist() == [[3, 4, 5, 6], [6, 0, 1, 2]]
    assert write(Counting(), prompt, 4, num_beams=3, eos_token_id=6).tolist() == [[3, 4, 5, 6], [6, 6, 6, 6]]


def test_the_example_of_the_readme_runs():
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if ".generate(" in code)
    found = {"torch": torch}
    exec(example, found)
    assert found["text"].shape == (2, 36) and torch.equal(found["text"][:, :16], found["prompt"])
    assert found["written"].shape[0] == 2 and 1 <= found["written"].shape[1] <= 20
