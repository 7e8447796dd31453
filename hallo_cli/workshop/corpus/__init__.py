"""The synthetic corpus: parametric heads that speak synthetic speech, with exact ground truth."""
