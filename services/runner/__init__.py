"""What runs, what is kept, what it means."""
