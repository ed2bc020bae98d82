"""Drop-in layers under torch.nn's names; every name that is not here is torch.nn's own.

`from nnzoo_fast import nn` can replace `from torch import nn`: constructor arguments, forward signatures, `state_dict`
keys and initial weights are torch.nn's.
"""

import torch

from nnzoo_fast.nn import functional
from nnzoo_fast.nn.activation import (
    ELU,
    GELU,
    Hardswish,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from nnzoo_fast.nn.add_norm import AddNorm
from nnzoo_fast.nn.conv import Conv1d, Conv2d, Conv3d, LazyConv1d, LazyConv2d, LazyConv3d
from nnzoo_fast.nn.conv_lstm import ConvLSTM1d, ConvLSTM2d, ConvLSTM3d
from nnzoo_fast.nn.conv_transpose import (
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    LazyConvTranspose1d,
    LazyConvTranspose2d,
    LazyConvTranspose3d,
)
from nnzoo_fast.nn.dropout import Dropout
from nnzoo_fast.nn.edge_conv import DynamicEdgeConv, EdgeConv
from nnzoo_fast.nn.embedding import Embedding, EmbeddingBag
from nnzoo_fast.nn.gat_conv import GATConv, GATv2Conv
from nnzoo_fast.nn.gcn_conv import GCNConv, gcn_norm
from nnzoo_fast.nn.gin_conv import GINConv
from nnzoo_fast.nn.global_pool import global_add_pool, global_max_pool, global_mean_pool
from nnzoo_fast.nn.graph_conv import GraphConv
from nnzoo_fast.nn.graph_network import GraphNetwork
from nnzoo_fast.nn.inner_product_decoder import InnerProductDecoder
from nnzoo_fast.nn.linear import LazyLinear, Linear
from nnzoo_fast.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, KLDivLoss
from nnzoo_fast.nn.message_passing import MessagePassing
from nnzoo_fast.nn.message_passing_layer import Joint, MessagePassingLayer
from nnzoo_fast.nn.multihead_attention import MultiheadAttention
from nnzoo_fast.nn.nn_conv import NNConv
from nnzoo_fast.nn.node_pooling import SAGPooling, TopKPooling
from nnzoo_fast.nn.norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LazyBatchNorm1d,
    LazyBatchNorm2d,
    LazyBatchNorm3d,
    LazyInstanceNorm1d,
    LazyInstanceNorm2d,
    LazyInstanceNorm3d,
    RMSNorm,
)
from nnzoo_fast.nn.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from nnzoo_fast.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from nnzoo_fast.nn.sage_conv import SAGEConv
from nnzoo_fast.nn.sequential import Sequential
from nnzoo_fast.nn.set2set import Set2Set
from nnzoo_fast.nn.softmax import LogSoftmax, Softmax
from nnzoo_fast.nn.transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from nnzoo_fast.ops.gather_scatter.segments import reduce_edges
from nnzoo_fast.ops.knn import knn
from nnzoo_fast.ops.knn.graphs import knn_graph, radius, radius_graph

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AddNorm",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BCEWithLogitsLoss",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvLSTM1d",
    "ConvLSTM2d",
    "ConvLSTM3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CrossEntropyLoss",
    "DynamicEdgeConv",
    "EdgeConv",
    "Dropout",
    "ELU",
    "Embedding",
    "EmbeddingBag",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GELU",
    "GINConv",
    "GraphConv",
    "GraphNetwork",
    "GRU",
    "GRUCell",
    "GroupNorm",
    "Joint",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "LSTM",
    "KLDivLoss",
    "LSTMCell",
    "InnerProductDecoder",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "Hardswish",
    "LayerNorm",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "MessagePassing",
    "MessagePassingLayer",
    "Mish",
    "MultiheadAttention",
    "NNConv",
    "RMSNorm",
    "RNN",
    "RNNCell",
    "ReLU",
    "SAGEConv",
    "SAGPooling",
    "Sequential",
    "Set2Set",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TopKPooling",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "functional",
    "gcn_norm",
    "global_add_pool",
    "global_max_pool",
    "global_mean_pool",
    "knn",
    "knn_graph",
    "radius",
    "radius_graph",
    "reduce_edges",
]


def __getattr__(name: str):
    try:
        return getattr(torch.nn, name)
    except AttributeError:
        raise AttributeError(f"neither {__name__} nor torch.nn has an attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(torch.nn)})
