"""Training data: corpora, folds, heatmap targets, loading."""
