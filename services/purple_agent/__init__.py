"""The agent under test: a model with tools, or a baseline without one, behind A2A."""
