"""How the compiled parts are built: which ones, with which tools, by which ninja rules."""
