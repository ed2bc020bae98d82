"""What sets `rnn` apart from the other recurrent operations: no gates, and a choice of nonlinearity."""

from nnzoo_fast.recurrent import Family

FAMILY = Family("rnn", gates=1, kept=1)
NONLINEARITIES = ("tanh", "relu")
