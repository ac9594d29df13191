"""Training `vgg19-mini` to stand in for a larger network. Imports the method and `files`; only
`cli` imports it."""
