"""The commands of `inference`, one module each; `cli.py` loads the one that is called."""
