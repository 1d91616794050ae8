"""Whether a model runs on given GPUs: presets, checkpoints and GPUs in, a plan with its verdict out."""
