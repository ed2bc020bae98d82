"""One readable model per architecture of the zoo, built from `nnzoo_fast.nn`.

`create("resnet50", num_classes=10)` makes a model of its published size; `available()` lists the names.
`from_torchvision`, `from_huggingface` and `from_pyg` take the weights that others have trained; `freeze` and
`replace_head` teach them something else.
`nnzoo_fast.restore(model)` turns any of them into the same model on torch.nn's own layers, which is how a benchmark
gets its stock twin. Graph layers have no class in torch.nn: run those models inside `nnzoo_fast.backend("torch")`.
"""

from nnzoo_fast.models.attention import GPT
from nnzoo_fast.models.bert import (
    BERT,
    BERTForPreTraining,
    BERTForSequenceClassification,
    BERTForTokenClassification,
)
from nnzoo_fast.models.cache import KeyValueCache
from nnzoo_fast.models.convolutional import VGG, AlexNet, LeNet
from nnzoo_fast.models.dense import FCN, UNet
from nnzoo_fast.models.efficient import EfficientNet
from nnzoo_fast.models.feed_forward import MLP
from nnzoo_fast.models.graph import GAT, GCN, GIN, GATv2, GraphSAGE
from nnzoo_fast.models.link_prediction import GAE, VGAE, VariationalGCN, negative_edges
from nnzoo_fast.models.message_passing import GraphNetwork, InteractionNetwork, MessagePassingNetwork
from nnzoo_fast.models.nasnet import NASNet
from nnzoo_fast.models.pretrained import from_huggingface, from_pyg, from_torchvision, load
from nnzoo_fast.models.recurrent import CharLSTM, RecurrentLanguageModel
from nnzoo_fast.models.registry import available, create
from nnzoo_fast.models.residual import ResNet
from nnzoo_fast.models.sequences import ConvLSTMForecaster, Seq2Seq, SequenceClassifier, SequenceTagger
from nnzoo_fast.models.signals import C3D, CNN
from nnzoo_fast.models.transfer import freeze, replace_head, unfreeze
from nnzoo_fast.models.transformer import Transformer
from nnzoo_fast.models.vision_transformer import ViT
from nnzoo_fast.models.whole_graphs import DGCNN, MPNN, GraphClassifier

__all__ = [
    "BERT",
    "C3D",
    "CNN",
    "DGCNN",
    "FCN",
    "GAE",
    "GAT",
    "GCN",
    "GIN",
    "GPT",
    "MLP",
    "MPNN",
    "VGAE",
    "VGG",
    "AlexNet",
    "BERTForPreTraining",
    "BERTForSequenceClassification",
    "BERTForTokenClassification",
    "CharLSTM",
    "ConvLSTMForecaster",
    "EfficientNet",
    "GATv2",
    "GraphClassifier",
    "GraphNetwork",
    "GraphSAGE",
    "InteractionNetwork",
    "KeyValueCache",
    "LeNet",
    "MessagePassingNetwork",
    "NASNet",
    "RecurrentLanguageModel",
    "ResNet",
    "Seq2Seq",
    "SequenceClassifier",
    "SequenceTagger",
    "Transformer",
    "UNet",
    "VariationalGCN",
    "ViT",
    "available",
    "create",
    "freeze",
    "from_huggingface",
    "from_pyg",
    "from_torchvision",
    "load",
    "negative_edges",
    "replace_head",
    "unfreeze",
]
