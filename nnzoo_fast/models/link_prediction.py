"""Which edges are missing: nodes become vectors, and those of an edge's ends agree."""

from __future__ import annotations

import torch

from nnzoo_fast import nn
from nnzoo_fast.graph import Graph
from nnzoo_fast.models.graph import GCN

MAX_LOGSTD = 10


class GAE(nn.Module):
    """Graph auto-encoder: Kipf and Welling, "Variational graph auto-encoders" (2016). `torch_geometric.nn.GAE`.

    By default two graph convolutions of 32 and 16 channels encode Cora's 1,433 features, as published: 46,416
    parameters.

    Args:
        encoder: a module that makes node vectors [N, C], called as the model is.
        decoder: called as (z, edge_index, sigmoid=False), makes an edge's logit; by default `nn.InnerProductDecoder`.
    """

    def __init__(self, encoder: nn.Module | None = None, decoder: nn.Module | None = None):
        super().__init__()
        self.encoder = self.default_encoder() if encoder is None else encoder
        self.decoder = nn.InnerProductDecoder() if decoder is None else decoder

    @staticmethod
    def default_encoder() -> nn.Module:
        """The published encoder."""
        return GCN(1433, 32, 2, 16)

    def forward(self, *args, **kwargs) -> torch.Tensor:
        """What the encoder makes, usually of [N, in_channels] and int64 [2, E] or a `Graph`."""
        return self.encoder(*args, **kwargs)

    def encode(self, *args, **kwargs) -> torch.Tensor:
        """The nodes' vectors, [N, C]."""
        return self.encoder(*args, **kwargs)

    def decode(self, *args, **kwargs) -> torch.Tensor:
        """The edges' probabilities, [E]."""
        return self.decoder(*args, **kwargs)

    def recon_loss(
        self,
        z: torch.Tensor,
        pos_edge_index: torch.Tensor | Graph,
        neg_edge_index: torch.Tensor | Graph | None = None,
    ) -> torch.Tensor:
        """The mean of -log p over edges that are there, plus the mean of -log(1 - p) over some that are not.

        Computed from logits, so that it is right and has a gradient where PyTorch Geometric's log(p + 1e-15) is flat.

        Args:
            z: [N, C].
            pos_edge_index: int64 [2, E] or a `Graph`.
            neg_edge_index: the same of edges that aren't there; by default as many are drawn by `negative_edges`.
        """
        if neg_edge_index is None:
            neg_edge_index = negative_edges(pos_edge_index, z.shape[0])
        there, not_there = (self.decoder(z, edges, sigmoid=False) for edges in (pos_edge_index, neg_edge_index))
        loss = nn.functional.binary_cross_entropy_with_logits
        return loss(there, torch.ones_like(there)) + loss(not_there, torch.zeros_like(not_there))

    @torch.no_grad()
    def test(
        self, z: torch.Tensor, pos_edge_index: torch.Tensor | Graph, neg_edge_index: torch.Tensor | Graph
    ) -> tuple[float, float]:
        """The area under the ROC curve and the average precision of telling the edges apart, each up to 1."""
        return ranking(*(self.decoder(z, edges, sigmoid=False) for edges in (pos_edge_index, neg_edge_index)))


class VGAE(GAE):
    """Variational graph auto-encoder: Kipf and Welling (2016). `torch_geometric.nn.VGAE`.

    In training `encode` draws nodes from Gaussians, in evaluation it takes their means. By default two graph
    convolutions share a first one, as published: 46,944 parameters.

    Args:
        encoder: a module that makes (mu, log sigma), each [N, C], called as the model is; log sigma is cut at 10.
        decoder: as for `GAE`.
    """

    mu = logstd = None

    @staticmethod
    def default_encoder() -> nn.Module:
        return VariationalGCN(1433, 32, 16)

    def encode(self, *args, **kwargs) -> torch.Tensor:
        """The nodes' vectors, [N, C]; their distributions stay in `mu` and `logstd` for `kl_loss`."""
        self.mu, logstd = self.encoder(*args, **kwargs)
        self.logstd = logstd.clamp(max=MAX_LOGSTD)
        return self.reparametrize(self.mu, self.logstd)

    def reparametrize(self, mu: torch.Tensor, logstd: torch.Tensor) -> torch.Tensor:
        """A draw from the Gaussians in training, else their means."""
        return mu + torch.randn_like(logstd) * logstd.exp() if self.training else mu

    def kl_loss(self, mu: torch.Tensor | None = None, logstd: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over nodes of the divergence from a standard Gaussian; by default of the last `encode`.

        The paper weighs it by 1 / N, as `recon_loss` is a mean over edges.

        Raises:
            RuntimeError: nothing is given and nothing was encoded.
        """
        mu = self.mu if mu is None else mu
        logstd = self.logstd if logstd is None else logstd.clamp(max=MAX_LOGSTD)
        if mu is None or logstd is None:
            raise RuntimeError("VGAE.kl_loss: nothing was encoded yet, expected mu and logstd")
        return -0.5 * (1 + 2 * logstd - mu.square() - (2 * logstd).exp()).sum(dim=1).mean()

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name not in ("mu", "logstd")}


class VariationalGCN(nn.Module):
    """The encoder of `VGAE`: relu(`conv1`), then `conv_mu` and `conv_logstd` of its result."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.GCNConv(in_channels, hidden_channels)
        self.conv_mu = nn.GCNConv(hidden_channels, out_channels)
        self.conv_logstd = nn.GCNConv(hidden_channels, out_channels)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor | Graph) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, in_channels] and int64 [2, E] or a `Graph` -> mu and log sigma, each [N, out_channels]."""
        x = self.conv1(x, edge_index).relu()
        return self.conv_mu(x, edge_index), self.conv_logstd(x, edge_index)


def negative_edges(
    edge_index: torch.Tensor | Graph,
    num_nodes: int,
    count: int | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Different pairs of nodes without an edge and no self-loops, all equally likely.

    Args:
        edge_index: int64 [2, E] or a `Graph`.
        num_nodes: N.
        count: how many; by default E. Where there are fewer, all of them.
        generator: of random numbers; by default torch's.

    Returns:
        int64 [2, count].

    Raises:
        IndexError: a node out of range.
    """
    edges = edge_index.edge_index if isinstance(edge_index, Graph) else edge_index
    if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < num_nodes:
        raise IndexError(f"negative_edges: edge_index holds a node out of range, expected 0 <= i < {num_nodes}")
    source, target = edges[:, edges[0] != edges[1]]
    # Pairs without self-loops have the numbers 0 to N (N - 1) - 1.
    taken = torch.unique(source * (num_nodes - 1) + target - (target > source).long())
    free = max(num_nodes * (num_nodes - 1) - taken.numel(), 0)
    count = min(edges.shape[1] if count is None else count, free)
    ranks = _distinct(free, count, generator, edges.device)
    # The r-th free number has as many taken ones below it as have at most r free ones below them.
    before = taken - torch.arange(taken.numel(), device=edges.device)
    pairs = ranks + torch.searchsorted(before, ranks, right=True)
    source = pairs.div(max(num_nodes - 1, 1), rounding_mode="floor")
    target = pairs - source * (num_nodes - 1)
    return torch.stack([source, target + (target >= source).long()])


def _distinct(high: int, count: int, generator: torch.Generator | None, device: torch.device) -> torch.Tensor:
    """`count` different numbers below `high`, in random order."""
    if high <= 4 * count:
        return torch.randperm(high, generator=generator, device=device)[:count]
    found = torch.empty(0, dtype=torch.int64, device=device)
    while found.numel() < count:
        drawn = torch.randint(high, (2 * count,), generator=generator, device=device)
        found = torch.unique(torch.cat([found, drawn]))
    return found[torch.randperm(found.numel(), generator=generator, device=device)[:count]]


def ranking(positive: torch.Tensor, negative: torch.Tensor) -> tuple[float, float]:
    """The area under the ROC curve and the average precision of scores; equal scores are told apart by chance.

    Raises:
        ValueError: one of them is empty.
    """
    if not positive.numel() or not negative.numel():
        raise ValueError(f"ranking: {positive.numel()} positive and {negative.numel()} negative scores, expected some")
    values, place = torch.unique(-torch.cat([positive, negative]), return_inverse=True)
    there = torch.bincount(place[: positive.numel()], minlength=values.numel()).double()
    others = torch.bincount(place[positive.numel() :], minlength=values.numel()).double()
    above, wrong = there.cumsum(0), others.cumsum(0)
    area = (others * (above - there / 2)).sum() / (positive.numel() * negative.numel())
    precision = (there * above / (above + wrong)).sum() / positive.numel()
    return area.item(), precision.item()
