"""One readable model per family of the zoo, built from `nnzoo_fast.nn`.

`nnzoo_fast.restore(model)` turns any of them into the same model on torch.nn's own layers, which is how a benchmark
gets its stock twin. Graph layers have no class in torch.nn: run those models inside `nnzoo_fast.backend("torch")`.
"""

from nnzoo_fast.models.attention import GPT
from nnzoo_fast.models.convolutional import LeNet, ResNet
from nnzoo_fast.models.feed_forward import MLP
from nnzoo_fast.models.graph import GCN
from nnzoo_fast.models.recurrent import CharLSTM

__all__ = ["GCN", "GPT", "MLP", "CharLSTM", "LeNet", "ResNet"]
