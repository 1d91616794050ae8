"""What this machine has: GPUs, ports, who holds them, and weights on its disk."""
