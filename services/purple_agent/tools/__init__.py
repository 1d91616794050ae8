"""What the agent's model may call. Formulas only; there is no tool over benchmark questions."""
