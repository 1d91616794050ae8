"""How a conversation uses its model to answer a message."""
