"""The commands of `assay`, one module each, loaded when they are called."""
