"""The operations: each is one folder here and one of the same name under `csrc/ops`.

Exports are eager, so `nnzoo_fast.ops.linear` is the function; inside the package, import from the folder with
`from nnzoo_fast.ops.linear import ...`.
"""

from nnzoo_fast import backends
from nnzoo_fast.ops.activation import activation
from nnzoo_fast.ops.adaptive_avg_pool import adaptive_avg_pool
from nnzoo_fast.ops.adaptive_max_pool import adaptive_max_pool
from nnzoo_fast.ops.add_norm import add_norm
from nnzoo_fast.ops.attention import attention
from nnzoo_fast.ops.avg_pool import avg_pool
from nnzoo_fast.ops.batch_norm import batch_norm
from nnzoo_fast.ops.binary_cross_entropy_with_logits import binary_cross_entropy_with_logits
from nnzoo_fast.ops.conv import conv
from nnzoo_fast.ops.conv_lstm import conv_lstm
from nnzoo_fast.ops.conv_transpose import conv_transpose
from nnzoo_fast.ops.cross_entropy import cross_entropy
from nnzoo_fast.ops.dropout import dropout
from nnzoo_fast.ops.edge_mlp import edge_mlp
from nnzoo_fast.ops.edge_softmax import edge_softmax
from nnzoo_fast.ops.embedding import embedding
from nnzoo_fast.ops.embedding_bag import embedding_bag
from nnzoo_fast.ops.gat import gat
from nnzoo_fast.ops.gather_scatter import gather_scatter
from nnzoo_fast.ops.gather_scatter.segments import segment_reduce
from nnzoo_fast.ops.gatv2 import gatv2
from nnzoo_fast.ops.group_norm import group_norm
from nnzoo_fast.ops.gru import gru
from nnzoo_fast.ops.gru_cell import gru_cell
from nnzoo_fast.ops.instance_norm import instance_norm
from nnzoo_fast.ops.kl_div import kl_div
from nnzoo_fast.ops.knn import knn
from nnzoo_fast.ops.knn.graphs import knn_graph, radius, radius_graph
from nnzoo_fast.ops.layer_norm import layer_norm
from nnzoo_fast.ops.linear import linear
from nnzoo_fast.ops.linear_cross_entropy import linear_cross_entropy
from nnzoo_fast.ops.log_softmax import log_softmax
from nnzoo_fast.ops.lp_pool import lp_pool
from nnzoo_fast.ops.lstm import lstm
from nnzoo_fast.ops.lstm_cell import lstm_cell
from nnzoo_fast.ops.max_pool import max_pool, min_pool
from nnzoo_fast.ops.max_unpool import max_unpool
from nnzoo_fast.ops.rms_norm import rms_norm
from nnzoo_fast.ops.rnn import rnn
from nnzoo_fast.ops.rnn_cell import rnn_cell
from nnzoo_fast.ops.scatter import scatter
from nnzoo_fast.ops.sddmm import sddmm
from nnzoo_fast.ops.softmax import softmax

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "add_norm",
    "activation",
    "attention",
    "avg_pool",
    "binary_cross_entropy_with_logits",
    "batch_norm",
    "conv",
    "conv_lstm",
    "conv_transpose",
    "cross_entropy",
    "edge_mlp",
    "dropout",
    "edge_softmax",
    "embedding",
    "embedding_bag",
    "gat",
    "gather_scatter",
    "gatv2",
    "group_norm",
    "gru",
    "gru_cell",
    "instance_norm",
    "knn",
    "knn_graph",
    "kl_div",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "log_softmax",
    "lp_pool",
    "lstm",
    "lstm_cell",
    "max_pool",
    "max_unpool",
    "min_pool",
    "radius",
    "radius_graph",
    "rms_norm",
    "rnn",
    "rnn_cell",
    "scatter",
    "sddmm",
    "segment_reduce",
    "softmax",
]

backends.check_environment()
