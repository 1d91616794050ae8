"""How a suite file is read: YAML with positions, variables in values, faults with line and key path."""
