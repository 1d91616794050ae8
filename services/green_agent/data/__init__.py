"""Where task files come from, and the proof that they are the right ones. Knows no benchmark."""
