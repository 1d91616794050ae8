"""Speed benchmarks of Assay itself. Figures: docs/performance.md."""
