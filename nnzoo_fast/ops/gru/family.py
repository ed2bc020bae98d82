"""What sets `gru` apart from the other recurrent operations: gates r, z, n, of which n has two biases."""

from nnzoo_fast.recurrent import Family

FAMILY = Family("gru", gates=3, kept=4, shares_bias_gradient=False)
