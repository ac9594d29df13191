"""Training `vgg19-mini` to stand in for a larger network. Only `cli` and `tools/` import it."""
