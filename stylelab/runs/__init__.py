"""Running the notebooks, and what one transfer is asked for. The app and the command line import it."""
