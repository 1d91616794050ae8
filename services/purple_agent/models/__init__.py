"""The agent's side of the model: which calls belong together, what they cost, what to keep of the text."""
