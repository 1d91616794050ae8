"""`assay audit`: every known way to score without being good, played against every benchmark through the real path."""
