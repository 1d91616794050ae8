"""Agents without a model. Each stands for an exploit that a scorer must not reward (finance specification 13)."""
