"""BERT: a transformer encoder that reads a text in both directions, and its heads.

Parameters are named as in transformers' `BertModel`, `BertForPreTraining`, `BertForSequenceClassification` and
`BertForTokenClassification`.
"""

from __future__ import annotations

import torch

from nnzoo_fast import nn
from nnzoo_fast.nn.functional import scaled_dot_product_attention


class Embeddings(nn.Module):
    """A vector for each token, place and segment: their sum, normalised."""

    def __init__(self, vocab_size: int, size: int, positions: int, segments: int, dropout: float, eps: float):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, size, padding_idx=0)
        self.position_embeddings = nn.Embedding(positions, size)
        self.token_type_embeddings = nn.Embedding(segments, size)
        self.LayerNorm = nn.LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, segments: torch.Tensor | None) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        segments = torch.zeros_like(tokens) if segments is None else segments
        x = self.word_embeddings(tokens) + self.token_type_embeddings(segments) + self.position_embeddings(places)
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """Multi-head attention with a matrix for queries, keys and values each."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.drop = heads, dropout
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        drop = self.drop if self.training else 0.0
        return scaled_dot_product_attention(q, k, v, mask, drop).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """norm(residual + dropout(W x + b))."""

    def __init__(self, in_size: int, size: int, dropout: float, eps: float):
        super().__init__()
        self.dense = nn.Linear(in_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Layer(nn.Module):
    """Attention and two linear layers, each with a shortcut that a norm follows (post-norm)."""

    def __init__(self, size: int, heads: int, hidden: int, dropout: float, eps: float):
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(size, heads, dropout), "output": Output(size, size, dropout, eps)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, hidden)})
        self.output = Output(hidden, size, dropout, eps)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        return self.output(nn.functional.gelu(self.intermediate["dense"](x)), x)


class BERT(nn.Module):
    """BERT, by default of base size: Devlin et al., "BERT: pre-training of deep bidirectional transformers" (2019).

    Args:
        vocab_size: number of tokens; token 0 is padding.
        hidden_size: size of a token's vector.
        num_hidden_layers: number of layers.
        num_attention_heads: heads of a layer, a divisor of `hidden_size`.
        intermediate_size: size of the hidden layer behind attention.
        max_position_embeddings: the longest text.
        type_vocab_size: number of segments.
        dropout: probability of dropping a value or an attention weight.
        layer_norm_eps: of the norms.
        pooler: also make a vector of the whole text from its first token.
    """

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        dropout: float = 0.1,
        layer_norm_eps: float = 1e-12,
        pooler: bool = True,
    ):
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(
                f"BERT: hidden_size {hidden_size} is no multiple of num_attention_heads {num_attention_heads}"
            )
        self.embeddings = Embeddings(
            vocab_size, hidden_size, max_position_embeddings, type_vocab_size, dropout, layer_norm_eps
        )
        layers = (
            Layer(hidden_size, num_attention_heads, intermediate_size, dropout, layer_norm_eps)
            for _ in range(num_hidden_layers)
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden_size, hidden_size)}) if pooler else None
        _initialise(self)

    def forward(
        self,
        tokens: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Read a text.

        Args:
            tokens: int64 [N, T].
            attention_mask: [N, T], 0 or False where there is padding; by default nowhere.
            token_type_ids: int64 [N, T], the segment of each token; by default the first.

        Returns:
            A vector for each token [N, T, hidden_size], and one for the text [N, hidden_size], None without `pooler`.
        """
        longest = self.embeddings.position_embeddings.num_embeddings
        if tokens.shape[1] > longest:
            raise ValueError(f"BERT: tokens are {tokens.shape[1]} long, max_position_embeddings is {longest}")
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        x = self.embeddings(tokens, token_type_ids)
        for layer in self.encoder["layer"]:
            x = layer(x, mask)
        return x, None if self.pooler is None else torch.tanh(self.pooler["dense"](x[:, 0]))


class MaskedTokens(nn.Module):
    """Logits of every token at every place, with the embedding's own vectors."""

    def __init__(self, words: nn.Embedding, eps: float):
        super().__init__()
        count, size = words.weight.shape
        self.bias = nn.Parameter(torch.zeros(count))
        self.transform = nn.ModuleDict({"dense": nn.Linear(size, size), "LayerNorm": nn.LayerNorm(size, eps=eps)})
        self.decoder = nn.Linear(size, count)
        self.decoder.weight, self.decoder.bias = words.weight, self.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.transform["LayerNorm"](nn.functional.gelu(self.transform["dense"](x))))


class BERTForPreTraining(nn.Module):
    """`BERT` with its two tasks: which token is masked (MLM), and do two sentences follow each other (NSP).

    Args:
        sizes: arguments of `BERT`.
    """

    def __init__(self, **sizes):
        super().__init__()
        self.bert = BERT(**sizes)
        embeddings = self.bert.embeddings
        heads = {
            "predictions": MaskedTokens(embeddings.word_embeddings, embeddings.LayerNorm.eps),
            "seq_relationship": nn.Linear(embeddings.word_embeddings.embedding_dim, 2),
        }
        self.cls = nn.ModuleDict(heads)
        _initialise(self.cls["predictions"].transform)
        _initialise(self.cls["seq_relationship"])

    def forward(self, tokens, attention_mask=None, token_type_ids=None) -> tuple[torch.Tensor, torch.Tensor]:
        """As `BERT`; returns logits of tokens [N, T, vocab_size] and of the next sentence [N, 2]."""
        x, text = self.bert(tokens, attention_mask, token_type_ids)
        return self.cls["predictions"](x), self.cls["seq_relationship"](text)


class BERTForSequenceClassification(nn.Module):
    """`BERT` and a linear layer on the vector of the text.

    Args:
        num_labels: size of the output.
        sizes: arguments of `BERT`.
    """

    def __init__(self, num_labels: int = 2, **sizes):
        super().__init__()
        self.bert = BERT(**sizes)
        self.dropout = nn.Dropout(sizes.get("dropout", 0.1))
        self.classifier = nn.Linear(self.bert.embeddings.word_embeddings.embedding_dim, num_labels)
        _initialise(self.classifier)

    def forward(self, tokens, attention_mask=None, token_type_ids=None) -> torch.Tensor:
        """As `BERT`; returns logits [N, num_labels]."""
        return self.classifier(self.dropout(self.bert(tokens, attention_mask, token_type_ids)[1]))


class BERTForTokenClassification(nn.Module):
    """`BERT` and a linear layer on the vector of each token.

    Args:
        num_labels: size of the output.
        sizes: arguments of `BERT`.
    """

    def __init__(self, num_labels: int = 2, **sizes):
        super().__init__()
        self.bert = BERT(**sizes, pooler=False)
        self.dropout = nn.Dropout(sizes.get("dropout", 0.1))
        self.classifier = nn.Linear(self.bert.embeddings.word_embeddings.embedding_dim, num_labels)
        _initialise(self.classifier)

    def forward(self, tokens, attention_mask=None, token_type_ids=None) -> torch.Tensor:
        """As `BERT`; returns logits [N, T, num_labels]."""
        return self.classifier(self.dropout(self.bert(tokens, attention_mask, token_type_ids)[0]))


def _initialise(model: torch.nn.Module) -> None:
    """Normal weights of deviation 0.02, no bias, no vector for padding."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx].detach())
