"""What the services say to each other. Imports no service."""
