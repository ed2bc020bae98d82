"""What sets `lstm` apart from the other recurrent operations: gates i, f, g, o, and c besides h."""

from nnzoo_fast.recurrent import Family

FAMILY = Family("lstm", gates=4, kept=4, has_cells=True)
