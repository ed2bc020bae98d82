"""transformers' own models on our layers and our attention: equal outputs and gradients, and really called."""

import collections
import copy

import peers
import pytest
import torch
from test_models import deviations, integers, normal

from nnzoo_fast import accelerate, huggingface, restore
from nnzoo_fast.explain import recording

SMALL = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
WHISPER = dict(
    **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 3 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 40 for side in ("encoder", "decoder")},
    d_model=24,
    num_mel_bins=8,
    max_source_positions=12,
    decoder_start_token_id=1,
)
T5 = dict(d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3, decoder_start_token_id=0)
TOKENS = dict(vocab_size=61, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def tokens():
    return {"input_ids": 3 + integers(58, 2, 11)}


def both():
    return tokens() | {"decoder_input_ids": 3 + integers(58, 2, 7)}


def spectrum():
    return {"input_features": normal(2, 8, 24), "decoder_input_ids": 3 + integers(58, 2, 7)}


MODELS = {
    "BertModel": (SMALL | TOKENS, tokens, 2),
    "GPT2LMHeadModel": (dict(n_embd=24, n_layer=2, n_head=3) | TOKENS, tokens, 2),
    "ViTModel": (SMALL | dict(image_size=16, patch_size=8), lambda: {"pixel_values": normal(2, 3, 16, 16)}, 2),
    "WhisperModel": (WHISPER | TOKENS, spectrum, 3),
    "LlamaModel": (SMALL | TOKENS | dict(num_attention_heads=4, num_key_value_heads=2), tokens, 2),
    "T5Model": (T5 | TOKENS, both, 6),
}
"""By class: its configuration, its inputs, and how often a call asks for attention."""


def build(name):
    transformers = peers.transformers()
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    config = kind.config_class(**MODELS[name][0])
    for key in [key for key in vars(config) if "drop" in key and isinstance(getattr(config, key), float)]:
        setattr(config, key, 0.0)
    return kind(config).eval()


def on_ours(model):
    return huggingface.accelerate(copy.deepcopy(model))


def results(model, inputs, dtype):
    model = copy.deepcopy(model).to(dtype)
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    output = model(**inputs)[0]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    cotangent = normal(*output.shape, seed=2).to(output)
    grads = torch.autograd.grad(output, wanted, cotangent, allow_unused=True)
    return [output, *(grad for grad in grads if grad is not None)]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_transformers_equals_itself(name):
    model, inputs = build(name), MODELS[name][1]()
    if "input_ids" in inputs:
        mask = torch.ones_like(inputs["input_ids"])
        mask[0, 7:] = 0
        inputs["attention_mask"] = mask
    ours = on_ours(model)
    truth, stock, found = (
        results(each, inputs, dtype)
        for each, dtype in ((model, torch.float64), (model, torch.float32), (ours, torch.float32))
    )
    assert not deviations(found, stock, truth, torch.float32)
    assert deviations([1.01 * value for value in found], stock, truth, torch.float32)


@pytest.mark.parametrize("name", MODELS)
def test_attention_is_really_called(name):
    ours, seen = on_ours(build(name)), []
    with recording(lambda found, values, way: seen.append(found.name)), torch.no_grad():
        ours.float()(**{k: v.float() if v.is_floating_point() else v for k, v in MODELS[name][1]().items()})
    count = collections.Counter(seen)
    assert count["attention"] == MODELS[name][2] and count["linear"] >= 5


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "T5Model"])
def test_attention_is_as_before_after_restore(name):
    model = build(name)
    parts = [module for module in model.modules() if hasattr(module, "set_attn_implementation")]
    before, kinds = [part.config._attn_implementation for part in parts], [type(module) for module in model.modules()]
    huggingface.accelerate(huggingface.accelerate(model))
    assert {part.config._attn_implementation for part in parts} == {"nnzoo_fast"} != set(before)
    huggingface.restore(model)
    assert [part.config._attn_implementation for part in parts] == before
    assert [type(module) for module in model.modules()] == kinds


@pytest.mark.parametrize("name", ["Gemma2Model", "GptOssModel"])
def test_a_model_that_asks_attention_for_more_keeps_its_own(name):
    kind = getattr(peers.transformers(), name)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, head_dim=8, attn_implementation="eager")
    experts = dict(num_local_experts=4, num_experts_per_tok=2) if name == "GptOssModel" else {}
    model = kind(kind.config_class(**SMALL | TOKENS | heads | experts)).eval()
    ours = on_ours(model)
    assert ours.config._attn_implementation == "eager"
    torch.testing.assert_close(ours(**tokens())[0], model(**tokens())[0])


def test_cached_generation_is_the_same():
    model, prompt = build("GPT2LMHeadModel"), tokens()["input_ids"]
    options = dict(attention_mask=torch.ones_like(prompt), max_new_tokens=9, do_sample=False)
    assert torch.equal(on_ours(model).generate(prompt, **options), model.generate(prompt, **options))


def test_layers_of_gpt2_come_and_go():
    from_stock = build("GPT2LMHeadModel")
    ours = accelerate(copy.deepcopy(from_stock))
    layer = ours.transformer.h[0].mlp.c_fc
    assert type(layer).__module__ == "nnzoo_fast.foreign" and type(layer).__name__ == "Conv1D"
    restore(ours)
    assert type(ours.transformer.h[0].mlp.c_fc) is type(from_stock.transformer.h[0].mlp.c_fc)


@pytest.mark.parametrize("mask", ["none", "causal", "booleans", "added"])
def test_a_position_bias_is_added(mask):
    q, k, v = (normal(2, 3, length, 8) for length in (5, 5, 5))
    bias, visible = normal(1, 3, 5, 5), normal(2, 1, 5, 5) > -1
    visible |= torch.eye(5, dtype=torch.bool)
    given = {"booleans": visible, "added": torch.zeros(2, 1, 5, 5).masked_fill(~visible, -torch.inf).double()}.get(mask)
    expected = bias
    if mask == "causal":
        expected = bias.masked_fill(~torch.ones(5, 5, dtype=torch.bool).tril(), -torch.inf)
    elif mask != "none":
        expected = bias.masked_fill(~visible, -torch.inf)
    truth = torch.softmax(q @ k.mT * 0.3 + expected, -1) @ v
    output, weights = huggingface.attention_forward(
        torch.nn.Module(), q, k, v, given, scaling=0.3, is_causal=mask == "causal", position_bias=bias
    )
    torch.testing.assert_close(output, truth.transpose(1, 2))
    assert weights is None


@pytest.mark.parametrize(
    "options", [{"softcap": 50.0}, {"s_aux": torch.zeros(3)}], ids=lambda options: next(iter(options))
)
def test_what_attention_lacks_is_not_passed_over(options):
    q = normal(2, 3, 5, 8)
    with pytest.raises(NotImplementedError, match=f"no {next(iter(options))}, which Module asks for"):
        huggingface.attention_forward(torch.nn.Module(), q, q, q, None, **options)
    huggingface.attention_forward(torch.nn.Module(), q, q, q, None, **dict.fromkeys(options))
