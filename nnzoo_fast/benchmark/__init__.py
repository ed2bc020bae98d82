"""`nnzoo-fast bench`: how fast every operation and model is here, against the best peer and the machine's roof."""
