"""Settings of a transfer, and notebooks run with papermill. The app and the command line use it."""
