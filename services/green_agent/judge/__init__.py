"""The judge: a language model that decides what no rule can, and is never trusted further than its verdicts are valid."""
