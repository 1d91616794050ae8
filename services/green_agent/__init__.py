"""The evaluator: plans, asks, scores and reports."""
