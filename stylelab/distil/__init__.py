"""Training `vgg19-mini` on a larger network, its teacher. Only the command line imports it."""
